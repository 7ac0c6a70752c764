package queue

// next returns the ready message to deliver next. c is nil when there is none now.
func (q *Queue) next(now int64) (c *chunk, i int) {
	for mask := q.readyLevels(); mask != 0; {
		level := q.level(mask)
		c, i := q.nextOf(now, level)
		switch {
		case c == nil: // all of it is blocked, or has expired
			mask &= q.readyLevels() &^ (1 << level)
			continue
		case i >= 0:
			return c, i
		}
		if !q.config.isStrict() { // or priorities could push each other out in turn
			q.pin(c)
		}
		q.want(c, level)
		q.loadAhead(c, level)
		return nil, 0
	}
	return nil, 0
}

// nextOf returns the message of a priority to deliver next. If it may be in a chunk
// that is not resident, the index is -1. If there is none, the chunk is nil.
func (q *Queue) nextOf(now int64, level int) (*chunk, int) {
	if q.config.FairTenants {
		return q.nextFair(now, level)
	}
	return q.firstFit(now, level)
}

// firstFit returns the first message of a priority that can be delivered, as nextOf
// does.
func (q *Queue) firstFit(now int64, level int) (*chunk, int) {
	for {
		c, i := q.firstOf(level)
		if c == nil || i < 0 || q.fits(now, c, i) {
			return c, i
		}
	}
}

// fits says whether a ready message can be delivered, and sets it aside or ends it
// if not.
func (q *Queue) fits(now int64, c *chunk, i int) bool {
	s := &c.slots[i]
	switch {
	case s.expires != 0 && s.expires <= now && !q.atOnce(c, i):
		q.expire(now, c, i)
	case q.isSpent(c, i):
		q.stopTrying(now, c, i)
	case s.group != 0 && q.isBusy(c, i):
		q.block(c, i)
	default:
		return true
	}
	return false
}

// firstOf returns the first ready message of a priority in all logs.
func (q *Queue) firstOf(level int) (first *chunk, index int) {
	for _, f := range q.feeds {
		c, i := q.firstIn(f, level)
		if c != nil && (first == nil || arrival(c, i) < arrival(first, index)) {
			first, index = c, i
		}
	}
	return first, index
}

// arrival is that of a message; of a chunk that is not resident, the earliest that
// its messages can have.
func arrival(c *chunk, i int) int64 {
	if i < 0 {
		return c.arrived
	}
	return c.slots[i].arrived
}

// firstIn returns the first ready message of a priority in a log.
func (q *Queue) firstIn(f *feed, level int) (*chunk, int) {
	c := f.heads[level]
	if c == nil {
		return nil, 0
	}
	for c != nil && c.levels&(1<<level) == 0 {
		c = f.after(c)
	}
	f.heads[level] = c
	switch {
	case c == nil:
		return nil, 0
	case !c.isResident():
		return c, -1
	}
	return c, c.lane(uint8(level)).first()
}

// loadAhead has the chunks loaded that come after the one that is delivered from,
// once for each. It may page that one out.
func (q *Queue) loadAhead(c *chunk, level int) {
	if c.drawn || !q.config.isStrict() && len(q.resident)+q.loading+readAhead > q.mostResident() {
		return // of other priorities, too, the next is needed first
	}
	c.drawn = true
	f := c.feed
	i := f.at(c.first)
	for n := 1; n <= readAhead && i+n < len(f.chunks); n++ {
		if next := f.chunks[i+n]; next.levels&(1<<level) != 0 {
			q.want(next, level)
		}
	}
}
