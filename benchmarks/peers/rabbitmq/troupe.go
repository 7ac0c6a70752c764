package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// troupePeer is an engine in this process: the way its users begin.
type troupePeer struct {
	engine    *runtime.Engine
	dir       string
	title     string
	transient bool // messages are confirmed before they are synced
}

func openTroupe(ctx context.Context, at place, name string) (peer, error) {
	t := &troupePeer{dir: filepath.Join(at.dir, name), title: name, transient: name == "troupe-no-sync"}
	return t, t.open(ctx)
}

func (t *troupePeer) open(ctx context.Context) error {
	e, err := runtime.Open(ctx, runtime.DataDir(t.dir), runtime.Logger(slog.New(slog.DiscardHandler)))
	if err == nil {
		t.engine = e
	}
	return err
}

// clear begins anew: messages are kept for replays when their queue has gone, and a run
// would fill a disk.
func (t *troupePeer) clear(ctx context.Context) error {
	if err := errors.Join(t.engine.Close(ctx), os.RemoveAll(t.dir)); err != nil {
		return err
	}
	return t.open(ctx)
}

func (t *troupePeer) name() string             { return t.title }
func (t *troupePeer) speed() int               { return 10 }
func (t *troupePeer) idle() int                { return idleQueues }
func (t *troupePeer) processor() time.Duration { return 0 } // it is this process
func (t *troupePeer) resident() int64          { return residentOf(os.Getpid()) }
func (t *troupePeer) close()                   { _ = t.engine.Close(context.Background()) }

func (t *troupePeer) declare(ctx context.Context, queue string, bindings []string) error {
	sys := t.engine.System()
	if _, err := sys.DeclareQueue(ctx, queue, actor.QueueConfig{}); err != nil || len(bindings) == 0 {
		return err
	}
	if _, err := sys.DeclareExchange(ctx, exchangeOf(queue), actor.ExchangeConfig{Type: actor.TopicExchange}); err != nil {
		return err
	}
	return sideBySide(ctx, bindings, func(ctx context.Context, pattern string) error {
		return sys.Bind(ctx, actor.Binding{Exchange: exchangeOf(queue), Queue: queue, RoutingKey: pattern})
	})
}

func (t *troupePeer) remove(ctx context.Context, queues ...string) error {
	sys := t.engine.System()
	return sideBySide(ctx, queues, func(ctx context.Context, name string) error {
		q, err := sys.Queue(ctx, name)
		if err == nil {
			err = q.Delete(ctx, actor.QueueDelete{})
		}
		if err != nil {
			return err
		}
		if _, err := sys.Exchange(ctx, exchangeOf(name)); errors.Is(err, actor.ErrNoExchange) {
			return nil
		}
		return sys.DeleteExchange(ctx, exchangeOf(name), false)
	})
}

func (t *troupePeer) left(ctx context.Context, queue string) (int, error) {
	q, err := t.engine.System().Queue(ctx, queue)
	if err != nil {
		return 0, err
	}
	stats, err := q.Stats(ctx)
	return int(stats.Live), errors.Join(err, stats.Err)
}

func (t *troupePeer) publisher(ctx context.Context, exchange string, window int) (publisher, error) {
	to, err := t.engine.System().Exchange(ctx, exchange)
	if err != nil {
		return nil, err
	}
	p, err := to.NewPublisher(ctx, actor.ExchangePublisherOptions{})
	return &troupePublisher{ExchangePublisher: p, window: newWindow(window), message: actor.Message{Transient: t.transient}}, err
}

type troupePublisher struct {
	*actor.ExchangePublisher
	window  *window
	message actor.Message // used again for each: Publish has taken it over when it returns
}

func (p *troupePublisher) publish(ctx context.Context, key string, body []byte, done func(error)) error {
	if err := p.window.take(ctx, nil); err != nil {
		return err
	}
	p.message.RoutingKey, p.message.Body = key, body
	return p.PublishFunc(ctx, &p.message, func(_ actor.Confirmation, err error) {
		done(err)
		p.window.give()
	})
}

func (p *troupePublisher) flush(ctx context.Context) error { return p.window.empty(ctx, nil) }
func (p *troupePublisher) close()                          { _ = p.Close(context.Background()) }

func (t *troupePeer) consume(ctx context.Context, o consuming) error {
	q, err := t.engine.System().Queue(ctx, o.queue)
	if err != nil {
		return err
	}
	hands := troupeConsumer{consuming: o}
	options := actor.ConsumeOptions{Prefetch: o.prefetch}
	handler := hands.handleOne
	if o.ackEvery > 1 {
		options.ManualAck, handler = true, hands.handleMany
	}
	c, err := q.Consume(ctx, options, handler)
	if err != nil {
		return err
	}
	select {
	case <-o.until:
		err = hands.ack()
	case <-c.Ended():
		err = c.Err()
	case <-ctx.Done():
		err = ctx.Err()
	}
	// Close returns when the acknowledgements are durable.
	return errors.Join(err, c.Close(context.WithoutCancel(ctx)))
}

type troupeConsumer struct {
	consuming
	mu   sync.Mutex
	last *actor.QueueDelivery // that was handled
	open int                  // messages up to it that are not acknowledged
}

// handleOne acknowledges its message by returning.
func (c *troupeConsumer) handleOne(_ context.Context, d *actor.QueueDelivery) error {
	c.handle(d.Body())
	return nil
}

func (c *troupeConsumer) handleMany(_ context.Context, d *actor.QueueDelivery) error {
	c.mu.Lock() // before it is handled: the last message of all ends the consumer
	c.last, c.open = d, c.open+1
	full := c.open == c.ackEvery
	c.mu.Unlock()
	c.handle(d.Body())
	if full {
		return c.ack()
	}
	return nil
}

func (c *troupeConsumer) ack() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == 0 {
		return nil
	}
	c.open = 0
	return c.last.AckAll()
}
