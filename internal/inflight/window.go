package inflight

import "hash/maphash"

// Limits bound a Window. 0 stands for the default.
type Limits struct {
	// Span is how many records there can be from the first that is not done to
	// the newest that was taken in. Default 10,000.
	Span int
	// InFlight is how many records are handed out and not done. Default 1,000.
	InFlight int
	// Bytes is what the records that are not done may weigh together; one is
	// taken in whatever its weight. Default 8 MiB.
	Bytes int
}

func (l *Limits) fill() {
	for _, d := range []struct {
		v *int
		d int
	}{{&l.Span, 10_000}, {&l.InFlight, 1_000}, {&l.Bytes, 8 << 20}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
}

// Ticket stands for one handing-out of one record.
type Ticket struct {
	epoch uint64
	seq   uint64
	turn  uint32
}

// state of a record.
type state uint8

const (
	blocked   state = iota // an older record of its key is not done
	ready                  // can be handed out
	running                // a worker has it
	returned               // handed out, and no worker has it any more
	postponed              // handed back, not to be handed out yet
	done
)

// entry is a record in the window.
type entry[T any] struct {
	offset uint64
	key    uint64 // the key's hash; keys with equal hashes count as equal
	next   uint64 // number of the next record of the key; 0: none yet
	size   int
	turn   uint32
	state  state
	keyed  bool
	item   T
}

// Window is the part of a partition that is at work. The zero value is not
// ready for use. It is not safe for concurrent use.
type Window[T any] struct {
	limits  Limits
	workers int

	epoch    uint64
	entries  []entry[T]        // those from head on count
	head     int               // the first that is not done
	base     uint64            // number of entries[head]; the first of all is 1
	tails    map[uint64]uint64 // newest record that is not done, by key
	ready    heap
	next     uint64 // offset after the newest record taken in
	handed   uint64 // offset after the newest record handed out
	bytes    int
	running  int
	inFlight int
	postpone int
	last     bool // nothing from handed on is handed out
	closed   bool
}

// New returns an empty window that begins at an offset.
func New[T any](limits Limits, workers int, next uint64) *Window[T] {
	limits.fill()
	w := &Window[T]{limits: limits, workers: max(workers, 1), base: 1}
	w.Restart(next)
	return w
}

var seed = maphash.MakeSeed()

// Add takes a record in. Its offset must be above that of the one before; key is
// nil when it has none. The size is what counts towards Limits.Bytes.
func (w *Window[T]) Add(offset uint64, key []byte, size int, item T) {
	e := entry[T]{offset: offset, size: size, item: item, state: ready, keyed: key != nil}
	seq := w.base + uint64(w.Len())
	if e.keyed {
		e.key = maphash.Bytes(seed, key)
		if before, found := w.tails[e.key]; found {
			w.at(before).next = seq
			e.state = blocked
		}
		w.tails[e.key] = seq
	}
	if e.state == ready {
		w.ready.push(seq)
	}
	w.append(e)
	w.next = offset + 1
	w.bytes += size
}

// append puts a record at the end. When the slice is full and half of it is done
// with, the rest moves to its beginning: so each record moves once on average, and
// the slice is as long as the window ever was, twice at most.
func (w *Window[T]) append(e entry[T]) {
	if len(w.entries) == cap(w.entries) && w.head > 0 && w.head >= len(w.entries)/2 {
		n := copy(w.entries, w.entries[w.head:])
		clear(w.entries[n:])
		w.entries, w.head = w.entries[:n], 0
	}
	w.entries = append(w.entries, e)
}

// Pass says that there are no records from the newest taken in to before an
// offset.
func (w *Window[T]) Pass(next uint64) { w.next = max(w.next, next) }

// Room is how many more records can be taken in.
func (w *Window[T]) Room() int {
	if w.bytes >= w.limits.Bytes {
		return 0
	}
	return max(w.limits.Span-w.Len(), 0)
}

// RoomBytes is what they may weigh.
func (w *Window[T]) RoomBytes() int { return max(w.limits.Bytes-w.bytes, 0) }

// Bytes is what the records that are not done weigh.
func (w *Window[T]) Bytes() int { return w.bytes }

// SetWorkers changes how many records can be with workers at a time. If there
// are more, they are let finish.
func (w *Window[T]) SetWorkers(n int) { w.workers = max(n, 1) }

// Workers is how many records can be with workers at a time.
func (w *Window[T]) Workers() int { return w.workers }

// Wanted is how many workers have something to do now.
func (w *Window[T]) Wanted() int { return w.running + w.free() }

// free is how many records can be handed out now.
func (w *Window[T]) free() int {
	if w.closed || w.workers == 1 && w.postpone > 0 {
		return 0 // in strict order, whoever comes later waits for what is postponed
	}
	n := len(w.ready)
	if w.last {
		n = 0
		for _, seq := range w.ready {
			if w.at(seq).offset < w.handed {
				n++
			}
		}
	}
	return max(0, min(n, w.workers-w.running, w.limits.InFlight-w.inFlight))
}

// Take hands a record out. ok is false when there is none to be handed out now.
func (w *Window[T]) Take() (t Ticket, item T, ok bool) {
	if w.free() == 0 {
		return t, item, false
	}
	seq := w.ready.pop()
	e := w.at(seq)
	e.state = running
	w.running++
	w.inFlight++
	w.handed = max(w.handed, e.offset+1)
	return Ticket{w.epoch, seq, e.turn}, e.item, true
}

// Return says that the worker has let go of a record that is not done yet.
func (w *Window[T]) Return(t Ticket) bool {
	e := w.find(t)
	if e == nil || e.state != running {
		return false
	}
	e.state = returned
	w.running--
	return true
}

// Done says that a record is done. It returns false when the ticket is void.
func (w *Window[T]) Done(t Ticket) bool {
	e := w.find(t)
	if e == nil || e.state < running || e.state == done {
		return false
	}
	w.putBack(e)
	if e.state == postponed {
		w.postpone--
	}
	e.state = done
	w.bytes -= e.size
	var none T
	e.item = none
	w.release(t.seq, e)
	w.shift()
	return true
}

// putBack takes a record out of the count of those that are handed out.
func (w *Window[T]) putBack(e *entry[T]) {
	if e.state == running {
		w.running--
	}
	if e.state == running || e.state == returned {
		w.inFlight--
	}
}

// release lets the next record of a key that is done be handed out.
func (w *Window[T]) release(seq uint64, e *entry[T]) {
	switch {
	case !e.keyed:
	case e.next != 0:
		w.at(e.next).state = ready
		w.ready.push(e.next)
	case w.tails[e.key] == seq:
		delete(w.tails, e.key)
	}
}

// shift moves the beginning of the window behind what is done.
func (w *Window[T]) shift() {
	for w.head < len(w.entries) && w.entries[w.head].state == done {
		w.head++
		w.base++
	}
	if w.head == len(w.entries) {
		w.entries, w.head = w.entries[:0], 0
	}
}

// Postpone takes a record back from whoever has it. It is not handed out again
// before Resume, and nor are those after it of the same key, or any after it if
// there is one worker. The item takes the place of the one before; the ticket
// that is returned, that of the one given.
func (w *Window[T]) Postpone(t Ticket, item T) (Ticket, bool) {
	e := w.find(t)
	if e == nil || e.state != running && e.state != returned {
		return t, false
	}
	w.putBack(e)
	e.state = postponed
	e.turn++
	e.item = item
	w.postpone++
	t.turn = e.turn
	return t, true
}

// Yield takes a record from its worker, and lets the next of its key be handed out
// although this one is not done: the order of the key is somebody else's now. The
// ticket that is returned takes the place of the one given.
func (w *Window[T]) Yield(t Ticket) (Ticket, bool) {
	e := w.find(t)
	if e == nil || e.state != running && e.state != returned {
		return t, false
	}
	if e.state == running {
		w.running--
	}
	e.state = returned
	e.turn++
	t.turn = e.turn
	w.release(t.seq, e)
	e.keyed = false
	return t, true
}

// Resume lets a postponed record be handed out again.
func (w *Window[T]) Resume(t Ticket) bool {
	e := w.find(t)
	if e == nil || e.state != postponed {
		return false
	}
	e.state = ready
	w.postpone--
	w.ready.push(t.seq)
	return true
}

// Restart drops all records and goes on at another offset. All tickets are void.
func (w *Window[T]) Restart(next uint64) {
	w.epoch++
	w.base += uint64(w.Len())
	w.entries, w.head, w.ready, w.tails = nil, 0, nil, map[uint64]uint64{}
	w.next, w.handed = next, next
	w.bytes, w.running, w.inFlight, w.postpone, w.last = 0, 0, 0, 0, false
}

// Finish has the window come to an end: from now on only records are handed out
// that have a later one handed out before them. When these are done, so is all that
// was ever handed out, and nobody has to work on any of it again.
func (w *Window[T]) Finish() { w.last = true }

// Idle says that no record is with a worker, and none can be handed out.
func (w *Window[T]) Idle() bool { return w.running == 0 && w.free() == 0 }

// Close makes all tickets void and hands nothing out any more. Position stays
// what it is, for good.
func (w *Window[T]) Close() {
	w.epoch++
	w.closed = true
	w.running, w.inFlight = 0, 0
}

// Position is the offset of the first record that is not done: the one to commit.
func (w *Window[T]) Position() uint64 {
	if w.Len() > 0 {
		return w.entries[w.head].offset
	}
	return w.next
}

// Next is the offset after the newest record that was taken in.
func (w *Window[T]) Next() uint64 { return w.next }

// Handed is the offset after the newest record that was handed out.
func (w *Window[T]) Handed() uint64 { return w.handed }

// HasBefore says whether a record of a key, at an offset before the one given, is still to
// come or not done. It looks at all records in front of that.
func (w *Window[T]) HasBefore(key []byte, offset uint64) bool {
	hash := maphash.Bytes(seed, key)
	for i := range w.entries[w.head:] {
		e := &w.entries[w.head+i]
		if e.offset >= offset {
			return false
		}
		if e.keyed && e.key == hash && e.state != done {
			return true
		}
	}
	return w.next < offset
}

// Running is how many records are with workers.
func (w *Window[T]) Running() int { return w.running }

// InFlight is how many records are handed out and not done.
func (w *Window[T]) InFlight() int { return w.inFlight }

// Len is how many records there are from the first that is not done on.
func (w *Window[T]) Len() int { return len(w.entries) - w.head }

func (w *Window[T]) at(seq uint64) *entry[T] { return &w.entries[w.head+int(seq-w.base)] }

// find returns the record of a ticket, nil when the ticket is void.
func (w *Window[T]) find(t Ticket) *entry[T] {
	if t.epoch != w.epoch || t.seq < w.base || t.seq-w.base >= uint64(w.Len()) {
		return nil
	}
	if e := w.at(t.seq); e.turn == t.turn {
		return e
	}
	return nil
}
