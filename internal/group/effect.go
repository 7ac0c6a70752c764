package group

// Effect is a message to a member. Effects to one member must reach it in their
// order; those to a member that is gone are dropped.
type Effect interface {
	// To is the id of the member that the effect is for.
	To() string
}

// Assignment is a partition in the hands of its owner.
type Assignment struct {
	Claim
	Incarnation uint64 // of the topic, as the group knows it
	Next        uint64 // offset of the next record to process, if Committed
	Committed   bool   // false: begin by the start policy
	Metadata    string
	Parked      []ParkedKey // the keys that are parked in this partition, in the order of their first offsets
}

// The effects.
type (
	// Welcome answers a Join.
	Welcome struct {
		Member     string
		Epoch      uint64 // of the membership
		Generation uint64
		Assignor   Assignor
	}
	// Assigned gives partitions to a member, which may begin to work on them.
	// One that it owns already, with the same epoch, is only said again.
	Assigned struct {
		Member     string
		Generation uint64
		Partitions []Assignment
	}
	// Revoke asks a member to stop working on partitions: to finish or drop what
	// is in flight, to commit, and then to Release them.
	Revoke struct {
		Member     string
		Generation uint64
		Partitions []Claim
	}
	// Lost says that partitions were taken from a member: the topic is gone, or
	// another one has its name.
	// What it would commit for them is refused.
	Lost struct {
		Member     string
		Partitions []Claim
	}
	// Fenced says that the membership has ended, and with it all ownership.
	Fenced struct {
		Member string
		Reason string
	}
	// Seek tells an owner to go on at other offsets, with new epochs, and to
	// drop what is in flight.
	Seek struct {
		Member     string
		Partitions []Assignment
	}
	// KeyChanged tells an owner that something was done to a parked key from
	// outside. If it is Releasing: process its records in order and Resolve
	// each. Without records it is free.
	KeyChanged struct {
		Member string
		Epoch  uint64 // of the ownership
		Key    ParkedKey
	}
	// Stuck reports a member that is alive but makes no progress; once, until it
	// does again.
	Stuck struct {
		Member   string
		Since    int64 // Unix ms of the last progress
		InFlight int
		Evicted  bool
	}
)

// To returns the member.
func (e Welcome) To() string { return e.Member }

// To returns the member.
func (e Assigned) To() string { return e.Member }

// To returns the member.
func (e Revoke) To() string { return e.Member }

// To returns the member.
func (e Lost) To() string { return e.Member }

// To returns the member.
func (e Fenced) To() string { return e.Member }

// To returns the member.
func (e Seek) To() string { return e.Member }

// To returns the member.
func (e KeyChanged) To() string { return e.Member }

// To returns the member it is about. It is for the log and the metrics.
func (e Stuck) To() string { return e.Member }
