package actor

import "sync"

// slicePool holds slices that nobody uses any more, to be filled again. What they hold
// stays where it is until then: slices with pointers are cleared before they are put in.
type slicePool[T any] struct{ pool sync.Pool } // of *[]T

// get returns an empty slice with room; nil if there is none.
func (p *slicePool[T]) get() []T {
	if s, ok := p.pool.Get().(*[]T); ok {
		return (*s)[:0]
	}
	return nil
}

// put takes a slice that nobody may use any more.
func (p *slicePool[T]) put(s []T) {
	if cap(s) > 0 {
		p.pool.Put(&s)
	}
}
