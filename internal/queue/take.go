package queue

import "fmt"

func (q *Queue) take(now int64, c Take) error {
	f, err := q.needFeed(c.Log)
	if err != nil {
		return err
	}
	if err := q.checkTake(f, c); err != nil {
		return err
	}
	for i := range c.Entries {
		q.takeOne(now, f, &c.Entries[i])
	}
	f.next = c.Next
	if f.ahead != nil || f.purge != nil {
		f.passed()
	}
	return nil
}

func (q *Queue) checkTake(f *feed, c Take) error {
	if len(c.Entries) > q.config.Limits.TakeMessages {
		return fmt.Errorf("%w: %d messages are taken at once, the limit TakeMessages is %d", ErrLimit, len(c.Entries), q.config.Limits.TakeMessages)
	}
	next := f.next
	for i := range c.Entries {
		e := &c.Entries[i]
		if e.Log != c.Log || e.Offset < next {
			return fmt.Errorf("%w: message %v is taken out of order, from log %d at %d", ErrInvalid, e.Ref, c.Log, next)
		}
		next = e.Offset + 1
	}
	if c.Next < next {
		return fmt.Errorf("%w: log %d was taken to %d, and is to be read on at %d", ErrInvalid, c.Log, next, c.Next)
	}
	if c.Next > maxOffset {
		return fmt.Errorf("%w: log %d is to be read on at %d, and an offset is at most %d", ErrInvalid, c.Log, c.Next, uint64(maxOffset))
	}
	return nil
}

// takeOne takes a message, unless the journal has seen its end before.
func (q *Queue) takeOne(now int64, f *feed, e *Entry) {
	if f.goneAhead(e.Offset) {
		if c := f.open; c != nil && e.Offset-c.first < uint64(q.config.Limits.ChunkSpan) {
			c.end = e.Offset + 1 // it will be among what is loaded
			c.gone.set(int(e.Offset - c.first))
		}
		return
	}
	c := q.openFor(f, e)
	c.slots = append(c.slots, q.slotOf(e))
	c.end = e.Offset + 1
	c.live++
	q.count.Taken++
	q.count.Live++
	m, marked := f.markAhead(e.Offset)
	if marked {
		c.setMark(e.Offset, m)
	}
	q.place(now, c, len(c.slots)-1, m)
}

func (q *Queue) slotOf(e *Entry) slot {
	return slot{offset: e.Offset, arrived: e.Arrived, expires: q.expiry(e), due: e.Due, group: e.Group, tenant: e.Tenant,
		bytes: e.Bytes, priority: min(e.Priority, uint8(q.config.MaxPriority))}
}

// expiry is when a message expires: by itself or by the queue, whatever is first.
func (q *Queue) expiry(e *Entry) int64 {
	at := e.Expires
	if ttl := q.config.TTL; ttl != 0 {
		by := max(e.Arrived, e.Due) + max(ttl, 0).Milliseconds()
		if at == 0 || by < at {
			at = by
		}
	}
	return at
}

// place puts a message that was taken or loaded into its state.
func (q *Queue) place(now int64, c *chunk, i int, m mark) {
	s := &c.slots[i]
	s.due = max(s.due, m.due)
	if s.expires != 0 {
		q.schedule(c, s.expires)
	}
	if q.config.isEnough(m.attempts) {
		q.schedule(c, 1) // it is to be looked at, and goes
	}
	q.hold(m.group, Ref{c.feed.log, s.offset})
	switch {
	case m.reason != ReasonNone:
		s.state = dying
		c.dying++
		q.count.Dying++
		q.remember(c, s.offset)
	case s.due > now:
		q.makeDelayed(c.where(i), s.due)
	default:
		q.makeReady(c.where(i))
		q.isBack(s.group, Ref{c.feed.log, s.offset})
	}
}

// openFor returns the chunk that takes a message.
func (q *Queue) openFor(f *feed, e *Entry) *chunk {
	c := f.open
	if c != nil && (len(c.slots) >= q.config.Limits.ChunkMessages || e.Offset-c.first >= uint64(q.config.Limits.ChunkSpan)) {
		q.seal(c)
		c = nil
	}
	if c == nil {
		c = q.fresh()
		c.feed, c.first, c.end, c.arrived = f, e.Offset, e.Offset+1, e.Arrived
		f.chunks = append(f.chunks, c)
		f.open = c
	}
	return c
}

// seal closes an open chunk: from now on it may be paged out.
func (q *Queue) seal(c *chunk) {
	c.feed.open = nil
	q.resident = append(q.resident, c)
	q.evictOver(0)
}

// mark returns that of a message, if it has one.
func (c *chunk) mark(offset uint64) (m mark, found bool) {
	if c.marks != nil {
		m, found = c.marks[offset]
	}
	return m, found
}

func (c *chunk) setMark(offset uint64, m mark) {
	if c.marks == nil {
		c.marks = map[uint64]mark{}
	}
	c.marks[offset] = m
}
