package group

// State of a group, in a word.
type State string

// The states.
const (
	Empty       State = "empty"       // no members
	Balancing   State = "balancing"   // partitions are on their way
	Stable      State = "stable"      // everybody owns what they are to own
	Interrupted State = "interrupted" // stable, but a static member is on leave
)

// Description is a group as it is now.
type Description struct {
	State       State
	Generation  uint64
	Assignor    Assignor
	Members     []MemberDescription    // as assignors order them
	Topics      []Topic                // by name
	Partitions  []PartitionDescription // by topic and number
	ParkedKeys  int
	ParkedBytes int64
}

// MemberDescription is a member.
type MemberDescription struct {
	ID, Instance, Client string
	Epoch                uint64
	Topics               []string
	Owned                int
	Seen                 int64 // Unix ms of the last sign of life
	Progressed           int64 // Unix ms of the last progress
	InFlight             int
	Absent, Stuck        bool
}

// PartitionDescription is a partition.
type PartitionDescription struct {
	Claim            // with the owner's epoch
	Owner     string // member id; "": nobody
	Target    string // who is to own it
	Revoking  bool   // the owner was asked to release it
	Next      uint64 // if Committed
	Committed bool
	Metadata  string
	Parked    int // keys
}

// Describe describes the group.
func (g *Group) Describe() Description {
	d := Description{State: g.state(), Generation: g.generation, Assignor: g.assignor,
		ParkedKeys: g.parked.keys, ParkedBytes: g.parked.bytes}
	for _, t := range g.sorted {
		d.Topics = append(d.Topics, Topic{t.name, len(t.parts), t.incarnation})
	}
	owned := map[*member]int{}
	g.eachPart(func(p *part) {
		owned[p.owner]++
		d.Partitions = append(d.Partitions, PartitionDescription{p.claim(), p.owner.name(), p.target.name(), p.revoking, p.next, p.committed, p.metadata, len(p.parked)})
	})
	for _, m := range g.inOrder() {
		v := MemberDescription{ID: m.id, Instance: m.instance, Client: m.client, Epoch: m.epoch, Owned: owned[m],
			Seen: m.seen, Progressed: m.moved, InFlight: m.inFlight, Absent: m.absent, Stuck: m.stuck}
		for _, t := range m.topics {
			v.Topics = append(v.Topics, t.name)
		}
		d.Members = append(d.Members, v)
	}
	return d
}

func (m *member) name() string {
	if m == nil {
		return ""
	}
	return m.id
}

func (g *Group) state() State {
	s := Stable
	if len(g.members) == 0 {
		s = Empty
	}
	for _, m := range g.members {
		if m.absent {
			s = Interrupted
		}
	}
	g.eachPart(func(p *part) {
		if len(g.members) > 0 && (p.owner != p.target || p.revoking) {
			s = Balancing
		}
	})
	return s
}

// Parked returns the keys parked in a partition, in the order of their first
// offsets.
func (g *Group) Parked(topic string, partition int) ([]ParkedKey, error) {
	p, err := g.find(topic, partition)
	if err != nil {
		return nil, err
	}
	return p.listParked(), nil
}

// AllParked returns the keys parked in all partitions, by topic and number.
func (g *Group) AllParked() (all []ParkedKey) {
	g.eachPart(func(p *part) { all = append(all, p.listParked()...) })
	return all
}

// ParkedKey returns a parked key; without records, it is free.
func (g *Group) ParkedKey(ref KeyRef) ParkedKey {
	p, err := g.find(ref.Topic, ref.Partition)
	if err != nil {
		return ParkedKey{KeyRef: ref}
	}
	return p.describe(ref.id())
}

// Parking returns the lowest offset in the parking topic at which there is a body
// that is still of use; ok is false when there is none.
func (g *Group) Parking() (lowest uint64, ok bool) {
	g.eachPart(func(p *part) {
		for _, k := range p.parked {
			for _, r := range k.records {
				if !ok || r.Parking < lowest {
					lowest, ok = r.Parking, true
				}
			}
		}
	})
	return lowest, ok
}

// Committed returns the offset of the next record of a partition to process. ok
// is false when none was committed.
func (g *Group) Committed(topic string, partition int) (next uint64, ok bool) {
	p, err := g.find(topic, partition)
	if err != nil {
		return 0, false
	}
	return p.next, p.committed
}

// Size is the most that Snapshot returns now, in bytes.
func (g *Group) Size() int { return g.size }
