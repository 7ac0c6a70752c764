package queue

import (
	"fmt"
	"math/bits"
	"slices"
)

// Chunks are paged in when delivery comes near them, or something in them is due
// or expires, and paged out when there are more than Limits.Resident. How much a
// chunk is needed is the order of delivery itself: the highest priority that it
// has ready, then its place. A chunk is never paged out for one that is needed
// less, so that the two cannot push each other out in turn.

// readAhead is how many chunks after the one that is delivered from are loaded.
const readAhead = 2

// need is how much a chunk is needed for delivery: the level is -1 if not at all.
func (c *chunk) need() (level int, arrived int64, offset uint64) {
	levels := c.levels
	if c.blocked > 0 {
		for i := range c.slots {
			if s := c.slots[i].state; s == blocked || s == staged {
				levels |= 1 << c.slots[i].priority
			}
		}
	}
	return bits.Len32(levels) - 1, c.arrived, c.first
}

// less says whether a chunk is needed less than another one for a level.
func (c *chunk) less(level int, than *chunk) bool {
	l, arrived, offset := c.need()
	switch {
	case l != level:
		return l < level
	case arrived != than.arrived:
		return arrived > than.arrived
	case c.feed != than.feed:
		return c.feed.log > than.feed.log
	}
	return offset > than.first
}

// want has a chunk loaded that is needed for a level, if there is room or
// something that is needed less.
func (q *Queue) want(c *chunk, level int) {
	if c.loading || c.isResident() {
		return
	}
	if len(q.resident)+q.loading >= q.mostResident() {
		victim := q.victimFor(c, level)
		if victim == nil {
			return
		}
		q.evict(victim)
	}
	q.load(c)
}

// victimFor returns the chunk that is to go for another one; nil: enough is in memory,
// and all of it comes first.
func (q *Queue) victimFor(c *chunk, level int) *chunk {
	if b := q.waitsInVain(); b != nil {
		return b
	}
	victim := q.leastNeeded()
	if victim != nil && q.config.isStrict() && !victim.less(level, c) {
		return nil
	}
	q.stalled = q.stalled || victim == nil
	return victim
}

// waitsInVain returns a chunk that has to go though it comes first: it is blocked,
// and may be so by a message that was given back, and cannot be reached otherwise.
func (q *Queue) waitsInVain() *chunk {
	if q.back == 0 {
		return nil
	}
	return q.least((*chunk).isBlocked)
}

func (q *Queue) load(c *chunk) {
	if !c.loading {
		c.loading = true
		q.loading++
		q.tell(Load{c.feed.log, c.first, c.end})
	}
}

// mostResident is how many chunks may be resident: to find out which message of
// several logs is the first takes one chunk of each.
func (q *Queue) mostResident() int { return max(q.config.Limits.Resident, len(q.feeds)+1) }

// pin keeps a chunk in memory until a message was delivered or dropped.
func (q *Queue) pin(c *chunk) {
	if !slices.Contains(q.pinned, c) {
		q.pinned = append(q.pinned, c)
	}
}

// leastNeeded returns the resident chunk that is needed least, leaving out those
// that are pinned.
func (q *Queue) leastNeeded() *chunk { return q.least(func(*chunk) bool { return true }) }

func (q *Queue) least(of func(*chunk) bool) (least *chunk) {
	for _, c := range q.resident {
		if slices.Contains(q.pinned, c) || !of(c) {
			continue
		}
		if least == nil {
			least = c
			continue
		}
		if level, _, _ := least.need(); c.less(level, least) {
			least = c
		}
	}
	return least
}

// evictOver pages out what is over the limit, and leaves room for some more.
func (q *Queue) evictOver(room int) {
	for len(q.resident)+room > q.mostResident() && len(q.resident) > 0 {
		c := q.leastNeeded()
		if c == nil {
			return
		}
		q.evict(c)
	}
}

// evict pages a chunk out.
func (q *Queue) evict(c *chunk) {
	q.forgetResident(c)
	if c.isBlocked() {
		q.shutOut(c)
	}
	for i := range c.slots {
		switch c.slots[i].state {
		case blocked:
			q.unblock(c, i)
		case staged:
			q.unstage(c, i)
		case out:
			c.flying |= 1 << c.slots[i].priority
		}
	}
	if len(q.spare) < spareChunks {
		q.spare = append(q.spare, &chunk{slots: c.slots[:0], lanes: c.lanes[:0]})
	}
	c.slots, c.lanes, c.drawn = nil, nil, false
}

// loaded puts the messages of a chunk in their places again. A chunk that was
// dropped in the meantime is not missed.
func (q *Queue) loaded(now int64, l Loaded) error {
	f := q.feed(l.Log)
	if f == nil {
		return nil
	}
	c := f.find(l.First)
	if c == nil || !c.loading || c.first != l.First || c.end != l.Next {
		return nil
	}
	c.loading = false
	q.loading--
	if err := checkLoaded(c, l.Entries); err != nil {
		return err
	}
	q.forgetEstimates(c)
	q.fill(c, l.Entries)
	q.resident = append(q.resident, c)
	here := q.placeAll(now, c)
	if missing := c.live - here; missing > 0 {
		q.forgetMissing(c)
		q.emit(lost{f, c.first, c.end, missing})
	}
	if c.live == 0 {
		q.drop(c)
		return nil
	}
	q.evictExcept(c)
	return nil
}

// forgetMissing forgets the dead letters whose records are lost.
func (q *Queue) forgetMissing(c *chunk) {
	for offset, m := range c.marks {
		if ref := (Ref{c.feed.log, offset}); m.reason != ReasonNone && c.index(offset) < 0 {
			q.letters.forget(ref)
			delete(c.marks, offset)
		}
	}
}

func checkLoaded(c *chunk, entries []Entry) error {
	next, live := c.first, 0
	for i := range entries {
		e := &entries[i]
		if e.Log != c.feed.log || e.Offset < next || e.Offset >= c.end {
			return fmt.Errorf("%w: message %v is loaded out of order, from %d to %d of log %d at %d", ErrInvalid, e.Ref, c.first, c.end, c.feed.log, next)
		}
		next = e.Offset + 1
		if !c.gone.has(int(e.Offset - c.first)) {
			live++
		}
	}
	if live > c.live {
		return fmt.Errorf("%w: %d messages are loaded from %d to %d of log %d, and there are %d", ErrInvalid, live, c.first, c.end, c.feed.log, c.live)
	}
	return nil
}

// forgetEstimates takes what a chunk says of its messages out of the books, but
// for what is in flight.
func (q *Queue) forgetEstimates(c *chunk) {
	q.count.Ready -= c.waiting() - c.delayed
	q.count.Delayed -= c.delayed
	q.count.Dying -= c.dying
	q.bytes -= c.bytes
	c.delayed, c.dying, c.bytes, c.at, c.flying = 0, 0, 0, 0, 0
	q.forgetShut(c)
	q.levels.removeAll(c)
	q.timers.remove(c)
}

// fill makes slots of entries. The chunk is given those that are recycled.
func (q *Queue) fill(c *chunk, entries []Entry) {
	s := q.fresh()
	c.slots, c.lanes = s.slots, s.lanes
	for i := range entries {
		c.slots = append(c.slots, q.slotOf(&entries[i]))
	}
	q.fillRelocated(c)
	for i := range c.slots {
		if c.gone.has(int(c.slots[i].offset - c.first)) {
			c.slots[i].state = gone
		}
	}
	if c.out > 0 {
		q.eachOut(func(d *flight) {
			if d.chunk != c {
				return
			}
			if i := c.index(d.offset); i >= 0 {
				c.slots[i].state = out
			}
		})
	}
}

// fillRelocated makes slots of the messages whose bodies are elsewhere, if their
// records are gone.
func (q *Queue) fillRelocated(c *chunk) {
	n := len(c.slots)
	for _, e := range c.relocatedIn() {
		if i, found := slices.BinarySearchFunc(c.slots[:n], e.Offset, compareSlot); !found || i == n {
			c.slots = append(c.slots, q.slotOf(&e))
		}
	}
	if len(c.slots) > n {
		slices.SortFunc(c.slots, func(a, b slot) int { return compareSlot(a, b.offset) })
	}
}

// placeAll puts what is not gone or in flight into its state. It returns how many
// live messages there are.
func (q *Queue) placeAll(now int64, c *chunk) (live int) {
	live = c.out
	for i := range c.slots {
		if s := c.slots[i].state; s == gone || s == out {
			continue
		}
		live++
		q.place(now, c, i, c.marks[c.slots[i].offset])
	}
	return live
}

// evictExcept pages out what is over the limit, but not a chunk that was just
// loaded: it is there because it is needed.
func (q *Queue) evictExcept(c *chunk) {
	q.forgetResident(c)
	q.evictOver(1)
	q.resident = append(q.resident, c)
}
