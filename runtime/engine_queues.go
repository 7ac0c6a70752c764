package runtime

import (
	"context"
	"errors"

	"github.com/troupestream/troupe/actor"
)

// DeclareExchange returns the exchange of that name, and creates it when there is none. One
// that was declared differently is an error that names the difference.
func (e *Engine) DeclareExchange(ctx context.Context, name string, c actor.ExchangeConfig) (*actor.Exchange, error) {
	return e.system.DeclareExchange(ctx, name, c)
}

// Exchange returns the exchange of that name, or actor.ErrNoExchange; "" is the default
// exchange, which reaches every queue by its name.
func (e *Engine) Exchange(ctx context.Context, name string) (*actor.Exchange, error) {
	return e.system.Exchange(ctx, name)
}

// Exchanges lists the exchanges by name, the default one first.
func (e *Engine) Exchanges(ctx context.Context) ([]actor.ExchangeInfo, error) {
	return e.system.Exchanges(ctx)
}

// DeclareQueue returns the queue of that name, and creates it when there is none. One that
// was declared differently is an error that names the difference.
func (e *Engine) DeclareQueue(ctx context.Context, name string, c actor.QueueConfig) (*actor.Queue, error) {
	return e.system.DeclareQueue(ctx, name, c)
}

// Queue returns the queue of that name, or actor.ErrNoQueue.
func (e *Engine) Queue(ctx context.Context, name string) (*actor.Queue, error) {
	return e.system.Queue(ctx, name)
}

// Queues lists the queues by name.
func (e *Engine) Queues(ctx context.Context) ([]actor.QueueInfo, error) {
	return e.system.Queues(ctx)
}

// Bind makes a binding, from an exchange to a queue, a topic or another exchange. It may be
// made any number of times. See actor.System.BindTopic for queues of whole topics.
func (e *Engine) Bind(ctx context.Context, b actor.Binding) error { return e.system.Bind(ctx, b) }

// Unbind removes a binding: the very same, arguments included.
func (e *Engine) Unbind(ctx context.Context, b actor.Binding) error { return e.system.Unbind(ctx, b) }

// wakeQueues starts all queues there are: in those that nobody uses messages expire, and
// are dead-lettered, when their time has come. Schedules publish whoever uses them.
func (e *Engine) wakeQueues(ctx context.Context) {
	err := errors.Join(
		e.wake(ctx, "meta_queues", func() error { _, err := e.system.Queues(ctx); return err }),
		e.wake(ctx, "meta_schedules", func() error { _, err := e.system.Schedules(ctx); return err }))
	if err != nil && ctx.Err() == nil {
		e.log.Warn("queues or schedules that nobody uses do not start", "error", err)
	}
}
