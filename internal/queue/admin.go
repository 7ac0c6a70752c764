package queue

import (
	"cmp"
	"fmt"
	"slices"
)

// recover makes a restored queue ready for work. Nothing is in flight. That all
// messages are accounted for was not looked at while events were replayed.
func (q *Queue) recover(now int64) error {
	if err := q.Check(); err != nil {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	q.restored = false
	q.unused = now
	q.goThroughMarks()
	q.emit(recovered{now})
	return nil
}

// stop gives back everything that is in flight.
func (q *Queue) stop(now int64) error {
	for _, k := range q.byAge() {
		q.takeBack(now, k, k.flights.tags(0), CauseReturned)
		delete(q.consumers, k.name)
		k.cancelled = true
		q.countRoom(k)
	}
	q.order = nil
	q.reorder()
	q.emit(stopped{})
	return nil
}

// purge removes what waits.
func (q *Queue) purge() error {
	q.unstageAll()
	kept := map[*feed][]Ref{}
	q.eachOut(func(d *flight) {
		if d.chunk != nil {
			kept[d.chunk.feed] = append(kept[d.chunk.feed], d.ref())
		}
	})
	for ref := range q.letters.all {
		f := q.feed(ref.Log)
		kept[f] = append(kept[f], ref)
	}
	for _, f := range q.feeds {
		n := 0
		for _, c := range f.chunks {
			n += c.waiting()
		}
		if n > 0 {
			slices.SortFunc(kept[f], func(a, b Ref) int { return cmp.Compare(a.Offset, b.Offset) })
			q.emit(&purged{feed: f, below: f.next, n: uint64(n), kept: rangesOf(kept[f])})
		}
	}
	q.freeGroups()
	return nil
}

// freeGroups forgets what waited for a group, and groups held by what waited.
func (q *Queue) freeGroups() {
	held := map[uint64]Ref{}
	q.eachOut(func(d *flight) {
		if d.group != 0 {
			held[d.group] = d.ref()
		}
	})
	clear(q.groups)
	q.back = 0
	for key, ref := range held {
		q.hold(key, ref)
	}
}

// dropThem removes messages that wait, if all of them do.
func (q *Queue) dropThem(now int64, c Drop) error {
	refs := slices.Clone(c.Refs)
	slices.SortFunc(refs, compareRefs)
	refs = slices.Compact(refs)
	for _, ref := range refs {
		if err := q.mayDrop(ref); err != nil {
			return err
		}
	}
	e := ended{how: dropped}
	if c.Moved {
		e.how = moved
	}
	seen := refs[:0]
	for _, ref := range refs {
		if c, i := q.find(ref); i >= 0 {
			q.takeWaiting(c, i)
			q.release(c.slots[i].group, ref)
			seen = append(seen, ref)
		} else {
			q.takeUnseen(c, ref)
			q.end(now, []Ref{ref}, e)
		}
	}
	q.end(now, seen, e)
	return nil
}

func (q *Queue) mayDrop(ref Ref) error {
	if c, i := q.find(ref); i >= 0 && c.slots[i].state.waits() {
		return nil
	}
	switch o := q.Outcome(ref); o.Status {
	case StatusReady, StatusDelayed:
		return nil
	case StatusInFlight, StatusDying:
		return fmt.Errorf("%w: %v is %v", ErrInFlight, ref, o.Status)
	default:
		return fmt.Errorf("%w: %v is %v", ErrUnknownMessage, ref, o.Status)
	}
}

// takeUnseen takes a message that waits out of a chunk which is not resident. What
// that chunk says of it is an estimate from then on.
func (q *Queue) takeUnseen(c *chunk, ref Ref) {
	n := c.bytes / int64(c.waiting())
	c.bytes -= n
	q.bytes -= n
	if c.delayed == c.waiting() {
		c.delayed--
		q.count.Delayed--
	} else {
		q.count.Ready--
	}
	for key, g := range q.groups {
		if g.held && g.holder == ref {
			q.release(key, ref)
		}
	}
}

// find returns the chunk of a live message, and its index there if it is resident.
func (q *Queue) find(ref Ref) (*chunk, int) {
	f := q.feed(ref.Log)
	if f == nil {
		return nil, -1
	}
	c := f.find(ref.Offset)
	if c == nil || c.gone.has(int(ref.Offset-c.first)) {
		return nil, -1
	}
	return c, c.index(ref.Offset)
}

// configure changes the configuration.
func (q *Queue) configure(c Configure) error {
	config, err := c.Config.withDefaults()
	if err != nil {
		return err
	}
	if q.config = config; !config.FairTenants {
		q.unstageAll()
	}
	q.history.setLimit(max(config.Limits.History, 0))
	return nil
}

// goThroughMarks has the messages whose retry is delayed hold their groups, and
// those looked at that were tried often enough.
func (q *Queue) goThroughMarks() {
	for _, f := range q.feeds {
		for _, c := range f.chunks {
			for offset, m := range c.marks {
				q.hold(m.group, Ref{f.log, offset})
				if m.reason == ReasonNone && q.config.isEnough(m.attempts) {
					q.schedule(c, 1)
				}
			}
		}
	}
}
