// Package watermark combines the watermarks of several inputs.
//
// A watermark of w says: no record with an event time of w or below is
// expected any more. An operator with several inputs knows only what the
// slowest of them knows, so it takes the minimum; an input that has gone idle
// does not hold the others back.
package watermark

import "math"

// The ends of event time.
const (
	Min int64 = math.MinInt64 // nothing is known yet
	Max int64 = math.MaxInt64 // the end of the input: every window closes
)

// Tracker keeps the watermark of each input and their combination.
type Tracker struct {
	inputs   []input
	combined int64
	idle     bool
}

type input struct {
	time int64
	idle bool
}

// NewTracker returns a tracker for n inputs, all at Min and active.
func NewTracker(n int) *Tracker {
	t := &Tracker{inputs: make([]input, n), combined: Min}
	for i := range t.inputs {
		t.inputs[i].time = Min
	}
	return t
}

// Update notes the watermark of one input. A watermark below an earlier one of
// the same input is ignored, so a combined watermark never moves back. It
// reports the combined watermark, whether all inputs are idle, and whether
// either of them changed.
func (t *Tracker) Update(i int, time int64, idle bool) (combined int64, allIdle, changed bool) {
	in := &t.inputs[i]
	in.time = max(in.time, time)
	in.idle = idle && in.time != Max
	combined, allIdle = t.combine()
	combined = max(combined, t.combined)
	changed = combined != t.combined || allIdle != t.idle
	t.combined, t.idle = combined, allIdle
	return combined, allIdle, changed
}

// combine is the minimum over the active inputs. When every input is idle
// there is no minimum to take: the combination holds where it is. Inputs that
// have ended (at Max) hold nobody back, and all of them ended is the end.
func (t *Tracker) combine() (time int64, idle bool) {
	time, idle, ended := Max, true, true
	for _, in := range t.inputs {
		if in.time != Max {
			ended = false
		}
		if in.idle || in.time == Max {
			continue
		}
		idle = false
		time = min(time, in.time)
	}
	if ended {
		return Max, false
	}
	if idle {
		return t.combined, true
	}
	return time, false
}

// Combined returns the combined watermark and whether all inputs are idle.
func (t *Tracker) Combined() (time int64, idle bool) { return t.combined, t.idle }

// Of returns the watermark of one input.
func (t *Tracker) Of(i int) int64 { return t.inputs[i].time }

// Bound returns the combined watermark as it would be if input i were at Max:
// what the other inputs allow.
func (t *Tracker) Bound(i int) int64 {
	bound := Max
	for j, in := range t.inputs {
		if j != i && !in.idle {
			bound = min(bound, in.time)
		}
	}
	return bound
}
