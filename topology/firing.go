package topology

import (
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
)

// recordLoop calls the handler of records.
type recordLoop[K comparable, T, O any] struct {
	keyedLooper[K, T]
	*process[K, T, O]
	waits bool // the record at hand waits for timers that are due before it
}

// Run implements dataflow.Loop. Before each record, event time advances to its
// mark. Timers that are due then are user code, too, with failures of its own:
// so Run ends there, and they are fired from Flush.
func (l *recordLoop[K, T, O]) Run(from int) int {
	in := l.keyedLooper.in
	for i := from; i < len(in.Values); i++ {
		l.at = i
		if mark := in.Mark(i); mark > l.clock.now {
			if l.fires(mark) {
				l.waits = true
				return i
			}
			l.clock.advance(mark)
		}
		l.begin(in.Keys[i], in.Hashes[i], in.Time(i), &in.Columns, i)
		l.onRecord(in.Values[i])
		l.keep()
		if l.full() {
			return i + 1
		}
	}
	return len(in.Values)
}

// Undo implements dataflow.Loop.
func (l *recordLoop[K, T, O]) Undo() { l.undo() }

// Flush implements dataflow.Loop.
func (l *recordLoop[K, T, O]) Flush() error {
	if err := l.flush(); err != nil || !l.waits {
		return err
	}
	l.waits = false
	return l.advance(l.keyedLooper.in.Mark(l.at))
}

// timerLoop calls the handlers of timers.
type timerLoop[K comparable, T, O any] struct {
	*process[K, T, O]
	guard  *dataflow.Guard
	encode func([]byte, K) ([]byte, error)
	kind   timerKind
	due    []dueTimer[K]
	refs   []dataflow.Ref
	at     int
	taken  int // of due, so many were taken off their keys
}

type dueTimer[K comparable] struct {
	at  int64
	key K
}

// collect takes the timers of the next time off their agenda, in the order of
// the keys' bytes.
func (l *timerLoop[K, T, O]) collect(kind timerKind) error {
	at, _ := l.agendas[kind].Next()
	live := l.refs[:0]
	l.refs = l.agendas[kind].Take(l.refs[:0])
	for _, r := range l.refs {
		if l.holds(kind, at, r) {
			live = append(live, r)
		}
	}
	if err := l.SortByKey(live); err != nil {
		return err
	}
	for _, r := range slices.Compact(live) {
		key, _ := l.Peek(r)
		l.due = append(l.due, dueTimer[K]{at, key})
	}
	return nil
}

// fire calls the handler for all that was collected.
func (l *timerLoop[K, T, O]) fire(kind timerKind) error {
	if len(l.due) == 0 {
		return nil
	}
	l.kind, l.taken = kind, 0
	return l.guard.Each(len(l.due), l)
}

// take takes a timer off its key, unless the handler of one that was due together
// with it has deleted it. One whose handler is tried again is off already.
func (l *timerLoop[K, T, O]) take(i int) bool {
	if i < l.taken {
		return true
	}
	l.taken = i + 1
	d := &l.due[i]
	r, ok := l.Find(l.hashOf(d.key), d.key)
	return ok && l.holds(l.kind, d.at, r) && l.Touch(r).timer(l.kind, d.at, false)
}

// Run implements dataflow.Loop.
func (l *timerLoop[K, T, O]) Run(from int) int {
	for i := from; i < len(l.due); i++ {
		l.at = i
		if !l.take(i) {
			continue
		}
		d := &l.due[i]
		at := d.at
		if l.kind == inClockTime {
			at = NoTime
		}
		l.begin(d.key, l.hashOf(d.key), at, nil, 0)
		l.state.load(false) // so that tidy sees whether anything is left of the key
		l.onTimer[l.kind](utc(d.at))
		l.keep()
		if l.full() {
			return i + 1
		}
	}
	return len(l.due)
}

func (l *timerLoop[K, T, O]) At() int      { return l.at }
func (l *timerLoop[K, T, O]) Undo()        { l.undo() }
func (l *timerLoop[K, T, O]) Flush() error { return l.flush() }

// Subject implements dataflow.Loop.
func (l *timerLoop[K, T, O]) Subject(i int) dataflow.Subject {
	return dataflow.Subject{Value: "timer of " + utc(l.due[i].at).Format(time.RFC3339Nano), Key: l.due[i].key}
}

// Encode implements dataflow.Loop: a timer has a key and a time, and no value.
func (l *timerLoop[K, T, O]) Encode(i int) dataflow.DeadLetter {
	d := dataflow.DeadLetter{Time: l.due[i].at}
	d.Key, _ = l.encode(nil, l.due[i].key)
	return d
}
