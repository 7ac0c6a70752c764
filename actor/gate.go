package actor

import (
	"container/list"
	"context"
	"sync"
)

// gate bounds how many bytes are under way. Those who must wait are let through
// in the order in which they came, each within its own context.
type gate struct {
	size int

	mu      sync.Mutex
	used    int
	waiting list.List // of *gateWaiter
}

type gateWaiter struct {
	n     int
	ready chan struct{} // closed when n was added to used
}

func newGate(size int) *gate { return &gate{size: size} }

// enter waits until n bytes fit, or until ctx ends. More than the gate's size
// counts as its size: so it passes when it is alone.
func (g *gate) enter(ctx context.Context, n int) error {
	n = min(n, g.size)
	g.mu.Lock()
	if g.fits(n) {
		g.used += n
		g.mu.Unlock()
		return nil
	}
	w := &gateWaiter{n: n, ready: make(chan struct{})}
	e := g.waiting.PushBack(w)
	g.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		g.giveUp(e, w)
		return ctx.Err()
	}
}

// giveUp withdraws a waiter. It may have been let through in the meantime: then
// its share goes back.
func (g *gate) giveUp(e *list.Element, w *gateWaiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.ready:
		g.used -= w.n
	default:
		g.waiting.Remove(e)
	}
	g.admit()
}

// tryEnter is enter without waiting.
func (g *gate) tryEnter(n int) bool {
	n = min(n, g.size)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.fits(n) {
		return false
	}
	g.used += n
	return true
}

func (g *gate) fits(n int) bool { return g.waiting.Len() == 0 && g.used+n <= g.size }

// leave gives n bytes back.
func (g *gate) leave(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= min(n, g.size)
	g.admit()
}

func (g *gate) admit() {
	for e := g.waiting.Front(); e != nil; e = g.waiting.Front() {
		w := e.Value.(*gateWaiter)
		if g.used+w.n > g.size {
			return
		}
		g.used += w.n
		g.waiting.Remove(e)
		close(w.ready)
	}
}
