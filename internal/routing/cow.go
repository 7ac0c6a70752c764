package routing

import (
	"slices"
	"sync/atomic"
)

// cow is a list with one writer and any number of readers that take no lock.
type cow[T comparable] struct{ p atomic.Pointer[[]T] }

// all is the list as it is now. Nobody may change it.
func (c *cow[T]) all() []T {
	if p := c.p.Load(); p != nil {
		return *p
	}
	return nil
}

// add appends. Where there is room behind the list, the new element goes there:
// readers of the lists before do not look that far, and those of the new one
// get to see it only when it is written. Only the newest list is ever appended
// to, so no element is written twice.
func (c *cow[T]) add(v T) {
	s := append(c.all(), v)
	c.p.Store(&s)
}

// remove takes out one element that is v, in a copy of the list.
func (c *cow[T]) remove(v T) {
	s := c.all()
	i := slices.Index(s, v)
	switch {
	case i < 0:
	case len(s) == 1:
		c.p.Store(nil)
	default:
		s = slices.Concat(s[:i], s[i+1:])
		c.p.Store(&s)
	}
}
