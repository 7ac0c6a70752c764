package queue

import "fmt"

// Move says where the copy of a message is.
type Move struct {
	From Ref
	To   Entry // the message as it was taken, but with the Ref of the copy
}

// relocate notes that bodies are elsewhere now. What is remembered of the messages
// themselves takes the place of their records, so that these can go.
func (q *Queue) relocate(c Relocate) error {
	for _, m := range c.Moves {
		if !q.Holds(m.From) {
			return fmt.Errorf("%w: %v", ErrUnknownMessage, m.From)
		}
		if m.To.Offset >= maxOffset {
			return fmt.Errorf("%w: %v is relocated to %v, and offsets are below %d", ErrInvalid, m.From, m.To.Ref, uint64(maxOffset))
		}
	}
	for i := range c.Moves {
		m := &c.Moves[i]
		q.emit(relocated{q.feed(m.From.Log), m.From.Offset, m.To})
	}
	return nil
}

// relocated: the body of a message is elsewhere.
type relocated struct {
	feed   *feed
	offset uint64
	to     Entry
}

func (relocated) kind() byte { return kindRelocated }

func (e relocated) put(w *writer) {
	w.Num(uint64(e.feed.log))
	w.Num(e.offset)
	w.entry(&e.to)
}

func readRelocated(r *reader) event { return relocated{r.feed(), r.offset(), r.entry()} }

func (e relocated) apply(q *Queue) {
	q.change(e.feed, e.offset, func(m *mark) { m.body = &e.to })
}

func (w *writer) entry(e *Entry) {
	w.Num(uint64(e.Log))
	w.Num(e.Offset)
	w.time(e.Arrived)
	w.time(e.Expires)
	w.time(e.Due)
	w.Num(e.Group)
	w.Num(e.Tenant)
	w.Num(uint64(e.Bytes))
	w.Num(uint64(e.Priority))
}

func (r *reader) entry() Entry {
	return Entry{Ref: Ref{uint32(r.Below(1 << 32)), r.offset()}, Arrived: r.time(), Expires: r.time(), Due: r.time(),
		Group: r.Num(), Tenant: r.Num(), Bytes: uint32(r.Below(1 << 32)), Priority: uint8(r.Below(256))}
}

// relocatedIn returns the messages of a chunk whose bodies are elsewhere, as they
// were taken.
func (c *chunk) relocatedIn() (entries []Entry) {
	for offset, m := range c.marks {
		if m.body != nil {
			e := *m.body
			e.Ref = Ref{c.feed.log, offset}
			entries = append(entries, e)
		}
	}
	return entries
}

// Body is where the body of a message is.
func (q *Queue) Body(ref Ref) Ref {
	if c, _ := q.find(ref); c != nil {
		m, _ := c.mark(ref.Offset)
		return m.bodyOf(ref)
	}
	return ref
}
