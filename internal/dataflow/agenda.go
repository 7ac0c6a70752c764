package dataflow

import (
	"cmp"
	"slices"
)

// Agenda holds what is due for entries of a table, earliest first: timers, and
// the ends of windows. It is a binary heap.
//
// What was struck off stays in the heap until its time comes, or until it makes
// up half of it. So whoever takes from an Agenda checks what it is given
// against the entry; the same may be given twice.
type Agenda struct {
	heap   []due
	struck int
}

type due struct {
	at  int64
	ref Ref
}

func (d due) compare(o due) int {
	return cmp.Or(cmp.Compare(d.at, o.at), cmp.Compare(d.ref, o.ref))
}

// Add notes something for an entry.
func (a *Agenda) Add(at int64, r Ref) {
	a.heap = append(a.heap, due{at, r})
	h := a.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			return
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

// Next returns when the next thing is due.
func (a *Agenda) Next() (at int64, ok bool) {
	if len(a.heap) == 0 {
		return 0, false
	}
	return a.heap[0].at, true
}

// manyAtOnce is from how many entries of one time on it pays to go through the
// whole heap instead of removing them one by one.
const manyAtOnce = 256

// Take removes what is due next and appends the entries to refs. All of it has
// the same time.
func (a *Agenda) Take(refs []Ref) []Ref {
	at := a.heap[0].at
	for n := 0; len(a.heap) > 0 && a.heap[0].at == at; n++ {
		if n == manyAtOnce {
			return a.takeAll(at, refs)
		}
		refs = append(refs, a.heap[0].ref)
		last := len(a.heap) - 1
		a.heap[0] = a.heap[last]
		a.heap = a.heap[:last]
		a.sink(0)
	}
	return refs
}

func (a *Agenda) takeAll(at int64, refs []Ref) []Ref {
	rest := a.heap[:0]
	for _, d := range a.heap {
		if d.at == at {
			refs = append(refs, d.ref)
		} else {
			rest = append(rest, d)
		}
	}
	a.heap = rest
	for i := len(rest)/2 - 1; i >= 0; i-- {
		a.sink(i)
	}
	return refs
}

func (a *Agenda) sink(i int) {
	h := a.heap
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if r := least + 1; r < len(h) && h[r].at < h[least].at {
			least = r
		}
		if h[i].at <= h[least].at {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// Strike says that one of the things noted no longer holds. holds tells those
// that do.
func (a *Agenda) Strike(holds func(at int64, r Ref) bool) {
	if a.struck++; a.struck < 64 || 2*a.struck < len(a.heap) {
		return
	}
	a.heap = slices.DeleteFunc(a.heap, func(d due) bool { return !holds(d.at, d.ref) })
	slices.SortFunc(a.heap, due.compare) // which is a heap, too
	a.heap = slices.Compact(a.heap)
	a.struck = 0
}

// Len is the number of things noted, including some that were struck off.
func (a *Agenda) Len() int { return len(a.heap) }
