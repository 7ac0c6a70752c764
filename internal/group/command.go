package group

import "time"

// Command is what Apply takes. Commands of a member are also signs of its life.
type Command interface{ command() }

// Topic is a topic with its number of partitions.
type Topic struct {
	Name       string
	Partitions int
	// Incarnation tells a topic from those of the same name that were deleted
	// before: it is higher. 0 is that of a topic from before there were any.
	Incarnation uint64
}

// Claim is a partition as its owner knows it: with the ownership epoch.
type Claim struct {
	Topic     string
	Partition int
	Epoch     uint64
}

// Position is a partition with the offset of the next record to process.
type Position struct {
	Topic     string
	Partition int
	Next      uint64
	Metadata  string // free text, kept with the offset
}

// Offset is what a Commit says about a partition.
type Offset struct {
	Claim
	Next     uint64 // offset of the next record to process
	Metadata string // free text, kept with the offset
}

// Commands about membership.
type (
	// Join makes a member, or changes what it subscribes to. Effects: Welcome
	// and, as partitions become free, Assigned.
	//
	// Joining again with the same id is harmless: the member is told again what
	// it owns. A member that was fenced joins with another id.
	//
	// A static member (one with an Instance) that comes back, with a new id,
	// within its session timeout gets the partitions it had, with new epochs
	// and without a new generation. If the one before is still alive, it is
	// fenced: of two with the same Instance the younger wins.
	Join struct {
		Member   string // unique for every start of a consumer
		Instance string // names a static member; "": the member is dynamic
		Client   string // for people: shown in descriptions
		// Topics with their numbers of partitions. A number or an incarnation below
		// what the group knows is taken for outdated.
		Topics         []Topic
		SessionTimeout time.Duration // 0: that of Config
		Assignor       Assignor      // must agree with that of the other members
	}
	// Leave ends a membership. A static member only goes away for a while,
	// unless it is Final: it keeps its partitions for its session timeout.
	Leave struct {
		Member string
		Epoch  uint64 // of the Welcome
		Final  bool
	}
	// Heartbeat is a sign of life, and of progress.
	Heartbeat struct {
		Member   string
		Epoch    uint64 // of the Welcome
		Progress uint64 // differs from the last one if and only if work went on
		InFlight int    // records in the hands of handlers
	}
	// Release says that the member has stopped working on partitions.
	Release struct {
		Member     string
		Partitions []Claim
	}
	// Evict ends a membership from outside. Effect: Fenced.
	Evict struct {
		Member string
		Reason string
	}
	// Tick lets time pass: it ends sessions, finds stuck members, and forgets
	// offsets whose retention has passed. Apply the heartbeats that wait first.
	Tick struct{}
	// Recover is the first command after the state was restored.
	Recover struct{}
)

// Commands about topics and offsets.
type (
	// Resize tells the group of a topic, or that a topic has more partitions. With
	// a higher Incarnation it is another topic: what was committed and parked of the
	// one before is dropped. Effects: Lost, to the owners of its partitions, and
	// Assigned.
	Resize struct{ Topics []Topic }
	// Forget drops a topic with its offsets and parked keys. Unless forced it is
	// refused while a member subscribes to the topic.
	Forget struct {
		Topic string
		Force bool
	}
	// Commit stores how far the owner of partitions has come. It can be made in
	// part: see CommitError. The group does not know how long a partition is:
	// here, in Reset and in Rewind the sender sees to it that offsets exist.
	Commit struct {
		Member  string
		Offsets []Offset
	}
	// Reset sets the committed offsets of a group without members.
	Reset struct{ Positions []Position }
	// Rewind sets committed offsets, forwards or backwards, while members are at
	// work. Effect: Seek. What owners say with the epoch from before is refused.
	// Parked keys stay: see ParkedKey.
	Rewind struct{ Positions []Position }
)

// Commands about parked keys. See ParkedKey.
type (
	// Park sets a key aside with the record that failed, or puts a key that is
	// being replayed back because its first record failed again.
	Park struct {
		Member  string
		Epoch   uint64 // of the ownership
		Key     KeyRef
		Record  ParkedRecord
		Attempt int    // how often the record was tried, in all
		Reason  string // why it was parked, in a word
		Error   string
	}
	// Hold puts a record behind those of its key that are parked.
	Hold struct {
		Member string
		Epoch  uint64
		Key    KeyRef
		Record ParkedRecord
		// Anew: if the key is free by now, it is parked with this record and
		// released at once. So the record keeps its place before those of its key
		// that are on their way. Effect: KeyChanged.
		Anew bool
	}
	// Resolve says that the first record of a key was processed after all.
	Resolve struct {
		Member string
		Epoch  uint64
		Key    KeyRef
		Offset uint64
	}
	// ReleaseKey has a parked key replayed. Effect, as of Skip and Edit: KeyChanged.
	ReleaseKey struct{ Key KeyRef }
	// Skip drops a record of a parked key. After the last one the key is free.
	Skip struct {
		Key     KeyRef
		Offset  uint64
		Release bool // what is left, in the same step
	}
	// Edit replaces the body of a record of a parked key.
	Edit struct {
		Key     KeyRef
		Offset  uint64
		Parking uint64 // where the new body is
		Bytes   int
		Release bool // the key, in the same step
	}
)

func (Join) command()       {}
func (Leave) command()      {}
func (Heartbeat) command()  {}
func (Release) command()    {}
func (Evict) command()      {}
func (Tick) command()       {}
func (Recover) command()    {}
func (Resize) command()     {}
func (Forget) command()     {}
func (Commit) command()     {}
func (Reset) command()      {}
func (Rewind) command()     {}
func (Park) command()       {}
func (Hold) command()       {}
func (Resolve) command()    {}
func (ReleaseKey) command() {}
func (Skip) command()       {}
func (Edit) command()       {}
