package queue

import "slices"

// The transitions of a message between the states that are not durable. A message
// is named by its chunk and offset, and by its index if the chunk is resident.

// where is a message with what transitions need, be its chunk resident or not.
type where struct {
	chunk    *chunk
	index    int // -1: not resident
	offset   uint64
	bytes    uint32
	priority uint8
}

func (c *chunk) where(i int) where {
	s := &c.slots[i]
	return where{c, i, s.offset, s.bytes, s.priority}
}

// makeReady puts a message that is in no state among the ready ones.
func (q *Queue) makeReady(w where) {
	c := w.chunk
	c.bytes += int64(w.bytes)
	q.bytes += int64(w.bytes)
	q.count.Ready++
	if w.index >= 0 {
		c.slots[w.index].state = ready
		c.lane(w.priority).add(w.index)
	} else {
		q.reopen(c)
	}
	q.raise(c, w.priority)
}

// raise notes that a chunk has ready messages of a priority.
func (q *Queue) raise(c *chunk, priority uint8) {
	q.levels.add(c, priority)
	if head := c.feed.heads[priority]; head == nil || c.first < head.first {
		c.feed.heads[priority] = c
	}
}

// takeReady takes a message of a resident chunk from the ready ones.
func (q *Queue) takeReady(c *chunk, i int) {
	s := &c.slots[i]
	c.bytes -= int64(s.bytes)
	q.bytes -= int64(s.bytes)
	q.count.Ready--
	q.hide(c, i)
}

// hide takes a message out of its lane.
func (q *Queue) hide(c *chunk, i int) {
	s := &c.slots[i]
	l := c.lane(s.priority)
	if l.remove(i); l.n == 0 {
		q.levels.remove(c, s.priority)
	}
}

// makeDelayed puts a message that is in no state among the delayed ones.
func (q *Queue) makeDelayed(w where, due int64) {
	c := w.chunk
	c.bytes += int64(w.bytes)
	q.bytes += int64(w.bytes)
	q.count.Delayed++
	c.delayed++
	if w.index >= 0 {
		c.slots[w.index].state = delayed
		c.slots[w.index].due = due
	}
	q.schedule(c, due)
}

func (q *Queue) takeDelayed(c *chunk, i int) {
	s := &c.slots[i]
	c.bytes -= int64(s.bytes)
	q.bytes -= int64(s.bytes)
	q.count.Delayed--
	c.delayed--
}

// takeWaiting takes a message of a resident chunk out of the state that it waits in.
func (q *Queue) takeWaiting(c *chunk, i int) {
	switch c.slots[i].state {
	case ready:
		q.takeReady(c, i)
	case delayed:
		q.takeDelayed(c, i)
	case blocked:
		q.unblock(c, i)
		q.takeReady(c, i)
	case staged:
		q.unstage(c, i)
		q.takeReady(c, i)
	}
}

// waits says whether a message is in one of the states that takeWaiting takes.
func (s state) waits() bool { return s <= delayed }

// drop takes a chunk without live messages away.
func (q *Queue) drop(c *chunk) {
	f := c.feed
	i := f.at(c.first)
	next := (*chunk)(nil)
	if i+1 < len(f.chunks) {
		next = f.chunks[i+1]
	}
	for p := range f.heads {
		if f.heads[p] == c {
			f.heads[p] = next
		}
	}
	if i == 0 {
		f.chunks[0] = nil
		f.chunks = f.chunks[1:]
	} else {
		f.chunks = slices.Delete(f.chunks, i, i+1)
	}
	q.forgetShut(c)
	q.levels.removeAll(c)
	q.timers.remove(c)
	q.bytes -= c.bytes // of one that is not resident, what the estimates left over
	q.pinned = slices.DeleteFunc(q.pinned, func(p *chunk) bool { return p == c })
	if c.loading {
		c.loading = false
		q.loading--
	}
	if f.open == c {
		f.open = nil
	} else if c.isResident() {
		q.forgetResident(c)
	}
	q.recycle(c)
}

func (q *Queue) forgetResident(c *chunk) {
	if i := slices.Index(q.resident, c); i >= 0 {
		q.resident = slices.Delete(q.resident, i, i+1)
	}
}

// spareChunks is how many chunks are kept to be used again, with their memory.
const spareChunks = 2

func (q *Queue) recycle(c *chunk) {
	if c.isResident() && len(q.spare) < spareChunks {
		*c = chunk{slots: c.slots[:0], lanes: c.lanes[:0], gone: c.gone[:0]}
		q.spare = append(q.spare, c)
	}
}

// fresh returns an empty resident chunk.
func (q *Queue) fresh() *chunk {
	if n := len(q.spare); n > 0 {
		c := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return c
	}
	return &chunk{slots: make([]slot, 0, min(64, q.config.Limits.ChunkMessages))}
}
