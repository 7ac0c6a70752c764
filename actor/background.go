package actor

import (
	"context"
	"sync"
)

// background keeps count of the goroutines that do the I/O of actors, so that a
// system can wait for them. Unlike a bare WaitGroup it may be asked to run
// something while it is being closed.
type background struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

func (b *background) init() { b.ctx, b.cancel = context.WithCancel(context.Background()) }

func (b *background) run(f func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.group.Go(func() { f(b.ctx) })
	return true
}

// close returns a channel that is closed when all goroutines have ended.
func (b *background) close() <-chan struct{} {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	ended := make(chan struct{})
	go func() {
		b.group.Wait()
		close(ended)
	}()
	return ended
}
