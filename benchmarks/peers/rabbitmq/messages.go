package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
)

// bodies makes messages whose bodies begin with their number.
type bodies struct {
	size int
	slab []byte
}

func (b *bodies) body(number int) []byte {
	if len(b.slab) < b.size {
		b.slab = make([]byte, max(b.size, 256<<10))
	}
	body := b.slab[:b.size:b.size]
	b.slab = b.slab[b.size:]
	binary.LittleEndian.PutUint64(body, uint64(number))
	return body
}

// arrivals holds what arrives against the numbers 0 to n-1, each of which was
// published once. It may be used by many consumers at a time.
type arrivals struct {
	n        int
	marks    []atomic.Uint64 // a bit for each number
	seen     atomic.Int64
	repeated atomic.Int64
	foreign  atomic.Int64
	all      chan struct{} // closed once each number has arrived
}

func newArrivals(n int) *arrivals {
	return &arrivals{n: n, marks: make([]atomic.Uint64, n/64+1), all: make(chan struct{})}
}

// arrived returns the number of a message that came for the first time.
func (a *arrivals) arrived(body []byte) (number int, first bool) {
	if len(body) < 8 || binary.LittleEndian.Uint64(body) >= uint64(a.n) {
		a.foreign.Add(1)
		return 0, false
	}
	number = int(binary.LittleEndian.Uint64(body))
	mark := uint64(1) << (number % 64)
	if a.marks[number/64].Or(mark)&mark != 0 {
		a.repeated.Add(1)
		return number, false
	}
	if a.seen.Add(1) == int64(a.n) {
		close(a.all)
	}
	return number, true
}

func (a *arrivals) handle(body []byte) { a.arrived(body) }

var errNotOnce = errors.New("messages did not arrive once each")

// check tells whether each message arrived, and none twice.
func (a *arrivals) check() error {
	if a.seen.Load() == int64(a.n) && a.repeated.Load() == 0 && a.foreign.Load() == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d, %d again, %d that nobody sent", errNotOnce, a.seen.Load(), a.n, a.repeated.Load(), a.foreign.Load())
}
