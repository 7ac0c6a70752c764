package queue

import (
	"cmp"
	"math"
	"slices"
)

// past is how neighbouring messages ended, all in the same way at the same time.
type past struct {
	first    uint64
	n        uint64
	at       int64
	who      string // acknowledged them
	log      uint32
	attempts uint32 // that failed or were charged
	how      how
	why      Reason
}

// isNext says whether another end goes on where this one stops.
func (p *past) isNext(o *past) bool {
	return p.log == o.log && p.first+p.n == o.first && p.at == o.at && p.how == o.how && p.why == o.why && p.attempts == o.attempts && p.who == o.who
}

// history remembers how the newest messages ended, so many of them.
type history struct {
	limit int
	total uint64
	all   []past // from head on, the oldest first
	head  int
}

// add remembers an end.
func (h *history) add(p past) {
	if h.limit == 0 {
		return
	}
	h.total += p.n
	if n := len(h.all); n > h.head && h.all[n-1].isNext(&p) {
		h.all[n-1].n += p.n
	} else {
		h.all = append(h.all, p)
	}
	h.forget()
}

// forget forgets what is over the limit.
func (h *history) forget() {
	for h.total > uint64(h.limit) {
		oldest := &h.all[h.head]
		n := min(h.total-uint64(h.limit), oldest.n)
		oldest.first += n
		oldest.n -= n
		h.total -= n
		if oldest.n == 0 {
			*oldest = past{}
			h.head++
		}
	}
	if h.head > 32 && 2*h.head > len(h.all) {
		n := copy(h.all, h.all[h.head:])
		clear(h.all[n:])
		h.all, h.head = h.all[:n], 0
	}
}

// find returns how a message ended, if that is remembered.
func (h *history) find(ref Ref) (past, bool) {
	for i := len(h.all) - 1; i >= h.head; i-- {
		if p := &h.all[i]; p.log == ref.Log && ref.Offset >= p.first && ref.Offset-p.first < p.n {
			return *p, true
		}
	}
	return past{}, false
}

// each calls f for those of the messages of one log, in order, whose ends are remembered.
func (h *history) each(entries []Entry, f func(i int, p *past)) {
	if len(entries) == 0 {
		return
	}
	for at := h.head; at < len(h.all); at++ {
		p := &h.all[at]
		if p.log != entries[0].Log {
			continue
		}
		i, _ := slices.BinarySearchFunc(entries, p.first, func(e Entry, offset uint64) int { return cmp.Compare(e.Offset, offset) })
		for ; i < len(entries) && entries[i].Offset-p.first < p.n; i++ {
			f(i, p)
		}
	}
}

func (h *history) setLimit(n int) {
	if h.limit = n; n == 0 {
		*h = history{}
		return
	}
	h.forget()
}

func (w *writer) history(h *history) {
	w.Num(uint64(len(h.all) - h.head))
	for i := h.head; i < len(h.all); i++ {
		p := &h.all[i]
		w.Num(uint64(p.log))
		w.Num(p.first)
		w.Num(p.n)
		w.time(p.at)
		w.Text(p.who)
		w.Num(uint64(p.attempts))
		w.Num(uint64(p.how))
		w.Num(uint64(p.why))
	}
}

func (r *reader) history() {
	for n := r.Count(8); n > 0 && r.Err() == nil; n-- {
		p := past{log: uint32(r.Below(1 << 32)), first: r.offset(), n: r.Below(maxOffset), at: r.time(), who: r.Text(),
			attempts: uint32(r.Below(math.MaxUint32)), how: how(r.Below(uint64(hows))), why: r.reason()}
		if p.n == 0 {
			r.Fail("nothing is remembered")
		}
		if r.Err() == nil {
			r.q.history.add(p)
		}
	}
}
