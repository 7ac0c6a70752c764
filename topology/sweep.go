package topology

import (
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
)

// sweep removes expired state that nobody comes across. Once in every step it
// looks at some places of the table, as many as it takes to see all of them
// within the shortest time-to-live, or sweepMax.
type sweep struct {
	step int64 // milliseconds; 0: nothing expires
	laps int64 // steps in which to see everything
	next int64
	from dataflow.Ref
}

const (
	sweepStep = time.Second
	sweepMax  = 10_000
)

func newSweep(handles []handle) (s sweep) {
	for _, h := range handles {
		if ttl := h.declaration().ttl; ttl > 0 {
			laps := max(1, ttl/sweepStep.Milliseconds())
			if s.step == 0 || laps < s.laps {
				s.step, s.laps = sweepStep.Milliseconds(), laps
			}
		}
	}
	return s
}

func (o *process[K, T, O]) sweepExpired(now int64) {
	s := &o.sweep
	if s.step == 0 || now < s.next {
		return
	}
	s.next = now + s.step
	places := min(sweepMax, o.Places()/int(min(s.laps, sweepMax))+1)
	s.from = o.Scan(s.from, places, o.purge)
}

// purge removes what has expired of a key.
func (o *process[K, T, O]) purge(r dataflow.Ref) {
	_, st := o.Peek(r)
	if !o.state.stale(st) {
		return
	}
	st = o.Touch(r)
	o.state.purge(st)
	if o.state.empty(st) {
		o.DeleteAt(r)
	}
}
