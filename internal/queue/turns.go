package queue

import "math/bits"

// turns shares deliveries between the priorities that wait.
type turns struct {
	n       uint64 // deliveries
	since   [MaxPriorities]uint64
	current int // whose turn it is, by weights
	credit  int // how many more deliveries it has
}

// level chooses a priority among those of a mask: one that has waited for too long,
// or else the highest, or else the one whose turn it is by weights.
func (q *Queue) level(mask uint32) int {
	top := bits.Len32(mask) - 1
	if mask == 1<<top {
		return top
	}
	if bound := uint64(q.config.StarvationBound); bound > 0 {
		if l := q.levels.starving(mask, bound); l >= 0 {
			return l
		}
	}
	if q.config.Weights == nil {
		return top
	}
	return q.levels.inTurn(mask, q.config.Weights)
}

// starving returns the priority that has waited longest, if that is too long, and
// -1 if none has.
func (t *turns) starving(mask uint32, bound uint64) int {
	starving, longest := -1, bound
	for ; mask != 0; mask &= mask - 1 {
		l := bits.TrailingZeros32(mask)
		if waited := t.n - t.since[l]; waited >= longest {
			starving, longest = l, waited
		}
	}
	return starving
}

// inTurn is a weighted round robin, from the highest priority down.
func (t *turns) inTurn(mask uint32, weights []int) int {
	if mask&(1<<t.current) == 0 || t.credit <= 0 {
		below := mask & (1<<t.current - 1)
		if below == 0 {
			below = mask
		}
		t.current = bits.Len32(below) - 1
		t.credit = 1
		if t.current < len(weights) {
			t.credit = max(weights[t.current], 1)
		}
	}
	return t.current
}

// delivered notes a delivery.
func (t *turns) delivered(level int) {
	t.n++
	t.since[level] = t.n
	if level == t.current {
		t.credit--
	}
}

// isStrict says whether higher priorities always go first.
func (c *Config) isStrict() bool { return c.Weights == nil && c.StarvationBound == 0 }
