// Package actor holds the actors of Troupe, the messages between them, and the
// handles that users hold on to them.
//
// # The log
//
// A topic is a number of partitions. Each partition is an actor, the single
// writer of one log (partition.go): its decisions are a pure state machine
// (partition_core.go), its I/O happens in goroutines that report back with a
// message. Users reach it through Topic, Publisher, Reader and Consumer, or with types
// through the handles of package topics. Producer is what lies below a Publisher: it
// appends batches, and leaves their sequences and repetition to its caller.
//
// # Underneath
//
// System wraps one Proto.Actor system. It gives every actor a Mailbox that
// never blocks the poster and is bounded in messages and bytes, a Dispatcher of
// warm goroutines, and supervision that restarts with exponential back-off.
package actor
