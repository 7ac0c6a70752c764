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

// remove takes out one element that is v, in a copy of the list, and says
// whether there was one.
func (c *cow[T]) remove(v T) bool {
	s := c.all()
	i := slices.Index(s, v)
	switch {
	case i < 0:
		return false
	case len(s) == 1:
		c.p.Store(nil)
	default:
		s = slices.Concat(s[:i], s[i+1:])
		c.p.Store(&s)
	}
	return true
}

// targetList is a cow of targets of which the first is at hand: most keys lead
// to one target, and each step of memory that a reader is spared counts where
// there are many keys.
type targetList struct {
	first atomic.Pointer[Target]
	more  cow[*Target]
}

func (l *targetList) empty() bool { return l.first.Load() == nil }

func (l *targetList) add(t *Target) {
	if l.empty() {
		l.first.Store(t)
	} else {
		l.more.add(t)
	}
}

// remove takes out one element that is t. Where another becomes the first, it is
// that before it is taken from the others; and readers look at the others before
// they look at the first. So nobody misses it, though some may see it twice.
func (l *targetList) remove(t *Target) {
	if l.more.remove(t) || l.first.Load() != t {
		return
	}
	more := l.more.all()
	if len(more) == 0 {
		l.first.Store(nil)
		return
	}
	l.first.Store(more[0])
	l.more.remove(more[0])
}

// appendTo appends the targets to a list of the caller's.
func (l *targetList) appendTo(out []*Target) []*Target {
	out = append(out, l.more.all()...)
	if t := l.first.Load(); t != nil {
		out = append(out, t)
	}
	return out
}
