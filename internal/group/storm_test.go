package group

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// step does one thing at random.
func (s *storm) step() {
	c := s.slots[rapid.IntRange(0, len(s.slots)-1).Draw(s.T, "who")]
	switch rapid.IntRange(0, 21).Draw(s.T, "what") {
	case 0, 1, 2:
		if !c.running {
			s.join(c)
		}
	case 3: // a second one is started
		s.join(c)
	case 4: // it crashes, and says nothing more
		c.running = false
	case 5, 6, 7, 8, 9:
		s.work(c)
	case 10, 11, 12:
		s.release(c)
	case 13:
		s.flush()
	case 14: // a zombie, or a member with a claim of another one
		if len(s.zombies) > 0 {
			s.commit(rapid.SampledFrom(s.ids).Draw(s.T, "zombie"), rapid.SampledFrom(s.zombies).Draw(s.T, "claim"), 10)
		}
	case 15, 20, 21:
		s.commitOwn(c)
	case 16:
		s.pass(rapid.Int64Range(0, 6000).Draw(s.T, "ms"))
	case 17:
		if rapid.IntRange(0, 5).Draw(s.T, "crash") == 0 {
			s.crash()
		} else {
			s.save()
		}
	case 18:
		if c.running && c.epoch > 0 {
			s.leave(c, rapid.Bool().Draw(s.T, "final"))
		}
	case 19:
		s.rewind()
	}
}

// commitOwn lets the consumer, or the next one that has something, commit.
func (s *storm) commitOwn(c *consumer) {
	first := slices.Index(s.slots, c)
	for i := range s.slots {
		if c = s.slots[(first+i)%len(s.slots)]; c.running && len(c.owned) > 0 {
			break
		}
	}
	claims := slices.SortedFunc(maps.Values(c.owned), func(a, b Claim) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), a.Partition-b.Partition)
	})
	if c.running && len(claims) > 0 {
		s.commit(c.id, rapid.SampledFrom(claims).Draw(s.T, "own"), rapid.Uint64Range(0, 9).Draw(s.T, "next"))
	}
}

func (s *storm) pass(ms int64) {
	s.now += ms
	s.apply(Tick{})
}

func (s *storm) rewind() {
	topic := rapid.SampledFrom(s.topics).Draw(s.T, "topic")
	w := where{topic.Name, rapid.IntRange(0, topic.Partitions-1).Draw(s.T, "partition")}
	next := rapid.Uint64Range(0, 9).Draw(s.T, "to")
	if err := s.apply(Rewind{[]Position{{w.topic, w.index, next, ""}}}); err == nil {
		s.model.committed[w] = next
	} else if !errors.Is(err, ErrUnknownPartition) {
		s.Fatal(err)
	}
}

// calm lets the storm end: who is running works on, who is not runs out of time.
func (s *storm) calm() {
	if !slices.ContainsFunc(s.slots, func(c *consumer) bool { return c.running }) {
		s.join(s.slots[0])
	}
	for range 16 { // a session and a half
		s.flush()
		for _, c := range s.slots {
			if !c.running {
				continue
			}
			if s.work(c); !c.running {
				s.join(c)
			}
			s.release(c)
		}
		s.pass(session.Milliseconds() / 10)
	}
}

// check checks what must hold when all is calm.
func (s *storm) check() {
	d := s.g.Describe()
	if d.State != Stable {
		s.Fatalf("the group is %s: %+v", d.State, d)
	}
	for _, p := range d.Partitions {
		c := s.slots[slices.IndexFunc(s.slots, func(c *consumer) bool { return c.id == p.Owner })]
		if !c.running || c.owned[p.where()] != p.Claim || s.model.holder[p.where()] != p.Owner || s.model.owner[p.where()] != p.Claim {
			s.Fatalf("%v belongs to %q with epoch %d; its consumer knows %v", p.where(), p.Owner, p.Epoch, c.owned[p.where()])
		}
		got, known := s.g.Committed(p.Topic, p.Partition)
		if next, ok := s.model.committed[p.where()]; ok != p.Committed || next != p.Next || got != next || known != ok {
			s.Fatalf("%v is committed at %d (%v), want %d (%v)", p.where(), p.Next, p.Committed, next, ok)
		}
	}
	loads := []int{}
	for _, m := range d.Members {
		loads = append(loads, m.Owned)
	}
	if slices.Max(loads)-slices.Min(loads) > 1 {
		s.Fatalf("loads %v", loads)
	}
	if s.moves > s.retarget {
		s.Fatalf("%d partitions moved, for %d changes of targets", s.moves, s.retarget)
	}
}

// 20 members and 32 partitions. At no time does a partition have two owners, and
// nothing that a former owner says counts; when all is calm every partition has
// an owner, loads differ by at most one, and consumers know what they own. Each
// generation moves as few partitions as balance allows, and no more partitions
// move than targets have changed: the factor to the optimum is 1.
func TestStorm(t *testing.T) {
	for _, a := range []Assignor{CooperativeSticky, Sticky, RoundRobin} {
		t.Run(a.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := newStorm(t, 20, 32, a)
				for range rapid.IntRange(100, 300).Draw(t, "steps") {
					s.step()
				}
				s.calm()
				s.check()
				s.save()
				s.crash()
			})
		})
	}
}
