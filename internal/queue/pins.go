package queue

import "slices"

// Pin is a range of a log in which a queue needs bodies of messages.
type Pin struct {
	First, Next uint64
	Messages    int // at most so many
}

// Pins returns the ranges of a log that begin in front of an offset and have messages of
// the queue whose bodies were not relocated, in order.
func (q *Queue) Pins(log uint32, before uint64) (pins []Pin) {
	f := q.feed(log)
	if f == nil {
		return nil
	}
	for _, c := range f.chunks {
		if c.first >= before {
			break
		}
		if n := c.live - c.relocated(); n > 0 {
			pins = append(pins, Pin{c.first, min(c.end, before), n})
		}
	}
	return pins
}

// relocated is how many messages of a chunk have their bodies elsewhere.
func (c *chunk) relocated() (n int) {
	for _, m := range c.marks {
		if m.body != nil {
			n++
		}
	}
	return n
}

// Needs says whether the queue needs the body of a message at its place: it has the
// message, and has not relocated it. As to records that were never for the queue, see
// Outcome.
func (q *Queue) Needs(ref Ref) bool {
	if !q.Holds(ref) {
		return false
	}
	c, _ := q.find(ref)
	return c != nil && !c.isRelocated(ref.Offset)
}

// Relocated returns the messages whose bodies are not at their places, as Relocate was
// told of them, in order.
func (q *Queue) Relocated() (moves []Move) {
	for _, f := range q.feeds {
		for _, c := range f.chunks {
			for offset, m := range c.marks {
				if m.body != nil {
					moves = append(moves, Move{Ref{f.log, offset}, *m.body})
				}
			}
		}
	}
	slices.SortFunc(moves, func(a, b Move) int { return compareRefs(a.From, b.From) })
	return moves
}
