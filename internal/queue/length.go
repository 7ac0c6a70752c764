package queue

// waiting is how many messages are ready or delayed.
func (q *Queue) waiting() int { return q.count.Ready + q.count.Delayed }

// exceeds says whether a number is over a limit, which may be Unlimited.
func exceeds(n, limit int64) bool { return limit >= 0 && n > limit }

func (q *Queue) isOver() bool {
	return exceeds(int64(q.waiting()), int64(q.config.MaxLength)) || exceeds(q.bytes, q.config.MaxBytes)
}

// shorten drops from the head of a queue that is too long: the oldest of the
// lowest priority that is ready; and when nothing is ready, the oldest that is
// delayed. What is not in memory has to be loaded first. It says whether something
// was dropped.
func (q *Queue) shorten(now int64) (dropped bool) {
	if q.config.Overflow != DropHead {
		return false
	}
	for len(q.shut) > 0 && q.isOver() {
		q.reopen(q.shut[0]) // what is to go may be there
	}
	for q.loading == 0 && q.isOver() { // what is being loaded may be delivered first
		c, i := q.oldest()
		if c == nil {
			break
		}
		if !c.isResident() {
			q.pin(c) // until it is known which message is to go
			q.evictOver(1)
			q.load(c)
			break
		}
		q.pinned = q.pinned[:0]
		w, group := c.where(i), c.slots[i].group
		q.takeWaiting(c, i)
		q.part(now, w, group, ReasonMaxLength, "")
		dropped = true
	}
	return dropped
}

// oldest returns the message to drop next. Its chunk may not be resident.
func (q *Queue) oldest() (*chunk, int) {
	b, j := q.firstBlocked()
	for level := range MaxPriorities {
		if b != nil && int(b.slots[j].priority) < level {
			return b, j
		}
		if q.levels.mask&(1<<level) == 0 {
			continue
		}
		c, i := q.firstOf(level)
		if c == nil {
			continue
		}
		if b != nil && int(b.slots[j].priority) == level && arrival(b, j) < arrival(c, i) {
			return b, j
		}
		return c, i
	}
	if b != nil {
		return b, j
	}
	return q.firstDelayed()
}

// firstBlocked returns the first message of the lowest priority among those that
// wait for their group, or are set aside by tenant.
func (q *Queue) firstBlocked() (first *chunk, index int) {
	look := func(c *chunk) {
		for i := 0; c != nil && c.blocked > 0 && i < len(c.slots); i++ {
			s := &c.slots[i]
			if (s.state == blocked || s.state == staged) && (first == nil || s.before(&first.slots[index])) {
				first, index = c, i
			}
		}
	}
	for _, c := range q.resident {
		look(c)
	}
	for _, f := range q.feeds {
		look(f.open)
	}
	return first, index
}

// before says whether a message is dropped before another one.
func (s *slot) before(o *slot) bool {
	if s.priority != o.priority {
		return s.priority < o.priority
	}
	return s.arrived < o.arrived
}

// firstDelayed returns the first message of the queue, when none is ready.
func (q *Queue) firstDelayed() (first *chunk, index int) {
	for _, f := range q.feeds {
		c, i := f.firstWaiting()
		if c != nil && (first == nil || arrival(c, i) < arrival(first, index)) {
			first, index = c, i
		}
	}
	return first, index
}

// firstWaiting returns the first message of a log that waits, ready or not. If its
// chunk is not resident, the index is -1.
func (f *feed) firstWaiting() (*chunk, int) {
	for _, c := range f.chunks {
		if c.waiting() <= 0 {
			continue
		}
		for i := range c.slots {
			if c.slots[i].state.waits() {
				return c, i
			}
		}
		return c, -1
	}
	return nil, 0
}
