package queue

import "slices"

// pass lets time pass: it takes back what consumers have had for too long, makes ready
// what is due, and ends what has expired, be it in the hands of a consumer.
func (q *Queue) pass(now int64) {
	q.timeOut(now)
	for len(q.timers) > 0 && q.timers[0].at <= now {
		c := q.timers[0]
		q.timers.remove(c)
		if !c.isResident() {
			q.evictOver(1)
			q.load(c)
			continue // Loaded goes through it
		}
		c.at = 0
		q.sweep(now, c)
	}
}

// sweep makes ready what is due in a resident chunk, ends what has expired, and
// finds out when to look again. With the last message the chunk is dropped.
func (q *Queue) sweep(now int64, c *chunk) {
	next := int64(0)
	sooner := func(at int64) {
		if next == 0 || at < next {
			next = at
		}
	}
	for i := 0; i < len(c.slots); i++ {
		s := &c.slots[i]
		if !s.state.waits() {
			continue
		}
		if s.state == delayed && s.due <= now && s.expires != 0 && s.expires <= s.due {
			q.atOnceNow = true
		}
		if s.expires != 0 && s.expires <= now && q.atOnce(c, i) {
			if s.state == delayed {
				q.makeDue(c, i)
			}
			q.once = append(q.once, c)
			continue
		}
		if s.expires != 0 && s.expires <= now || q.isSpent(c, i) {
			if q.sweepOut(now, c, i); c.live == 0 {
				return
			}
			continue
		}
		if s.state == delayed && s.due <= now {
			q.makeDue(c, i)
		}
		if s.state == delayed {
			sooner(s.due)
		}
		if s.expires != 0 {
			sooner(s.expires)
		}
	}
	if next != 0 {
		q.schedule(c, next)
	}
}

// makeDue makes a message ready that was delayed.
func (q *Queue) makeDue(c *chunk, i int) {
	q.takeDelayed(c, i)
	q.makeReady(c.where(i))
	q.isBack(c.slots[i].group, Ref{c.feed.log, c.slots[i].offset})
}

// endOnce ends what was to be delivered at once and was not.
func (q *Queue) endOnce(now int64) {
	for i, c := range q.once {
		if q.once[i] = nil; c.live > 0 {
			q.schedule(c, now)
		}
	}
	q.once = q.once[:0]
	q.pass(now)
}

// sweepOut ends a message that has expired, or was tried often enough.
func (q *Queue) sweepOut(now int64, c *chunk, i int) {
	if e := c.slots[i].expires; e != 0 && e <= now {
		q.expire(now, c, i)
	} else {
		q.stopTrying(now, c, i)
	}
}

// expire ends a message that waits.
func (q *Queue) expire(now int64, c *chunk, i int) {
	w, group := c.where(i), c.slots[i].group
	q.takeWaiting(c, i)
	q.part(now, w, group, ReasonExpired, "")
}

// atOnce says whether a message that has expired may still be delivered: it was to be
// delivered at once or not at all, and was just taken, or is just due, for the first time.
func (q *Queue) atOnce(c *chunk, i int) bool {
	s := &c.slots[i]
	_, marked := c.mark(s.offset)
	return q.atOnceNow && s.expires <= max(s.arrived, s.due) && !marked
}

// watch notes when the settle timeouts of a consumer are to be looked at.
func (q *Queue) watch(now int64, k *consumer) {
	t := q.config.SettleTimeout
	if t <= 0 || k.deadline != 0 {
		return
	}
	k.deadline = now + t.Milliseconds()
	if q.deadline == 0 || k.deadline < q.deadline {
		q.deadline = k.deadline
	}
}

// timeOut takes back what consumers have had for too long.
func (q *Queue) timeOut(now int64) {
	if q.deadline == 0 || q.deadline > now {
		return
	}
	q.deadline = 0
	for _, k := range q.byAge() {
		if k.deadline != 0 && k.deadline <= now {
			q.recall(now, k, q.late(now, k))
		}
		if k.deadline != 0 && (q.deadline == 0 || k.deadline < q.deadline) {
			q.deadline = k.deadline
		}
	}
}

// late returns what a consumer has had for too long, and notes when to look again.
func (q *Queue) late(now int64, k *consumer) (tags []uint64) {
	limit := q.config.SettleTimeout.Milliseconds()
	k.deadline = 0
	k.flights.each(func(d *flight) {
		if at := d.at + limit; limit > 0 && at <= now {
			tags = append(tags, d.tag)
		} else if limit > 0 && (k.deadline == 0 || at < k.deadline) {
			k.deadline = at
		}
	})
	return tags
}

// recall takes deliveries back from a consumer that lives.
func (q *Queue) recall(now int64, k *consumer, tags []uint64) {
	if len(tags) > 0 {
		slices.Sort(tags)
		q.takeBack(now, k, tags, CauseTimeout)
		q.tell(Recalled{k.name, tags, CauseTimeout})
		q.forgetIdle(k)
	}
}
