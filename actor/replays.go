package actor

import (
	"context"
	"fmt"
	"sync"
)

// replays are the replays of a consumer that are under way.
type replays struct {
	ctx  context.Context // ends with the consumer
	stop context.CancelCauseFunc

	mu   sync.Mutex
	n    int
	over bool
	idle chan struct{} // closed when it is over, and none is under way
}

func newReplays() *replays {
	r := &replays{idle: make(chan struct{})}
	r.ctx, r.stop = context.WithCancelCause(context.Background())
	return r
}

// enter begins a replay; leave ends it.
func (r *replays) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.n++
	}
	return context.Cause(r.ctx)
}

func (r *replays) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n--
	r.settle()
}

// end cuts all replays short, and lets none begin.
func (r *replays) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.over = true
		r.stop(fmt.Errorf("the consumer has ended: %w", ErrStopped))
		r.settle()
	}
}

func (r *replays) settle() {
	if r.over && r.n == 0 {
		close(r.idle)
	}
}
