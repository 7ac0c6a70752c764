package queue

import "slices"

// letters are the messages that are being dead-lettered. However many there are, a
// command looks at none of them that it is not about.
type letters struct {
	all   map[Ref]*letter
	fresh []Ref // are to be asked for, and never were
	again []Ref // could not be written, and are to be asked for again
	after int64 // but not before
	asked int   // for how many an answer is due
}

type letter struct {
	chunk  *chunk
	offset uint64
	asked  bool
	failed bool // to be written, before
}

// lettersAtOnce is for how many dead letters answers are due at most.
const lettersAtOnce = 1024

// remember notes that a message is to be dead-lettered.
func (q *Queue) remember(c *chunk, offset uint64) {
	ref := Ref{c.feed.log, offset}
	if q.letters.all[ref] == nil {
		q.letters.all[ref] = &letter{chunk: c, offset: offset}
		q.letters.fresh = append(q.letters.fresh, ref)
	}
}

// forget takes a letter out, and returns it; nil: there was none.
func (l *letters) forget(ref Ref) *letter {
	v := l.all[ref]
	if v == nil {
		return nil
	}
	if v.asked {
		l.asked--
	}
	delete(l.all, ref)
	return v
}

// due returns the letters to be asked for now.
func (l *letters) due(now int64) (all []*letter) {
	take := func(from []Ref) []Ref {
		for len(from) > 0 && l.asked < lettersAtOnce {
			if v := l.all[from[0]]; v != nil { // else it is gone in the meantime
				v.asked = true
				l.asked++
				all = append(all, v)
			}
			from = from[1:]
		}
		if len(from) == 0 {
			return nil
		}
		return from
	}
	l.fresh = take(l.fresh)
	if l.after <= now {
		l.again = take(l.again)
	}
	return all
}

// next is when letters are to be asked for again; 0: there are none, or an answer comes
// before.
func (l *letters) next() int64 {
	if len(l.again) == 0 || l.asked >= lettersAtOnce {
		return 0
	}
	return l.after
}

// post asks for the dead letters that are due.
func (q *Queue) post(now int64) {
	if len(q.letters.fresh)+len(q.letters.again) == 0 {
		return
	}
	var all []Letter
	for _, l := range q.letters.due(now) {
		ref := Ref{l.chunk.feed.log, l.offset}
		m, _ := l.chunk.mark(l.offset)
		all = append(all, Letter{ref, m.bodyOf(ref), m.reason, m.attempts, m.first, m.last, m.text})
	}
	if len(all) > 0 {
		slices.SortFunc(all, func(a, b Letter) int { return compareRefs(a.Ref, b.Ref) })
		q.tell(DeadLetter{all})
	}
}

// deadLettered lets go of letters. If one of them could not be written before, others can
// be, too, maybe: they are asked for at once.
func (q *Queue) deadLettered(now int64, c DeadLettered) error {
	refs := make([]Ref, 0, len(c.Refs))
	for _, ref := range c.Refs {
		l := q.letters.forget(ref)
		if l == nil {
			continue // it was said before
		}
		if l.failed {
			q.letters.after = now
		}
		l.chunk.dying--
		q.count.Dying--
		refs = append(refs, ref)
	}
	q.end(now, refs, ended{how: dead})
	return nil
}

func (q *Queue) notDeadLettered(now int64, c NotDeadLettered) error {
	v := &q.letters
	for _, ref := range c.Refs {
		if l := v.all[ref]; l != nil && l.asked {
			l.asked, l.failed = false, true
			v.asked--
			v.again = append(v.again, ref)
		}
	}
	v.after = now + max(c.Delay, 0).Milliseconds()
	return nil
}
