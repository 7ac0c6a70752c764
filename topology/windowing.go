package topology

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/window"
)

// windowFolder is a WindowFold at work. The table makes it Stateful.
type windowFolder[K comparable, T, A any] struct {
	*dataflow.Table[K, []pane[A]]
	loop windowLoop[K, T, A]
}

func (o *windowFolder[K, T, A]) Input(int) any { return o }

func (o *windowFolder[K, T, A]) Connect(port int, reader any) error {
	if port == 0 {
		return o.loop.port.Connect(reader)
	}
	return o.loop.late.port.Connect(reader)
}

func (o *windowFolder[K, T, A]) ReceiveKeyed(in *dataflow.KeyedBatch[K, T]) error {
	err := o.loop.each(in, &o.loop)
	o.loop.env.Metrics.Keys.Store(int64(o.Keys()))
	return err
}

// Watermark fires what is due, and hands on the watermark behind it.
func (o *windowFolder[K, T, A]) Watermark(time int64, idle bool) error {
	l := &o.loop
	for done := false; !done; {
		done = l.advance(time)
		if err := l.Flush(); err != nil {
			return err
		}
	}
	l.env.Metrics.Keys.Store(int64(o.Keys()))
	l.env.Metrics.Watermark.Store(l.clock.now)
	if err := l.port.Watermark(time, idle); err != nil {
		return err
	}
	return l.late.port.Watermark(time, idle)
}

// SavePositions implements dataflow.Positioned: the time of each group.
func (o *windowFolder[K, T, A]) SavePositions() map[string][]byte {
	return o.loop.clock.save(o.loop.env.Groups)
}

// RestorePositions implements dataflow.Positioned.
func (o *windowFolder[K, T, A]) RestorePositions(saved map[string][]byte) error {
	return o.loop.clock.restore(o.loop.env.Groups, saved)
}

// Restored puts every window back on the agendas.
func (o *windowFolder[K, T, A]) Restored() error {
	for r := range o.All() {
		_, panes := o.Peek(r)
		for i := range *panes {
			o.loop.arm(r, (*panes)[i].start)
		}
	}
	o.loop.env.Metrics.Keys.Store(int64(o.Keys()))
	return nil
}

type windowLoop[K comparable, T, A any] struct {
	keyedLooper[K, T]
	table    *dataflow.Table[K, []pane[A]]
	f        func(K, A, T) A
	windows  Windows
	lateness int64
	limit    int
	port     dataflow.Port[Window[K, A]]
	out      dataflow.Batch[Window[K, A]]
	late     outlet[Late[T]]

	clock   groupClock
	ends    dataflow.Agenda // of windows that have yet to fire
	cleanup dataflow.Agenda // of windows that have fired, and are kept for late records
	firing  []dataflow.Ref  // keys whose window is due at the time of due
	next    int             // of firing
	due     int64
	mark    int64 // of the newest result
	results []A   // of the record at hand, window by window
	fresh   bool  // the record at hand is the first of its key
	err     error // for Flush to report
}

// Run implements dataflow.Loop.
func (l *windowLoop[K, T, A]) Run(from int) int {
	in := l.in
	for i := from; i < len(in.Values); i++ {
		l.at = i
		if mark := in.Mark(i); mark > l.clock.now && !l.advance(mark) {
			return i
		}
		l.take(i)
		if len(l.out.Values)+l.late.len() >= l.env.BatchSize {
			return i + 1
		}
	}
	return len(in.Values)
}

// take adds a record to its windows, or to the late ones.
func (l *windowLoop[K, T, A]) take(i int) {
	t, hash := l.in.Time(i), l.in.Hashes[i]
	if t < window.MinTime || t > window.MaxTime {
		panic(errNoTime)
	}
	first, last := l.windows.Of(t)
	now := l.clock.of(l.table.GroupOf(hash))
	for first <= last && l.drops(first, now) {
		first = l.windows.Next(first)
	}
	if first > last {
		l.env.Metrics.Late.Add(1)
		l.late.add(Late[T]{Value: l.in.Values[i], Time: utc(t), Watermark: utc(now)}, i)
		return
	}
	keys := l.table.Keys()
	panes := l.table.Upsert(hash, l.in.Keys[i])
	l.fresh = l.table.Keys() > keys
	l.fold(i, *panes, first, last)
	l.store(i, panes, first, now)
	l.fresh = false
}

var errNoTime = errors.New("the record has no event time, or one that is out of range: what a Process gives out from OnTimer has none, give it one with EmitAt")

func utc(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// drops says whether the state of a window is given up at a watermark.
func (l *windowLoop[K, T, A]) drops(start, watermark int64) bool {
	return l.windows.Fires(start)+l.lateness <= watermark
}

// fold computes what the record makes of its windows, and changes nothing: it
// may panic.
func (l *windowLoop[K, T, A]) fold(i int, panes []pane[A], first, last int64) {
	l.results = l.results[:0]
	for s := first; s <= last; s = l.windows.Next(s) {
		var acc A
		if at, ok := findPane(panes, s); ok {
			acc = panes[at].value
		}
		l.results = append(l.results, l.f(l.in.Keys[i], acc, l.in.Values[i]))
	}
	if len(panes) > 0 && len(panes)+len(l.results) > l.limit && l.grows(panes, first) > l.limit {
		panic(overLimit(l.in.Keys[i], l.limit, "Windows", "open windows"))
	}
}

// grows is the number of windows that the key will have with the results.
func (l *windowLoop[K, T, A]) grows(panes []pane[A], first int64) int {
	n, s := len(panes), first
	for range l.results {
		if _, ok := findPane(panes, s); !ok {
			n++
		}
		s = l.windows.Next(s)
	}
	return n
}

// findPane looks from the newest window back: most records are new.
func findPane[A any](panes []pane[A], start int64) (at int, ok bool) {
	at = len(panes)
	for at > 0 && panes[at-1].start >= start {
		at--
	}
	return at, at < len(panes) && panes[at].start == start
}

// store keeps the results, and gives out those of windows that have fired.
func (l *windowLoop[K, T, A]) store(i int, panes *[]pane[A], s, now int64) {
	for _, v := range l.results {
		at, ok := findPane(*panes, s)
		if ok {
			(*panes)[at].value = v
		} else {
			*panes = slices.Insert(*panes, at, pane[A]{s, v})
			r, _ := l.table.Find(l.in.Hashes[i], l.in.Keys[i])
			l.arm(r, s)
		}
		if l.windows.Fires(s) <= now {
			l.emit(l.in.Keys[i], s, v)
		}
		s = l.windows.Next(s)
	}
}

// arm notes when a window is due.
func (l *windowLoop[K, T, A]) arm(r dataflow.Ref, start int64) {
	if at := l.windows.Fires(start); at <= l.clock.of(l.table.Group(r)) {
		l.cleanup.Add(at+l.lateness, r)
	} else {
		l.ends.Add(at, r)
	}
}

func (l *windowLoop[K, T, A]) emit(key K, start int64, v A) {
	end := l.windows.End(start)
	l.out.Append(Window[K, A]{Key: key, Start: utc(start), End: utc(end), Value: v}, end-1, l.mark)
}

// advance moves event time and fires what becomes due. It returns false when
// the batch of results is full: then it is to be called again.
func (l *windowLoop[K, T, A]) advance(to int64) (done bool) {
	for {
		for ; l.next < len(l.firing); l.next++ {
			if len(l.out.Values) >= l.env.BatchSize {
				return false
			}
			l.fire(l.firing[l.next])
		}
		at, ok := l.ends.Next()
		if !ok || at > to {
			break
		}
		l.begin(at)
	}
	l.clock.advance(to)
	l.firing, l.next = l.firing[:0], 0
	for at, ok := l.cleanup.Next(); ok && at <= to; at, ok = l.cleanup.Next() {
		l.firing = l.cleanup.Take(l.firing[:0])
		for _, r := range l.firing {
			l.drop(r, at-l.lateness)
		}
		l.firing = l.firing[:0]
	}
	return true
}

// begin starts firing the windows that are due at a time.
func (l *windowLoop[K, T, A]) begin(at int64) {
	l.due, l.next, l.firing = at, 0, l.ends.Take(l.firing[:0])
	l.mark = max(l.mark, at-1)
	l.err = cmp.Or(l.err, l.table.SortByKey(l.firing))
}

// fire gives out the window of a key that is due, and gives it up unless late
// records are still allowed for.
func (l *windowLoop[K, T, A]) fire(r dataflow.Ref) {
	key, panes := l.table.Peek(r)
	start := l.due + 1 - l.windows.Size().Milliseconds()
	at, ok := findPane(*panes, start)
	if !ok {
		return
	}
	l.emit(key, start, (*panes)[at].value)
	if l.lateness > 0 {
		l.cleanup.Add(l.due+l.lateness, r)
	} else {
		l.drop(r, l.due)
	}
}

// drop gives up the window of a key that fires at a time.
func (l *windowLoop[K, T, A]) drop(r dataflow.Ref, fires int64) {
	panes := l.table.Touch(r)
	at, ok := findPane(*panes, fires+1-l.windows.Size().Milliseconds())
	if ok {
		*panes = slices.Delete(*panes, at, at+1)
	}
	if len(*panes) == 0 {
		l.table.DeleteAt(r)
	}
}

// Undo takes back the key that a failed record was the first of; nothing else
// has changed.
func (l *windowLoop[K, T, A]) Undo() {
	if l.fresh {
		l.table.Delete(l.in.Hashes[l.at], l.in.Keys[l.at])
		l.fresh = false
	}
}

// Flush implements dataflow.Loop.
func (l *windowLoop[K, T, A]) Flush() error {
	l.env.Metrics.Out.Add(int64(len(l.out.Values)))
	err := cmp.Or(l.err, l.port.Receive(&l.out))
	l.out.Reset()
	if err != nil || l.late.len() == 0 {
		return err
	}
	return l.late.flush(&l.in.Columns, l.env.Metrics)
}
