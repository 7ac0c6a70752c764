package queue

import "slices"

// lost: messages of a range are not in the log any more.
type lost struct {
	feed        *feed
	first, next uint64
	n           int
}

func (lost) kind() byte { return kindLost }

func (e lost) put(w *writer) {
	w.Num(uint64(e.feed.log))
	w.Num(e.first)
	w.Num(e.next)
	w.Num(uint64(e.n))
}

func readLost(r *reader) event {
	return lost{r.feed(), r.offset(), r.bound(), int(r.Below(maxChunkMessages + 1))}
}

// apply takes them from the chunks of the range. In a replay those may end
// elsewhere, and what is yet to be taken again is not in them: it will not be found.
func (e lost) apply(q *Queue) {
	left := e.n
	for i := e.feed.at(e.first); i < len(e.feed.chunks) && left > 0; {
		c := e.feed.chunks[i]
		if c.first >= e.next {
			break
		}
		n := max(min(left, c.waiting()), 0)
		left -= n
		if q.replaying {
			q.unestimate(c)
		}
		c.live -= n
		q.count.Live -= n
		q.count.Lost += uint64(n)
		if q.replaying {
			q.estimate(c)
		}
		if i++; c.live == 0 && q.replaying {
			q.drop(c)
			i--
		}
	}
	if q.replaying {
		q.count.Lost += uint64(left)
		q.count.Taken += uint64(left)
	}
}

// purged: what waited in a log before an offset is gone.
type purged struct {
	feed  *feed
	below uint64
	n     uint64 // how many those were
	kept  ranges
}

func (purged) kind() byte { return kindPurged }

func (e *purged) put(w *writer) {
	w.Num(uint64(e.feed.log))
	w.Num(e.below)
	w.Num(e.n)
	w.ranges(e.kept)
}

func readPurged(r *reader) event {
	return &purged{feed: r.feed(), below: r.bound(), n: r.Below(maxOffset), kept: r.ranges(maxOffset)}
}

func (e *purged) apply(q *Queue) {
	n := uint64(0)
	for i := 0; i < len(e.feed.chunks); {
		c := e.feed.chunks[i]
		n += q.purgeChunk(c, e.kept)
		if c.live == 0 {
			q.drop(c)
		} else {
			i++
		}
	}
	q.count.Purged += n
	if e.below > e.feed.next {
		rest := max(e.n, n) - n
		q.count.Purged += rest
		q.count.Taken += rest
		e.feed.purge = e.joined(e.feed.purge)
	}
}

// joined is the purge together with an earlier one, which reaches further if the
// queue had been restored in between and had not caught up yet.
func (e *purged) joined(before *purge) *purge {
	if before == nil || before.below <= e.below {
		return &purge{e.below, e.kept}
	}
	return &purge{before.below, append(slices.Clip(e.kept), before.kept.from(e.below)...)}
}

// purgeChunk ends what waits in a chunk: all but what is kept. The offsets between
// its messages, which are not in the queue, count as gone as well.
func (q *Queue) purgeChunk(c *chunk, kept ranges) uint64 {
	before, live := c.live, 0
	q.unestimate(c)
	for offset := c.first; offset < c.end; offset++ {
		i := int(offset - c.first)
		if !c.gone.has(i) && kept.has(offset) {
			live++
			continue
		}
		c.gone.set(i)
		delete(c.marks, offset)
	}
	for i := range c.slots {
		if c.slots[i].state.waits() {
			c.slots[i].state = gone
		}
	}
	q.count.Live -= before - live
	c.live, c.delayed, c.bytes, c.blocked, c.lanes = live, 0, 0, 0, c.lanes[:0]
	if !q.replaying { // else what is kept, which was in flight, is ready now
		q.forgetShut(c)
		q.levels.removeAll(c)
	}
	q.estimate(c)
	return uint64(max(before-live, 0))
}
