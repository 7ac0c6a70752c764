package actor

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/retrybudget"
)

// RetryBudget bounds the retries of a consumer, so that a service that is down is not
// kept down by them: they may be Share of what it delivers for the first time, plus
// Floor. When that is used up, retries wait their turn, in the order in which they
// would have come; their keys wait with them. Deliveries in place and out of delay
// topics count, those that somebody has released do not.
type RetryBudget struct {
	// Share of first deliveries. Default 0.2.
	Share float64
	// Floor is how many retries a second there may be in any case. Default 10.
	Floor float64
	// Off sets no bound.
	Off bool
}

// Defaults of a RetryBudget.
const (
	DefaultRetryShare = 0.2
	DefaultRetryFloor = 10
)

func (b *RetryBudget) withDefaults() {
	if b.Share == 0 {
		b.Share = DefaultRetryShare
	}
	if b.Floor == 0 {
		b.Floor = DefaultRetryFloor
	}
}

func (b *RetryBudget) check() error {
	if !(b.Share > 0 && b.Floor > 0) {
		return fmt.Errorf("RetryBudget{Share: %v, Floor: %v}: both must be positive; to set no bound, say Off", b.Share, b.Floor)
	}
	return nil
}

// retryGate lets retries through as the budget of a consumer allows.
type retryGate struct {
	off   bool
	fresh atomic.Int64 // records delivered for the first time

	mu     sync.Mutex
	budget *retrybudget.Budget
	queue  []func()
	timer  *time.Timer
	closed bool
}

func newRetryGate(b RetryBudget) *retryGate {
	return &retryGate{off: b.Off, budget: retrybudget.New(b.Share, b.Floor, time.Now())}
}

// pass calls f when a retry may go: at once or, in turn, later.
func (g *retryGate) pass(f func()) {
	if g.off || g.enter(f) {
		f()
	}
}

// enter takes what a retry costs; if it cannot, it puts f in the queue.
func (g *retryGate) enter(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 && g.budget.Take(time.Now(), g.fresh.Load()) == 0 {
		return true
	}
	g.queue = append(g.queue, f)
	g.wake()
	return false
}

// wake sees to it that the queue is looked at when there may be something for it.
func (g *retryGate) wake() {
	if g.timer == nil && !g.closed && len(g.queue) > 0 {
		g.timer = time.AfterFunc(g.budget.Wait(time.Now(), g.fresh.Load()), g.advance)
	}
}

func (g *retryGate) advance() {
	g.mu.Lock()
	g.timer = nil
	var all []func()
	for len(g.queue) > 0 && g.budget.Take(time.Now(), g.fresh.Load()) == 0 {
		all = append(all, g.queue[0])
		g.queue = g.queue[1:]
	}
	g.wake()
	g.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// await is pass for whoever has nothing else to do.
func (g *retryGate) await(ctx context.Context) error {
	may := make(chan struct{})
	g.pass(func() { close(may) })
	select {
	case <-may:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waiting is how many retries wait.
func (g *retryGate) waiting() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(len(g.queue))
}

func (g *retryGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.queue = true, nil
	if g.timer != nil {
		g.timer.Stop()
	}
}
