package group

import "fmt"

// Assignor is a strategy that says which member owns which partition. The
// numbers are stored and never change.
type Assignor uint8

// The assignors, by Kafka's names.
const (
	// AnyAssignor in a Join: whatever the group uses.
	AnyAssignor Assignor = 0
	// CooperativeSticky (the default) assigns like Sticky, and takes from its
	// owner only what moves.
	CooperativeSticky Assignor = 1
	// Range gives each member a contiguous range of each topic, so that equal
	// partitions of topics with equal counts are together. Eager.
	Range Assignor = 2
	// RoundRobin deals the partitions of all topics in turn. Eager.
	RoundRobin Assignor = 3
	// Sticky balances, and moves as little as that allows. Eager.
	Sticky Assignor = 4
)

var assignors = map[Assignor]struct {
	name  string
	eager bool
	solve func(*problem) []int
}{
	CooperativeSticky: {"cooperative-sticky", false, assignSticky},
	Range:             {"range", true, assignRange},
	RoundRobin:        {"round-robin", true, assignRoundRobin},
	Sticky:            {"sticky", true, assignSticky},
}

// ParseAssignor returns the assignor of a name: cooperative-sticky, range,
// round-robin or sticky.
func ParseAssignor(name string) (Assignor, error) {
	for a, s := range assignors {
		if s.name == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%w: no assignor %q; there are cooperative-sticky, range, round-robin and sticky", ErrInvalid, name)
}

// Eager says whether a change takes all partitions from everybody first, as in
// Kafka, and not only those that move.
func (a Assignor) Eager() bool { return assignors[a].eager }

// Valid says whether the assignor is one of those above, other than AnyAssignor.
func (a Assignor) Valid() bool { return assignors[a].solve != nil }

// String returns the name.
func (a Assignor) String() string {
	if s, ok := assignors[a]; ok {
		return s.name
	}
	return fmt.Sprintf("assignor %d", uint8(a))
}

// problem is what an assignor solves. Members are numbered in the order of
// their names, partitions in the order of their topics' names.
type problem struct {
	members  int
	subjects []subject // topics with a subscriber, in the order of their names
	previous []int     // by partition: who owned it; none
}

// subject is a topic.
type subject struct {
	partitions  []int // ascending
	subscribers []int // ascending
}

// none is the owner of a partition that nobody owns.
const none = -1

// unowned returns a solution in which nobody owns anything.
func (p *problem) unowned() []int {
	owners := make([]int, len(p.previous))
	for i := range owners {
		owners[i] = none
	}
	return owners
}

// assignRange solves like Kafka's RangeAssignor: of each topic, each subscriber
// gets as many neighbouring partitions as the others, and the first ones get one
// more where that does not come out even.
func assignRange(p *problem) []int {
	owners := p.unowned()
	for _, s := range p.subjects {
		left := s.partitions
		for i, m := range s.subscribers {
			share := len(s.partitions) / len(s.subscribers)
			if i < len(s.partitions)%len(s.subscribers) {
				share++
			}
			for _, partition := range left[:share] {
				owners[partition] = m
			}
			left = left[share:]
		}
	}
	return owners
}

// assignRoundRobin solves like Kafka's RoundRobinAssignor: all partitions are
// dealt to the members in turn, passing over those that are not subscribed.
func assignRoundRobin(p *problem) []int {
	owners := p.unowned()
	subscribed := make([]bool, p.members)
	next := 0
	for _, s := range p.subjects {
		clear(subscribed)
		for _, m := range s.subscribers {
			subscribed[m] = true
		}
		for _, partition := range s.partitions {
			for len(s.subscribers) > 0 && !subscribed[next] {
				next = (next + 1) % p.members
			}
			if len(s.subscribers) > 0 {
				owners[partition] = next
				next = (next + 1) % p.members
			}
		}
	}
	return owners
}
