package queue

// change changes the mark of a message, be it taken already or not.
func (q *Queue) change(f *feed, offset uint64, f2 func(m *mark)) {
	if offset >= f.next {
		if f.goneAhead(offset) {
			return
		}
		p := f.page(offset)
		m := p.marks[offset]
		f2(&m)
		if p.marks == nil {
			p.marks = map[uint64]mark{}
		}
		p.marks[offset] = m
		return
	}
	c := f.find(offset)
	if c == nil || c.gone.has(int(offset-c.first)) {
		return
	}
	m, _ := c.mark(offset)
	before := m
	f2(&m)
	c.setMark(offset, m)
	if q.replaying {
		q.replayMark(c, offset, before, m)
	}
}

// replayMark follows a change in the books on a chunk that is not resident.
func (q *Queue) replayMark(c *chunk, offset uint64, before, m mark) {
	q.unestimate(c)
	if before.reason == ReasonNone && m.reason != ReasonNone {
		c.lighten()
		c.dying++
		q.remember(c, offset)
	}
	if m.reason == ReasonNone && m.due > 0 {
		c.delayed++
		q.schedule(c, m.due)
	}
	q.estimate(c)
}

// failed: an attempt at a message failed, or is charged before it is made.
type failed struct {
	feed     *feed
	offset   uint64
	attempts int // so many in all
	cause    Cause
	at       int64
	due      int64
	group    uint64
}

func (failed) kind() byte { return kindFailed }

func (e failed) put(w *writer) {
	w.Num(uint64(e.feed.log))
	w.Num(e.offset)
	w.Num(uint64(e.attempts))
	w.Num(uint64(e.cause))
	w.time(e.at)
	w.time(e.due)
	w.Num(e.group)
}

func readFailed(r *reader) event {
	return failed{r.feed(), r.offset(), int(r.Below(1 << 31)), r.cause(), r.time(), r.time(), r.Num()}
}

func (e failed) apply(q *Queue) {
	q.change(e.feed, e.offset, func(m *mark) {
		m.attempts, m.cause, m.redelivered, m.due, m.group, m.epoch = e.attempts, e.cause, true, e.due, e.group, q.epoch
		if m.first == 0 {
			m.first = e.at
		}
		m.last = e.at
	})
}

// returned: a message was given back without an attempt at it.
type returned struct {
	feed   *feed
	offset uint64
	cause  Cause
	due    int64
	group  uint64
}

func (returned) kind() byte { return kindReturned }

func (e returned) put(w *writer) {
	w.Num(uint64(e.feed.log))
	w.Num(e.offset)
	w.Num(uint64(e.cause))
	w.time(e.due)
	w.Num(e.group)
}

func readReturned(r *reader) event {
	return returned{r.feed(), r.offset(), r.cause(), r.time(), r.Num()}
}

func (e returned) apply(q *Queue) {
	q.change(e.feed, e.offset, func(m *mark) {
		m.redelivered, m.due, m.group = true, e.due, e.group
		if m.cause != CauseCrash && m.cause != CauseTimeout {
			m.cause = e.cause // else it is still not known what it did
		}
	})
}

// parted: a message is to be dead-lettered.
type parted struct {
	feed   *feed
	offset uint64
	why    Reason
	at     int64
	text   string // of an error; "": none
}

func (e parted) kind() byte {
	if e.text != "" {
		return kindPartedFor
	}
	return kindParted
}

func (e parted) put(w *writer) {
	w.Num(uint64(e.feed.log))
	w.Num(e.offset)
	w.Num(uint64(e.why))
	w.time(e.at)
	if e.text != "" {
		w.Text(e.text)
	}
}

func readParted(r *reader) parted {
	e := parted{feed: r.feed(), offset: r.offset(), why: r.reason(), at: r.time()}
	if e.why == ReasonNone {
		r.Fail("a message is dead-lettered for no reason")
	}
	return e
}

func readPartedFor(r *reader) event {
	e := readParted(r)
	e.text = r.Text()
	return e
}

func (e parted) apply(q *Queue) {
	q.change(e.feed, e.offset, func(m *mark) { m.reason, m.text, m.due, m.group = e.why, e.text, 0, 0 })
}
