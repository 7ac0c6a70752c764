package actor

import (
	"context"
	"sync"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// background runs the I/O of actors on the warm goroutines of the dispatcher,
// and keeps count, so that a system can wait for it. Unlike a bare WaitGroup it
// may be asked to run something while it is being closed.
type background struct {
	ctx        context.Context
	cancel     context.CancelFunc
	dispatcher pactor.Dispatcher

	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

func (b *background) init(d pactor.Dispatcher) {
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.dispatcher = d
}

func (b *background) run(f func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.group.Add(1)
	b.dispatcher.Schedule(func() {
		defer b.group.Done()
		f(b.ctx)
	})
	return true
}

// close returns a channel that is closed when all of it has ended.
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
