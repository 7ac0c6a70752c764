package actor

import (
	"slices"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/checkpoint"
)

// TestACheckpointServesThoseWhoAskedBeforeItBegan and nobody who asked later, nor
// for something else.
func TestACheckpointServesThoseWhoAskedBeforeItBegan(t *testing.T) {
	now := time.UnixMilli(0)
	c := &coordinator{core: checkpoint.NewCoordinator(checkpoint.Config{}, []string{"only"}, 0, now), begun: map[uint64][]asked{}}
	answered := map[string]uint64{}
	ask := func(who string, r checkpoint.Request) {
		c.request(requestCheckpoint{request: r, answer: func(m checkpoint.Manifest, _ error) { answered[who] = m.Checkpoint }})
	}
	begin := func() *checkpoint.Pending {
		p := c.core.Trigger(now)
		c.trigger(p)
		return p
	}
	end := func(p *checkpoint.Pending) {
		answerAll(c.begun[p.Number], &checkpoint.Manifest{Checkpoint: p.Number}, nil)
		c.core.Ack(p.Number, "task", checkpoint.Part{})
	}
	ask("first", checkpoint.Request{Asked: true})
	ask("together with the first", checkpoint.Request{Asked: true})
	ask("savepoint", checkpoint.Request{Savepoint: "s"})
	one := begin()
	ask("second", checkpoint.Request{Asked: true})
	ask("savepoint, later", checkpoint.Request{Savepoint: "s"})
	end(one)
	two := begin()
	ask("savepoint, last", checkpoint.Request{Savepoint: "s"})
	end(two)
	end(begin())
	end(begin())
	if c.core.Trigger(now) != nil || len(c.waiting) > 0 {
		t.Errorf("%d still wait", len(c.waiting))
	}
	for number, who := range [][]string{1: {"first", "together with the first"}, 2: {"savepoint", "savepoint, later"}, 3: {"second"}, 4: {"savepoint, last"}} {
		for _, w := range who {
			if answered[w] != uint64(number) {
				t.Errorf("%s was answered by checkpoint %d, want %d", w, answered[w], number)
			}
		}
	}
	if n := len(slices.Concat(c.begun[1], c.begun[2], c.begun[3], c.begun[4])); n != 6 {
		t.Errorf("%d were served", n)
	}
}
