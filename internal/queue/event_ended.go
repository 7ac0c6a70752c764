package queue

// maxEnded is how many messages one event ends.
const maxEnded = 1 << 16

// ended: messages of a log are gone from the queue.
type ended struct {
	how  how
	at   int64
	who  string // acknowledged them
	feed *feed
	refs []Ref  // ascending
	runs ranges // when it was read
}

func (ended) kind() byte { return kindEnded }

func (e *ended) put(w *writer) {
	w.Num(uint64(e.how))
	w.time(e.at)
	w.Text(e.who)
	w.Num(uint64(e.feed.log))
	w.runs(e.refs)
}

func readEnded(r *reader) event {
	e := &ended{how: how(r.Below(uint64(hows))), at: r.time(), who: r.Text(), feed: r.feed()}
	if e.how == 0 {
		r.Fail("a message ended in no way")
	}
	e.runs = r.ranges(maxEnded)
	return e
}

func (e *ended) apply(q *Queue) {
	if q.replaying {
		for _, v := range e.runs {
			q.replayEnd(e, v)
		}
		return
	}
	var c *chunk
	for _, ref := range e.refs {
		if c == nil || ref.Offset >= c.end || ref.Offset < c.first {
			c = e.feed.find(ref.Offset)
		}
		m, _ := c.mark(ref.Offset)
		q.rememberEnd(e, ref.Offset, m)
		if q.finish(c, ref.Offset); c.live == 0 {
			q.drop(c)
			c = nil
		}
	}
	*q.counter(e.how) += uint64(len(e.refs))
}

// rememberEnd remembers the end of a message, with what its mark says.
func (q *Queue) rememberEnd(e *ended, offset uint64, m mark) {
	q.history.add(past{first: offset, n: 1, at: max(e.at, 0), who: e.who, log: e.feed.log, attempts: uint32(m.attempts), how: e.how, why: m.reason})
}

// finish lets a message go that is in no state.
func (q *Queue) finish(c *chunk, offset uint64) {
	c.gone.set(int(offset - c.first))
	c.live--
	q.count.Live--
	if c.marks != nil {
		delete(c.marks, offset)
	}
	if c.isResident() {
		if i := c.index(offset); i >= 0 {
			c.slots[i].state = gone
		}
	}
}

// replayEnd lets the messages of a run go, be they taken already or not.
func (q *Queue) replayEnd(e *ended, v run) {
	for offset := v.first; offset < v.first+v.n; offset++ {
		m := e.feed.markOf(offset)
		if q.endTaken(e.feed, offset) {
			*q.counter(e.how)++
			q.rememberEnd(e, offset, m)
		}
	}
}

// markOf returns the mark of a message, be it taken already or not.
func (f *feed) markOf(offset uint64) (m mark) {
	if c := f.find(offset); c != nil && offset < f.next {
		m, _ = c.mark(offset)
	} else {
		m, _ = f.markAhead(offset)
	}
	return m
}

// endTaken reports whether the message was there to go.
func (q *Queue) endTaken(f *feed, offset uint64) bool {
	if offset >= f.next {
		if f.goneAhead(offset) || !f.page(offset).setGone(offset) {
			return false
		}
		q.count.Taken++
		return true
	}
	c := f.find(offset)
	if c == nil || c.gone.has(int(offset-c.first)) || c.live == 0 {
		return false
	}
	q.unestimate(c)
	if m, found := c.mark(offset); found && m.reason != ReasonNone {
		c.dying--
		q.letters.forget(Ref{f.log, offset})
	} else {
		c.lighten()
	}
	q.finish(c, offset)
	if q.estimate(c); c.live == 0 {
		q.drop(c)
	}
	return true
}

// lighten estimates the bytes of a chunk that is not resident with one message
// less that waits: they are taken to be alike.
func (c *chunk) lighten() {
	if n := c.waiting(); n > 0 {
		c.bytes -= c.bytes / int64(n)
	}
}

// unestimate takes a chunk that is not resident out of the books, and estimate
// puts it back in.
func (q *Queue) unestimate(c *chunk) {
	q.count.Ready -= c.waiting() - c.delayed
	q.count.Delayed -= c.delayed
	q.count.Dying -= c.dying
	q.bytes -= c.bytes
}

func (q *Queue) estimate(c *chunk) {
	c.clamp()
	q.count.Ready += c.waiting() - c.delayed
	q.count.Delayed += c.delayed
	q.count.Dying += c.dying
	q.bytes += c.bytes
}
