package queue

import (
	"encoding/binary"
	"fmt"
	"math"
)

// writer puts values down: numbers as varints, texts with their length in front.
type writer struct{ b []byte }

func (w *writer) num(v uint64) { w.b = binary.AppendUvarint(w.b, v) }

// time puts down Unix ms; those before 1970 become 1970.
func (w *writer) time(v int64) { w.num(uint64(max(v, 0))) }

func (w *writer) flag(v bool) {
	if v {
		w.num(1)
	} else {
		w.num(0)
	}
}

func (w *writer) text(s string) {
	w.num(uint64(len(s)))
	w.b = append(w.b, s...)
}

// runs puts down ascending offsets: how many follow each other, how many are left
// out before them, and a zero at the end. So neighbours cost nothing.
func (w *writer) runs(refs []Ref) {
	next := uint64(0)
	for i := 0; i < len(refs); {
		n := 1
		for i+n < len(refs) && refs[i+n].Offset == refs[i].Offset+uint64(n) {
			n++
		}
		w.run(&next, refs[i].Offset, uint64(n))
		i += n
	}
	w.num(0)
}

func (w *writer) ranges(all ranges) {
	next := uint64(0)
	for _, v := range all {
		w.run(&next, v.first, v.n)
	}
	w.num(0)
}

func (w *writer) run(next *uint64, first, n uint64) {
	w.num(n)
	w.num(first - *next)
	*next = first + n
}

// reader reads what writer wrote. After the first thing that is wrong it returns
// zeros; see err.
type reader struct {
	b   []byte
	q   *Queue
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
	}
	r.b = nil
}

func (r *reader) num() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("it ends too early")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// below reads a number that is below a bound.
func (r *reader) below(bound uint64) uint64 {
	v := r.num()
	if v >= bound {
		r.fail("%d is not below %d", v, bound)
		return 0
	}
	return v
}

func (r *reader) time() int64    { return int64(r.below(math.MaxInt64)) }
func (r *reader) flag() bool     { return r.below(2) == 1 }
func (r *reader) cause() Cause   { return Cause(r.below(uint64(causes))) }
func (r *reader) reason() Reason { return Reason(r.below(uint64(reasons))) }
func (r *reader) priority() uint8 {
	return uint8(r.below(MaxPriorities))
}

// count reads how many items follow, each of at least size bytes.
func (r *reader) count(size int) int {
	n := r.num()
	if n > uint64(len(r.b)/size) {
		r.fail("%d items are announced, and %d bytes are left", n, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.count(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// feed reads a log, and returns what the queue knows of it.
func (r *reader) feed() *feed {
	log := r.below(1 << 32)
	if r.err != nil {
		return &feed{}
	}
	f, err := r.q.needFeed(uint32(log))
	if err != nil {
		r.fail("%v", err)
		return &feed{}
	}
	return f
}

// maxOffset bounds the offsets of messages, which are below it, so that one more does not overflow.
const maxOffset = 1 << 62

// offset reads that of a message.
func (r *reader) offset() uint64 { return r.below(maxOffset) }

// bound reads an offset that messages are below.
func (r *reader) bound() uint64 { return r.below(maxOffset + 1) }

// ranges reads runs of offsets, of at most so many in all.
func (r *reader) ranges(most uint64) (all ranges) {
	next, total := uint64(0), uint64(0)
	for {
		n := r.below(most + 1)
		if n == 0 {
			return all
		}
		first := next + r.below(maxOffset)
		next = first + n
		if total += n; total > most || next > maxOffset {
			r.fail("%d offsets up to %d are named", total, next)
			return nil
		}
		all = append(all, run{first, n})
	}
}
