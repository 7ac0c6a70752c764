package group

import (
	"cmp"
	"slices"
	"strings"
)

// Group is one consumer group. It is not safe for concurrent use.
type Group struct {
	config Config

	// What follows is durable: it is changed by events alone.
	generation uint64
	epoch      uint64 // the highest that was given out
	balanced   uint64 // the newest generation whose assignment was given out whole
	assignor   Assignor
	emptySince int64 // Unix ms; 0 while there are members, or never were
	topics     map[string]*topic
	sorted     []*topic // by name
	partitions int      // of all topics
	members    map[string]*member
	instances  map[string]*member
	parked     parkedTotal
	size       int // no less than the snapshot's length

	// What follows is not: Recover makes it anew.
	syncing bool   // eager: all partitions are on their way back
	stamp   uint64 // counts commands, to find a partition twice in one
	events  []byte
	effects []Effect
}

// member is a member of the group.
type member struct {
	id, instance, client string
	epoch                uint64
	session              int64    // ms
	topics               []*topic // by name

	// Not durable.
	absent   bool   // static, and on leave
	gone     uint64 // the generation in which it went away
	seen     int64  // Unix ms of the last sign of life
	progress uint64 // token of the last heartbeat
	moved    int64  // Unix ms of the last progress
	inFlight int
	stuck    bool // was reported
	owed     int  // partitions that it was asked to release
	position int  // among the members that are present
}

// topic is a topic that the group knows of.
type topic struct {
	name        string
	incarnation uint64
	parts       []*part
}

// part is a partition.
type part struct {
	topic     *topic
	index     int
	owner     *member
	since     uint64 // epoch with which the owner was given it
	epoch     uint64 // the owner's epoch now: a rewind raises it
	committed bool
	next      uint64
	metadata  string
	parked    map[keyID]*parkedKey

	// Not durable.
	target   *member // who is to own it
	revoking bool    // the owner was asked to release it
	stamp    uint64  // the command that named it last
}

// New returns a group that nothing has happened to yet.
func New(c Config) (*Group, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Group{config: c, assignor: c.Assignor, size: headSize,
		topics: map[string]*topic{}, members: map[string]*member{}, instances: map[string]*member{}}, nil
}

// What things take in a snapshot, at most. See snapshot.go.
const (
	headSize   = 128
	topicSize  = 26
	partSize   = 48
	memberSize = 64
	joinSize   = 3 // a topic of a member
	keySize    = 64
	recordSize = 32
)

func (m *member) size() int {
	return memberSize + len(m.id) + len(m.instance) + len(m.client) + joinSize*len(m.topics)
}

// room reports whether the state may grow by so many bytes.
func (g *Group) room(bytes int) error {
	if bytes > 0 && g.size+bytes > g.config.Limits.StateBytes {
		return tooMany("bytes of state", g.size+bytes, "StateBytes", g.config.Limits.StateBytes)
	}
	return nil
}

// eachPart calls f for every partition, in order.
func (g *Group) eachPart(f func(*part)) {
	for _, t := range g.sorted {
		for _, p := range t.parts {
			f(p)
		}
	}
}

// partsOwnedBy returns the partitions of a member, in order.
func (g *Group) partsOwnedBy(m *member) (owned []*part) {
	g.eachPart(func(p *part) {
		if p.owner == m {
			owned = append(owned, p)
		}
	})
	return owned
}

// inOrder returns the members by instance and then by id, the static ones
// first, as Kafka's assignors take them.
func (g *Group) inOrder() []*member {
	all := make([]*member, 0, len(g.members))
	for _, m := range g.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *member) int {
		if (a.instance == "") != (b.instance == "") {
			return cmp.Compare(len(b.instance), len(a.instance))
		}
		return cmp.Or(strings.Compare(a.instance, b.instance), strings.Compare(a.id, b.id))
	})
	return all
}

func (m *member) subscribes(t *topic) bool { return slices.Contains(m.topics, t) }

func (g *Group) isSubscribed(t *topic) bool {
	for _, m := range g.members {
		if m.subscribes(t) {
			return true
		}
	}
	return false
}

// compareParts orders partitions by topic and number.
func compareParts(a, b *part) int {
	return cmp.Or(strings.Compare(a.topic.name, b.topic.name), cmp.Compare(a.index, b.index))
}

func (p *part) claim() Claim { return Claim{p.topic.name, p.index, p.epoch} }

func (p *part) assignment() Assignment {
	return Assignment{Claim: p.claim(), Incarnation: p.topic.incarnation, Next: p.next, Committed: p.committed, Metadata: p.metadata, Parked: p.listParked()}
}

func claims(parts []*part) []Claim {
	out := make([]Claim, len(parts))
	for i, p := range parts {
		out[i] = p.claim()
	}
	return out
}

func assignments(parts []*part) []Assignment {
	out := make([]Assignment, len(parts))
	for i, p := range parts {
		out[i] = p.assignment()
	}
	return out
}
