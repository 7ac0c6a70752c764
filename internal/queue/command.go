package queue

import "time"

// Command is what Apply takes.
type Command interface{ command() }

// Commands of the logs.
type (
	// Take brings messages of a log, in order. Next is where to read on: what is
	// before it and not among Entries is not for this queue. It is no event: after
	// a restart the log is taken again, from the Next of the snapshot.
	Take struct {
		Log     uint32
		Entries []Entry // the queue keeps no reference
		Next    uint64
	}
	// Loaded answers the effect Load: all messages of this queue in the range,
	// whatever became of them, as they were taken. Begin is the first offset that
	// the log still has; messages before it are lost, and counted so.
	Loaded struct {
		Load
		Entries []Entry
		Begin   uint64
	}
)

// Commands of consumers.
type (
	// Subscribe makes a consumer.
	Subscribe struct {
		Consumer  string // unique for every start of a consumer
		Prefetch  int    // how many deliveries it may have in its hands; 0: 256
		Priority  int    // higher ones first, as long as they have room
		Exclusive bool   // refuse others
		Pull      bool   // delivers only what Pull asks for
		// Holds: it keeps deliveries for long, and settles many at once. Then none of
		// them is on probation, for that would be one at a time, and a crash is not
		// charged to them.
		Holds bool
	}
	// Pull asks for up to N messages until a time, in Unix ms. It replaces the Pull
	// before. Effect at the end: Pulled.
	Pull struct {
		Consumer string
		N        int
		Until    int64
	}
	// Cancel ends deliveries to a consumer. What it has it may still settle,
	// unless it is to be requeued.
	Cancel struct {
		Consumer string
		Requeue  bool
	}
	// Gone says that a consumer crashed or lost its connection. What it had is
	// given back; what it had Started is charged an attempt.
	Gone struct{ Consumer string }
	// Ack says that deliveries are done. Tags that cannot be settled do not keep
	// the others from it; the error is that of the first. Multiple: all up to the
	// highest tag; with tag 0, all there are.
	Ack struct {
		Consumer string
		Tags     []uint64
		Multiple bool
	}
	// Nack says that deliveries failed. Without Requeue they are dead-lettered or
	// dropped, as rejected. With Requeue they are delivered again after the delay
	// of Config.Retry, or after Delay if it is not 0, from their old place. It is
	// AMQP's nack and, with one tag, its reject.
	Nack struct {
		Consumer string
		Tags     []uint64
		Multiple bool
		Requeue  bool
		Returned bool          // with Requeue: it was not tried, and is not charged, nor delayed but by Delay
		Delay    time.Duration // with Requeue; negative: none
		// Error is what was wrong, of all of them: it goes into a dead letter that this
		// makes. The queue keeps it as it is: its length is the caller's to bound.
		Error string
	}
	// Extend says that a consumer is alive and at work on deliveries, all of them
	// if no tags are given: their settle timeout begins anew.
	Extend struct {
		Consumer string
		Tags     []uint64
	}
	// Started says that the handler of a delivery is about to run. One that is on
	// probation is charged an attempt, durably, and must wait for Charged.
	Started struct {
		Consumer string
		Tag      uint64
	}
)

// Commands of the owner.
type (
	// Tick lets time pass. See the effect Wake.
	Tick struct{}
	// Recover is the first command after the state was restored. What may have been
	// delivered before is suspect from now on, unless Stop came last.
	Recover struct{}
	// Stop gives back everything that is in flight, uncharged. It is the last
	// command before an orderly end; after it only Recover is allowed.
	Stop struct{}
	// DeadLettered says that dead letters are durable: the queue lets go.
	DeadLettered struct{ Refs []Ref }
	// NotDeadLettered says that dead letters could not be written. The effect
	// DeadLetter comes again after Delay, for all that could not be, or as soon as one
	// of these was written.
	NotDeadLettered struct {
		Refs  []Ref
		Delay time.Duration
	}
	// Purge removes everything that waits; not what is in flight or being
	// dead-lettered.
	Purge struct{}
	// Pause stops deliveries and publishing: what it names, beside what is stopped
	// already. The zero value resumes both.
	Pause struct{ Delivery, Publishing bool }
	// Drop removes messages that wait, all or none. They are counted as dropped; as
	// moved if they were durably put elsewhere before. As to records that were never
	// for the queue, see Outcome.
	Drop struct {
		Refs  []Ref
		Moved bool
	}
	// Relocate says that the bodies of messages are durably in other places, so that
	// their log can be trimmed. The messages keep their places in the queue, and all
	// else. Their number is the caller's to bound: each takes a hundred bytes of
	// memory. It takes effect for Release with the next snapshot.
	Relocate struct{ Moves []Move }
	// Replay delivers messages again to one consumer, which must have room for
	// them. It touches nothing but that consumer: the deliveries have tags of their
	// own, with CauseReplay, and end with their settlement, whatever that is.
	Replay struct {
		Consumer string
		Entries  []Entry
	}
	// Touch is a sign that the queue is in use, though it may have no consumers.
	Touch struct{}
	// Configure changes the configuration. Messages that wait follow the new time
	// to live from when they are loaded next.
	Configure struct{ Config Config }
)

func (Take) command()            {}
func (Loaded) command()          {}
func (Subscribe) command()       {}
func (Pull) command()            {}
func (Cancel) command()          {}
func (Gone) command()            {}
func (Ack) command()             {}
func (Nack) command()            {}
func (Extend) command()          {}
func (Started) command()         {}
func (Tick) command()            {}
func (Recover) command()         {}
func (Stop) command()            {}
func (DeadLettered) command()    {}
func (NotDeadLettered) command() {}
func (Purge) command()           {}
func (Pause) command()           {}
func (Drop) command()            {}
func (Relocate) command()        {}
func (Replay) command()          {}
func (Touch) command()           {}
func (Configure) command()       {}
