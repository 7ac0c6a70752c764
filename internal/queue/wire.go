package queue

import "github.com/troupestream/troupe/internal/wire"

// writer puts down what a queue is made of.
type writer struct{ wire.Writer }

// time puts down Unix ms; those before 1970 become 1970.
func (w *writer) time(v int64) { w.Num(uint64(max(v, 0))) }

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
	w.Num(0)
}

func (w *writer) ranges(all ranges) {
	next := uint64(0)
	for _, v := range all {
		w.run(&next, v.first, v.n)
	}
	w.Num(0)
}

func (w *writer) run(next *uint64, first, n uint64) {
	w.Num(n)
	w.Num(first - *next)
	*next = first + n
}

// reader reads what writer wrote.
type reader struct {
	wire.Reader
	q *Queue
}

func (r *reader) time() int64    { return r.Int64() }
func (r *reader) cause() Cause   { return Cause(r.Below(uint64(causes))) }
func (r *reader) reason() Reason { return Reason(r.Below(uint64(reasons))) }
func (r *reader) priority() uint8 {
	return uint8(r.Below(MaxPriorities))
}

// feed reads a log, and returns what the queue knows of it.
func (r *reader) feed() *feed {
	log := r.Below(1 << 32)
	if r.Err() != nil {
		return &feed{}
	}
	f, err := r.q.needFeed(uint32(log))
	if err != nil {
		r.Fail("%v", err)
		return &feed{}
	}
	return f
}

// maxOffset bounds the offsets of messages, which are below it, so that one more does not overflow.
const maxOffset = 1 << 62

// offset reads that of a message.
func (r *reader) offset() uint64 { return r.Below(maxOffset) }

// bound reads an offset that messages are below.
func (r *reader) bound() uint64 { return r.Below(maxOffset + 1) }

// ranges reads runs of offsets, of at most so many in all.
func (r *reader) ranges(most uint64) (all ranges) {
	next, total := uint64(0), uint64(0)
	for {
		n := r.Below(most + 1)
		if n == 0 {
			return all
		}
		first := next + r.Below(maxOffset)
		next = first + n
		if total += n; total > most || next > maxOffset {
			r.Fail("%d offsets up to %d are named", total, next)
			return nil
		}
		all = append(all, run{first, n})
	}
}
