package queue

import (
	"slices"
)

// flight is a delivery that is not settled.
type flight struct {
	tag       uint64 // 0: the place is free
	chunk     *chunk // nil: it is a replay
	offset    uint64
	group     uint64
	at        int64 // of the delivery, or of the last sign of life
	expires   int64
	bytes     uint32
	attempt   uint32
	priority  uint8
	probation bool
	started   bool
	charged   bool // the attempt is noted durably
}

func (d *flight) ref() Ref { return Ref{d.chunk.feed.log, d.offset} }

// where returns the message of a flight.
func (d *flight) where() where {
	return where{d.chunk, d.chunk.index(d.offset), d.offset, d.bytes, d.priority}
}

// flights are those of a consumer, by tag. The newest are in a ring; those that
// were overtaken by as many as the ring has places are in old. So the ring is
// never much longer than what is in flight, however long one of them takes.
type flights struct {
	ring []flight // its length is a power of two
	next uint64   // tag of the next one; the first is 1
	n    int
	old  map[uint64]flight
}

const firstRing = 16

// add makes a place for a new flight.
func (v *flights) add() *flight {
	if v.next == 0 {
		v.next = 1
	}
	if v.n*2 >= len(v.ring) {
		v.grow()
	}
	d := &v.ring[v.next&uint64(len(v.ring)-1)]
	if d.tag != 0 {
		if v.old == nil {
			v.old = map[uint64]flight{}
		}
		v.old[d.tag] = *d
	}
	*d = flight{tag: v.next}
	v.next++
	v.n++
	return d
}

func (v *flights) grow() {
	ring := make([]flight, max(2*len(v.ring), firstRing))
	for _, d := range v.ring {
		if d.tag != 0 {
			ring[d.tag&uint64(len(ring)-1)] = d
		}
	}
	v.ring = ring
}

// get returns a copy of a flight.
func (v *flights) get(tag uint64) (flight, bool) {
	if d := v.inRing(tag); d != nil {
		return *d, true
	}
	d, found := v.old[tag]
	return d, found
}

func (v *flights) inRing(tag uint64) *flight {
	if tag == 0 || len(v.ring) == 0 {
		return nil
	}
	if d := &v.ring[tag&uint64(len(v.ring)-1)]; d.tag == tag {
		return d
	}
	return nil
}

// put changes a flight.
func (v *flights) put(d flight) {
	if p := v.inRing(d.tag); p != nil {
		*p = d
	} else if _, found := v.old[d.tag]; found {
		v.old[d.tag] = d
	}
}

// remove takes a flight out.
func (v *flights) remove(tag uint64) (flight, bool) {
	if d := v.inRing(tag); d != nil {
		taken := *d
		d.tag, d.chunk = 0, nil
		v.n--
		return taken, true
	}
	d, found := v.old[tag]
	if found {
		delete(v.old, tag)
		v.n--
	}
	return d, found
}

// each calls f for all flights, in no order. f must not change the set.
func (v *flights) each(f func(*flight)) {
	for i := range v.ring {
		if v.ring[i].tag != 0 {
			f(&v.ring[i])
		}
	}
	for _, d := range v.old {
		f(&d)
	}
}

// tags returns those up to one, in order; 0 stands for all.
func (v *flights) tags(upTo uint64) []uint64 {
	if upTo == 0 {
		upTo = v.next
	}
	all := make([]uint64, 0, v.n)
	v.each(func(d *flight) {
		if d.tag <= upTo {
			all = append(all, d.tag)
		}
	})
	slices.Sort(all)
	return all
}

// eachOut calls f for all flights of all consumers, in no order.
func (q *Queue) eachOut(f func(*flight)) {
	for _, k := range q.consumers {
		k.flights.each(f)
	}
}
