package queue

import (
	"cmp"
	"slices"
)

// group is a group key with a message that is out, or is to be tried again. The
// others of the group wait for it, those of them that delivery has come across in
// waiting.
type group struct {
	held    bool
	back    bool // the holder is ready: it was given back
	holder  Ref
	waiting []seat // in the order of delivery
}

// seat is a blocked message.
type seat struct {
	chunk    *chunk
	offset   uint64
	arrived  int64
	priority uint8
}

func compareSeats(a, b seat) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.arrived, b.arrived),
		cmp.Compare(a.chunk.feed.log, b.chunk.feed.log), cmp.Compare(a.offset, b.offset))
}

// isBusy says whether another message of the group has to be settled first.
func (q *Queue) isBusy(c *chunk, i int) bool {
	g := q.groups[c.slots[i].group]
	return g != nil && g.held && g.holder != Ref{c.feed.log, c.slots[i].offset}
}

// hold has a message hold its group, if it has one.
func (q *Queue) hold(key uint64, ref Ref) {
	if key == 0 {
		return
	}
	g := q.groups[key]
	if g == nil {
		g = &group{}
		q.groups[key] = g
	}
	if g.holder == ref {
		q.goesOut(g)
	}
	if !g.held {
		g.held, g.holder = true, ref
	}
}

// isBack notes that a message is ready, or ready again.
func (q *Queue) isBack(key uint64, ref Ref) {
	if g := q.groups[key]; key != 0 && g != nil && g.held && g.holder == ref && !g.back {
		g.back = true
		q.back++
	}
}

// goesOut notes that the holder of a group is not ready any more.
func (q *Queue) goesOut(g *group) {
	if g.back {
		g.back = false
		q.back--
	}
}

// block sets a ready message aside until its group is free.
func (q *Queue) block(c *chunk, i int) {
	s := &c.slots[i]
	q.hide(c, i)
	s.state = blocked
	c.blocked++
	g := q.groups[s.group]
	at := seat{c, s.offset, s.arrived, s.priority}
	place, _ := slices.BinarySearchFunc(g.waiting, at, compareSeats)
	g.waiting = slices.Insert(g.waiting, place, at)
}

// unblock puts a blocked message back among the ready ones.
func (q *Queue) unblock(c *chunk, i int) {
	q.unseat(c, i)
	q.show(c, i)
}

func (q *Queue) unseat(c *chunk, i int) {
	s := &c.slots[i]
	g := q.groups[s.group]
	place, found := slices.BinarySearchFunc(g.waiting, seat{c, s.offset, s.arrived, s.priority}, compareSeats)
	if found {
		g.waiting = slices.Delete(g.waiting, place, place+1)
	}
}

func (q *Queue) show(c *chunk, i int) {
	s := &c.slots[i]
	s.state = ready
	c.blocked--
	c.lane(s.priority).add(i)
	q.raise(c, s.priority)
}

// release frees the group of a message that is settled for good. The first that
// waits for it can go; those after it need not be looked at until that one is
// settled in its turn. So each costs the same, however many there are.
func (q *Queue) release(key uint64, ref Ref) {
	g := q.groups[key]
	if key == 0 || g == nil || g.held && g.holder != ref {
		return
	}
	q.goesOut(g)
	q.reopenFor(key)
	if g.held = false; len(g.waiting) == 0 {
		delete(q.groups, key)
		return
	}
	first := g.waiting[0]
	g.waiting[0] = seat{}
	g.waiting = g.waiting[1:]
	q.show(first.chunk, first.chunk.index(first.offset))
}
