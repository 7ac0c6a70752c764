package queue

import "fmt"

// event is something that has happened. Whatever is durable changes by events
// alone, and in the same way whether they happen or are replayed; but for the
// messages themselves, which come from the logs. An event may be replayed before
// the messages that it is about are taken again.
type event interface {
	kind() byte
	put(w *writer)
	// apply cannot fail: who emits an event has checked it, and so has who read
	// it from a journal.
	apply(q *Queue)
}

// The kinds of events. They are stored and never change.
const (
	kindEnded byte = 1 + iota
	kindReserved
	kindRecovered
	kindStopped
	kindFailed
	kindReturned
	kindParted
	kindLost
	kindPurged
	kindPaused
	kindRelocated
	kindPartedFor // parted, with a text
)

// readers read an event whose kind was read. What they return may only be applied
// if r.Err() is nil.
var readers = map[byte]func(r *reader) event{
	kindEnded:     readEnded,
	kindReserved:  readReserved,
	kindRecovered: func(r *reader) event { return recovered{r.time()} },
	kindStopped:   func(*reader) event { return stopped{} },
	kindFailed:    readFailed,
	kindReturned:  readReturned,
	kindParted:    func(r *reader) event { return readParted(r) },
	kindLost:      readLost,
	kindPurged:    readPurged,
	kindPaused:    func(r *reader) event { return paused{r.Flag(), r.Flag()} },
	kindRelocated: readRelocated,
	kindPartedFor: readPartedFor,
}

// readEvent reads one event.
func readEvent(r *reader) event {
	kind := r.Num()
	read := readers[byte(kind)]
	if r.Err() == nil && (kind > 255 || read == nil) {
		r.Abort(fmt.Errorf("%w (an event of kind %d)", ErrVersion, kind))
	}
	if r.Err() != nil {
		return nil
	}
	return read(r)
}

// how a message ended. It is stored and never changes.
type how uint8

const (
	acked how = 1 + iota
	dead
	expired
	dropped
	moved
	hows
)

func (q *Queue) counter(h how) *uint64 {
	switch h {
	case acked:
		return &q.count.Acked
	case dead:
		return &q.count.Dead
	case expired:
		return &q.count.Expired
	case moved:
		return &q.count.Moved
	}
	return &q.count.Dropped
}

// recovered: the queue was restored. What may have been delivered before is
// suspect, unless it was stopped in an orderly way.
type recovered struct{ at int64 }

func (recovered) kind() byte      { return kindRecovered }
func (e recovered) put(w *writer) { w.time(e.at) }

func (e recovered) apply(q *Queue) {
	if !q.clean {
		q.epoch++
		q.recovered = e.at
	}
	for _, f := range q.feeds {
		for i := range f.marks {
			m := &f.marks[i]
			if !q.clean {
				m.suspects = max(m.suspects, m.upTo)
			}
			*m = reserve{priority: m.priority, suspects: m.suspects}
		}
	}
	q.clean = false
}

// stopped: everything in flight was given back.
type stopped struct{}

func (stopped) kind() byte     { return kindStopped }
func (stopped) put(*writer)    {}
func (stopped) apply(q *Queue) { q.clean = true }

// reserved: messages of a priority up to an offset may be delivered.
type reserved struct {
	feed     *feed
	priority uint8
	upTo     uint64
}

func (reserved) kind() byte { return kindReserved }

func (e reserved) put(w *writer) {
	w.Num(uint64(e.feed.log))
	w.Num(uint64(e.priority))
	w.Num(e.upTo)
}

func readReserved(r *reader) event { return reserved{r.feed(), r.priority(), r.bound()} }

func (e reserved) apply(q *Queue) {
	m := e.feed.mark(e.priority)
	m.before.upTo, m.before.sequence = m.upTo, m.sequence
	m.upTo, m.sequence = max(m.upTo, e.upTo), q.sequence+1
}

// paused: deliveries or publishing were stopped or resumed.
type paused Pause

func (paused) kind() byte { return kindPaused }

func (e paused) put(w *writer) {
	w.Flag(e.Delivery)
	w.Flag(e.Publishing)
}

func (e paused) apply(q *Queue) { q.paused = Pause(e) }
