// Package queue is a queue: which messages wait in it, who has them, which are to
// be tried again and when, and what has become of the others. It is a state machine
// without I/O and without a clock, and an index only: the messages themselves are
// in logs.
//
// # What it takes
//
// A queue reads its logs in order: Take brings it what is new, and where to read
// on. Nothing is journalled for that, the log itself says it. The journal has what
// happened to messages afterwards. It names them by log and offset, and does not
// depend on the order in which they were taken; so after a restart the logs are
// taken again, from where the last snapshot left off, before or after or while the
// queue is at work.
//
// # Driving it
//
// Apply takes a command and the time, changes the state at once, and returns
// events, which are to be appended to the queue's journal, and effects, which are
// to be let go when the events of the command and of all before it are durable.
// What need not wait so long says so: Deliver has the number of the command that it
// has to wait for (After, see Queue.Sequence), Load, Wake and Active none at all.
//
// The state runs ahead of the journal. If an append fails for good, the queue is
// thrown away, its effects with it, and restored.
//
// # Restoring
//
// Restore makes a queue of a snapshot, New an empty one; then Replay, the events
// since, in order; then the command Recover. From then on it works, and is given
// what its logs have from Queue.Next on. A snapshot releases what is before it in
// the logs: not earlier, for a restart reads from there.
//
// # Suspects
//
// That a message is delivered is not journalled, that it may be is, ahead of
// delivery. After a crash those are suspect: they are delivered as redelivered, on
// probation, and one at a time to each consumer, and an attempt is charged, durably,
// by Started, before the handler runs. So a message that kills the process is found
// out, and those that were in flight beside it are not charged. While a suspect is
// the next to be delivered and every consumer has one, delivery waits: messages do
// not overtake a suspect. A consumer that is gone is charged for what it has
// Started. A message that failed in an orderly way, by Nack, is charged then and is
// no suspect.
//
// # Memory
//
// Messages that wait take no memory each: they are in chunks of up to 4,096, of
// which only those near delivery are resident. Others are loaded from their log
// when delivery comes near, or one of their messages is due or expires. A message
// that was delivered and is not settled takes some hundred bytes, and one with
// failed attempts, or one that is being dead-lettered, as well.
//
// # Order
//
// Higher priorities go first, and within a priority what arrived first; a message
// that is given back goes to its old place. Messages of a group are delivered one
// at a time: from its first delivery on a message holds its group until it is
// settled for good, also while it waits to be tried again. A restart keeps that for
// delayed retries; of others it forgets it, and the order above decides.
//
// Delivery looks past messages whose groups are busy, as far as Limits.Resident
// chunks are full of them. What is behind waits, until some of those groups are free.
//
// Expiry is on time, wherever in the queue a message is (RabbitMQ looks at the head
// alone). The limits of length count what is ready and what is delayed. DropHead
// drops from the lowest priority.
package queue
