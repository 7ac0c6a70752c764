package queue

import (
	"fmt"
	"slices"
)

// letter is a message that is being dead-lettered.
type letter struct {
	chunk  *chunk
	offset uint64
	sent   bool
	retry  int64 // not sent again before
}

// maxTexts is how many messages that are being dead-lettered have an error text.
// More are those of an exchange that is not there: they would fill the memory.
const maxTexts = 10_000

// part ends a message for a reason: it is dead-lettered, with the text of an error,
// or counted and gone. It must be in no state.
func (q *Queue) part(now int64, w where, group uint64, why Reason, text string) {
	if q.isLost(w) {
		q.lose(w, group)
		return
	}
	ref := Ref{w.chunk.feed.log, w.offset}
	if q.config.DeadLetter {
		if len(q.letters) >= maxTexts {
			text = ""
		}
		q.emit(parted{w.chunk.feed, w.offset, why, now, text})
		w.chunk.dying++
		q.count.Dying++
		if w.index >= 0 {
			w.chunk.slots[w.index].state = dying
		}
		m, _ := w.chunk.mark(w.offset)
		q.remember(w.chunk, w.offset, m)
	} else {
		q.end(now, []Ref{ref}, ended{how: why.ends()})
	}
	q.release(group, ref)
}

// ends is how a message ends that is not dead-lettered.
func (r Reason) ends() how {
	if r == ReasonExpired {
		return expired
	}
	return dropped
}

// remember notes that a message is to be dead-lettered.
func (q *Queue) remember(c *chunk, offset uint64, m mark) {
	ref := Ref{c.feed.log, offset}
	if q.letters[ref] == nil {
		q.letters[ref] = &letter{chunk: c, offset: offset}
		q.unsent = append(q.unsent, ref)
	}
}

// post asks for the dead letters that are due.
func (q *Queue) post(now int64) {
	if len(q.unsent) == 0 {
		return
	}
	var letters []Letter
	later := q.unsent[:0]
	for _, ref := range q.unsent {
		switch l := q.letters[ref]; {
		case l == nil: // it is gone in the meantime
		case l.retry > now:
			later = append(later, ref)
		default:
			l.sent = true
			m, _ := l.chunk.mark(l.offset)
			letters = append(letters, Letter{ref, m.bodyOf(ref), m.reason, m.attempts, m.first, m.last, m.text})
		}
	}
	q.unsent = later
	if len(letters) > 0 {
		slices.SortFunc(letters, func(a, b Letter) int { return compareRefs(a.Ref, b.Ref) })
		q.tell(DeadLetter{letters})
	}
}

func (q *Queue) deadLettered(now int64, c DeadLettered) error {
	refs := make([]Ref, 0, len(c.Refs))
	for _, ref := range c.Refs {
		l := q.letters[ref]
		if l == nil {
			continue // it was said before
		}
		delete(q.letters, ref)
		l.chunk.dying--
		q.count.Dying--
		refs = append(refs, ref)
	}
	q.end(now, refs, ended{how: dead})
	return nil
}

func (q *Queue) notDeadLettered(now int64, c NotDeadLettered) error {
	l := q.letters[c.Ref]
	if l == nil {
		return fmt.Errorf("%w: %v is not being dead-lettered", ErrUnknownMessage, c.Ref)
	}
	if l.sent {
		l.sent = false
		q.unsent = append(q.unsent, c.Ref)
	}
	l.retry = now + max(c.Delay, 0).Milliseconds()
	return nil
}
