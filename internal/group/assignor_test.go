package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pose makes a problem: topics t0, t1, … of so many partitions, and per member
// the topics it subscribes to.
func pose(partitions []int, subscriptions ...[]int) *problem {
	p := &problem{members: len(subscriptions)}
	for t, n := range partitions {
		var s subject
		for range n {
			s.partitions = append(s.partitions, len(p.previous))
			p.previous = append(p.previous, none)
		}
		for m, topics := range subscriptions {
			if slices.Contains(topics, t) {
				s.subscribers = append(s.subscribers, m)
			}
		}
		p.subjects = append(p.subjects, s)
	}
	return p
}

// read writes a solution as Kafka's documentation does: "C0:[t0p0 t1p1] C1:[]".
func read(p *problem, owners []int) string {
	held := make([][]string, p.members)
	for t, s := range p.subjects {
		for i, partition := range s.partitions {
			if m := owners[partition]; m != none {
				held[m] = append(held[m], fmt.Sprintf("t%dp%d", t, i))
			}
		}
	}
	var out []string
	for m, h := range held {
		out = append(out, fmt.Sprintf("C%d:%v", m, h))
	}
	return strings.Join(out, " ")
}

// without is the problem once a member is gone. The others keep their numbers.
func (p *problem) without(m int) *problem {
	q := &problem{members: p.members, previous: slices.Clone(p.previous)}
	for _, s := range p.subjects {
		q.subjects = append(q.subjects, subject{s.partitions, slices.DeleteFunc(slices.Clone(s.subscribers), func(o int) bool { return o == m })})
	}
	for i, o := range q.previous {
		if o == m {
			q.previous[i] = none
		}
	}
	return q
}

// The examples of Kafka's documentation of RangeAssignor, RoundRobinAssignor and
// StickyAssignor.
func TestKafkasExamples(t *testing.T) {
	all := []int{0, 1, 2, 3}
	for _, c := range []struct {
		name  string
		solve func(*problem) []int
		p     *problem
		want  string
	}{
		{"range", assignRange, pose([]int{3, 3}, all, all), "C0:[t0p0 t0p1 t1p0 t1p1] C1:[t0p2 t1p2]"},
		{"round robin", assignRoundRobin, pose([]int{3, 3}, all, all), "C0:[t0p0 t0p2 t1p1] C1:[t0p1 t1p0 t1p2]"},
		{"round robin, subscriptions differ", assignRoundRobin, pose([]int{1, 2, 3}, []int{0}, []int{0, 1}, []int{0, 1, 2}),
			"C0:[t0p0] C1:[t1p0] C2:[t1p1 t2p0 t2p1 t2p2]"},
		{"sticky", assignSticky, pose([]int{2, 2, 2, 2}, all, all, all), "C0:[t0p0 t1p1 t3p0] C1:[t0p1 t2p0 t3p1] C2:[t1p0 t2p1]"},
		{"sticky, subscriptions differ", assignSticky, pose([]int{1, 2, 3}, []int{0}, []int{0, 1}, []int{0, 1, 2}),
			"C0:[t0p0] C1:[t1p0 t1p1] C2:[t2p0 t2p1 t2p2]"},
	} {
		if got := read(c.p, c.solve(c.p)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestKafkasExamplesOfAMemberThatLeaves(t *testing.T) {
	all := []int{0, 1, 2, 3}
	for _, c := range []struct {
		name  string
		solve func(*problem) []int
		p     *problem
		gone  int
		want  string
	}{
		{"round robin", assignRoundRobin, pose([]int{2, 2, 2, 2}, all, all, all), 1, "C0:[t0p0 t1p0 t2p0 t3p0] C1:[] C2:[t0p1 t1p1 t2p1 t3p1]"},
		{"sticky", assignSticky, pose([]int{2, 2, 2, 2}, all, all, all), 1, "C0:[t0p0 t1p1 t2p0 t3p0] C1:[] C2:[t0p1 t1p0 t2p1 t3p1]"},
		{"round robin, subscriptions differ", assignRoundRobin, pose([]int{1, 2, 3}, []int{0}, []int{0, 1}, []int{0, 1, 2}), 0,
			"C0:[] C1:[t0p0 t1p1] C2:[t1p0 t2p0 t2p1 t2p2]"},
		{"sticky, subscriptions differ", assignSticky, pose([]int{1, 2, 3}, []int{0}, []int{0, 1}, []int{0, 1, 2}), 0,
			"C0:[] C1:[t0p0 t1p0 t1p1] C2:[t2p0 t2p1 t2p2]"},
	} {
		c.p.previous = c.solve(c.p)
		q := c.p.without(c.gone)
		if got := read(q, c.solve(q)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func drawProblem(t *rapid.T, same bool) *problem {
	partitions := rapid.SliceOfN(rapid.IntRange(1, 8), 1, 5).Draw(t, "partitions")
	members := rapid.IntRange(1, 7).Draw(t, "members")
	subscriptions := make([][]int, members)
	for m := range subscriptions {
		for topic := range partitions {
			if same || rapid.Bool().Draw(t, "subscribes") {
				subscriptions[m] = append(subscriptions[m], topic)
			}
		}
	}
	p := pose(partitions, subscriptions...)
	for i := range p.previous {
		p.previous[i] = rapid.IntRange(none, members-1).Draw(t, "previous")
	}
	return p
}

func (p *problem) loads(owners []int) []int {
	n := make([]int, p.members)
	for _, m := range owners {
		if m != none {
			n[m]++
		}
	}
	return n
}

func moves(from, to []int) (n int) {
	for i := range from {
		if from[i] != none && from[i] != to[i] {
			n++
		}
	}
	return n
}

func TestEveryPartitionHasASubscriberForItsOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProblem(t, false)
		for a, s := range assignors {
			owners := s.solve(p)
			for i, u := range p.subjects {
				for _, partition := range u.partitions {
					m := owners[partition]
					if (m == none) != (len(u.subscribers) == 0) || m != none && !slices.Contains(u.subscribers, m) {
						t.Fatalf("%v gives a partition of topic %d to member %d; subscribers are %v", a, i, m, u.subscribers)
					}
				}
			}
			if again := s.solve(p); !slices.Equal(owners, again) {
				t.Fatalf("%v decides differently the second time", a)
			}
		}
	})
}

func TestStickyIsBalancedWithFewestMovesIfAllSubscribeToTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProblem(t, true)
		owners := assignSticky(p)
		loads := p.loads(owners)
		if slices.Max(loads)-slices.Min(loads) > 1 {
			t.Fatalf("loads %v", loads)
		}
		if got, want := moves(p.previous, owners), fewestMoves(p.loads(p.previous), len(p.previous)); got != want {
			t.Fatalf("%d moves, %d would do: loads were %v", got, want, p.loads(p.previous))
		}
	})
}

// fewestMoves computes how many partitions must move until loads of so many
// partitions in all differ by at most one: those with the most keep the shares
// that are one larger, and everybody gives up what is above their share.
func fewestMoves(loads []int, partitions int) (n int) {
	loads = slices.Clone(loads)
	slices.SortFunc(loads, func(a, b int) int { return b - a })
	for i, load := range loads {
		share := partitions / len(loads)
		if i < partitions%len(loads) {
			share++
		}
		n += max(0, load-share)
	}
	return n
}

// cost is lowest for the best balance.
func cost(loads []int) (n int) {
	for _, l := range loads {
		n += l * l
	}
	return n
}

// bestCost tries everything.
func bestCost(p *problem, loads []int, subjects []subject, i int) int {
	switch {
	case len(subjects) == 0:
		return cost(loads)
	case i == len(subjects[0].partitions) || len(subjects[0].subscribers) == 0:
		return bestCost(p, loads, subjects[1:], 0)
	}
	best := 1 << 30
	for _, m := range subjects[0].subscribers {
		loads[m]++
		best = min(best, bestCost(p, loads, subjects, i+1))
		loads[m]--
	}
	return best
}

func TestStickyIsBalancedAsWellAsSubscriptionsAllow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.IntRange(1, 4).Draw(t, "members")
		partitions := rapid.SliceOfN(rapid.IntRange(1, 3), 1, 3).Draw(t, "partitions")
		subscriptions := make([][]int, members)
		for m := range subscriptions {
			for topic := range partitions {
				if rapid.Bool().Draw(t, "subscribes") {
					subscriptions[m] = append(subscriptions[m], topic)
				}
			}
		}
		p := pose(partitions, subscriptions...)
		for i := range p.previous {
			p.previous[i] = rapid.IntRange(none, members-1).Draw(t, "previous")
		}
		owners := assignSticky(p)
		if got, want := cost(p.loads(owners)), bestCost(p, make([]int, members), p.subjects, 0); got != want {
			t.Fatalf("loads %v cost %d, the best cost %d", p.loads(owners), got, want)
		}
		q := *p
		q.previous = owners
		if again := assignSticky(&q); !slices.Equal(owners, again) {
			t.Fatalf("what is balanced moves: %v, then %v", owners, again)
		}
	})
}

func TestStickyKeepsWhatItCanWhenOneJoinsOrLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.SliceOfN(rapid.IntRange(1, 20), 1, 4).Draw(t, "partitions")
		members := rapid.IntRange(1, 9).Draw(t, "members")
		topics := []int{0, 1, 2, 3}[:len(partitions)]
		p := pose(partitions, slices.Repeat([][]int{topics}, members)...)
		before := assignSticky(p)

		joined := pose(partitions, slices.Repeat([][]int{topics}, members+1)...)
		joined.previous = before
		after := assignSticky(joined)
		if n, most := moves(before, after), (len(before)+members)/(members+1); n > most {
			t.Errorf("one joins %d members: %d of %d partitions move, want at most %d", members, n, len(before), most)
		}
		if members == 1 {
			return
		}
		p.previous = before
		gone := rapid.IntRange(0, members-1).Draw(t, "gone")
		for i, m := range assignSticky(p.without(gone)) {
			if before[i] != gone && m != before[i] {
				t.Fatalf("member %d leaves, and partition %d moves from %d to %d", gone, i, before[i], m)
			}
		}
	})
}

func TestParseAssignor(t *testing.T) {
	for _, a := range []Assignor{CooperativeSticky, Range, RoundRobin, Sticky} {
		if got, err := ParseAssignor(a.String()); got != a || err != nil {
			t.Errorf("%v: %v, %v", a, got, err)
		}
	}
	if _, err := ParseAssignor("random"); err == nil {
		t.Error("there is no assignor random")
	}
}

// large is 1,000 members and 10,000 partitions in 100 topics.
func large(same bool) *problem {
	r := rand.New(rand.NewPCG(1, 2))
	subscriptions := make([][]int, 1000)
	for m := range subscriptions {
		for topic := range 100 {
			if same || r.IntN(2) == 0 {
				subscriptions[m] = append(subscriptions[m], topic)
			}
		}
	}
	return pose(slices.Repeat([]int{100}, 100), subscriptions...)
}

func BenchmarkAssign1000MembersTo10000Partitions(b *testing.B) {
	for _, same := range []bool{true, false} {
		fresh := large(same)
		moved := *fresh
		moved.previous = assignSticky(fresh)
		for i := range moved.previous {
			if moved.previous[i]%10 == 0 { // every tenth member is new
				moved.previous[i]++
			}
		}
		alone := *fresh
		alone.previous = make([]int, len(fresh.previous)) // member 0 had everything
		for name, p := range map[string]*problem{"fresh": fresh, "moved": &moved, "alone": &alone} {
			for a, s := range assignors {
				if a == Sticky || name != "fresh" && a != CooperativeSticky {
					continue
				}
				b.Run(fmt.Sprintf("%v/same=%v/%s", a, same, name), func(b *testing.B) {
					for b.Loop() {
						s.solve(p)
					}
				})
			}
		}
	}
}
