// Package inflight keeps the books on the records of one partition that a
// consumer works on: which of them are handed out, which are done, how far the
// partition may be committed, and which record may be handed out next. It has no
// I/O and no clock.
//
// # Order
//
// A Window takes records in the order of their offsets and hands them out to at
// most a given number of workers. A record with a key is handed out when the one
// before it of the same key is done, so that the records of a key are worked on
// one at a time and in order; records without a key wait for nobody. Of the
// records that may be handed out, the oldest is. With one worker the order is
// that of the partition, whatever the keys.
//
// # The commit position
//
// Position is the offset of the first record that is not done, however many
// after it are: what is committed never passes a record that is still at work.
// Offsets need not be dense. Where some are missing, because they were trimmed or
// compacted away, the position is the next offset that there is.
//
// # Tickets
//
// What is said about a record is said with the ticket that came with it. A
// ticket is good for one handing-out: Restart makes those of all records before
// void, Postpone that of one. So whoever comes too late is not listened to.
package inflight
