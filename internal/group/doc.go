// Package group is a consumer group: its members, which of them owns which
// partition, the offsets it has committed, and the keys it has parked. It is a
// state machine without I/O and without a clock.
//
// # Driving it
//
// Apply takes a command and the time, changes the state at once, and returns two
// things: events, which are to be appended to the group's journal, and effects,
// which are messages to members. Whoever drives a group keeps one rule:
//
//	The effects and the answer of a command go out when its events, and those
//	of all commands before it, are durable.
//
// So nobody is told what a crash could undo: an owner has its ownership epoch on
// disk before it reads a record, and a commit is on disk before it is answered.
// The rule allows group commit: apply what waits in the mailbox, append all
// events as one entry (Seal), then let all effects go. The events of one command
// take less than 8 MiB, whatever the command; usually they take a few bytes. A command without events
// (a heartbeat) has still to wait its turn when the ones before it wait, because
// its answer may rest on theirs.
//
// The state runs ahead of the journal. An append that certainly failed is made
// again with the same bytes; when its outcome is unknown, or another owner is
// found, the group is thrown away, none of the effects held back are sent, and
// the state is restored from the journal.
//
// # Restoring
//
// A state is restored from the newest snapshot and the journal after it, by
// Restore and Replay, and is then what it was when the last of those events was
// made. Targets of assignment and heartbeats are not in it: they are of use only
// while members are there. The first command after restoring is Recover. It
// strikes out the dynamic members, which have to join again under a new id, and
// holds the partitions of static members for their session timeout from then on.
//
// # Who owns a partition
//
// At most one member, at every moment. It was given the partition with an
// ownership epoch, a number that the group never uses twice, and everything it
// says about the partition carries that epoch. A commit from anybody else, or
// with another epoch, is refused with ErrFenced. The next owner is given the
// partition once the one before has released it, left, or run out of its session
// timeout.
//
// The generation counts assignments: it rises when membership, subscriptions or
// partition counts change. Epochs rise also without: when a static member
// comes back, and with a rewind.
package group
