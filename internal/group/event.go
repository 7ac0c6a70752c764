package group

import "fmt"

// event is something that has happened. Whatever is durable changes by events
// alone, and in the same way whether they happen or are replayed.
type event interface {
	kind() byte
	put(w *writer)
	// apply cannot fail: who emits an event has checked it, and so has who read
	// it from a journal.
	apply(g *Group)
}

// The kinds of events. They are stored and never change.
const (
	kindJoined byte = 1 + iota
	kindLeft
	kindRebalanced
	kindBalanced
	kindGiven
	kindReleased
	kindCommitted
	kindRewound
	kindResized
	kindForgotten
	kindExpired
	kindParked
	kindHeld
	kindResolved
	kindKeyReleased
	kindEdited
	kindReplaced
)

// readers read an event whose kind was read. What they return may only be
// applied if r.Err() is nil.
var readers map[byte]func(r *reader) event

// They refer to the state and so to the readers: hence no initializer.
func init() {
	readers = map[byte]func(r *reader) event{
		kindJoined:      readJoined,
		kindLeft:        func(r *reader) event { return left{r.member(), r.Int64()} },
		kindRebalanced:  readRebalanced,
		kindBalanced:    func(*reader) event { return balanced{} },
		kindGiven:       readGiven,
		kindReleased:    func(r *reader) event { return released{r.parts()} },
		kindCommitted:   func(r *reader) event { return committed{r.lines()} },
		kindRewound:     func(r *reader) event { return rewound{r.epoch(), r.lines()} },
		kindResized:     readResized,
		kindForgotten:   func(r *reader) event { return forgotten{r.topic()} },
		kindExpired:     func(*reader) event { return expired{} },
		kindParked:      readParked,
		kindHeld:        readHeld,
		kindResolved:    readResolved,
		kindKeyReleased: readKeyReleased,
		kindEdited:      readEdited,
		kindReplaced:    readReplaced,
	}
}

// epoch reads an epoch, which is never lower than one before.
func (r *reader) epoch() uint64 {
	e := r.Num()
	if e < r.g.epoch {
		r.Fail("epoch %d comes after %d", e, r.g.epoch)
	}
	return e
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
