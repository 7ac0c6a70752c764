package queues

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// ErrUndecodable: the body of a message is not what the queue's codec writes. The message
// is rejected, and the log warns of it, at most once a minute for each queue.
var ErrUndecodable = errors.New("the message cannot be decoded")

// Delivery is a message in the hands of a consumer. The actor.QueueDelivery says all of it
// but the value, and settles it.
type Delivery[T any] struct {
	*actor.QueueDelivery
	Value T
}

// Handler works on a message: see actor.QueueHandler.
type Handler[T any] func(ctx context.Context, d *Delivery[T]) error

// ConsumerOption configures a consumer.
type ConsumerOption func(*actor.ConsumeOptions)

// Name is what the consumer is called where consumers are listed, and in errors. Without it
// "consumer".
func Name(name string) ConsumerOption { return func(o *actor.ConsumeOptions) { o.Name = name } }

// Prefetch is how many messages a consumer has in its hands at most. Without it
// actor.DefaultPrefetch.
func Prefetch(n int) ConsumerOption { return func(o *actor.ConsumeOptions) { o.Prefetch = n } }

// Concurrency is how many handlers run at a time. Without it 1.
func Concurrency(n int) ConsumerOption { return func(o *actor.ConsumeOptions) { o.Concurrency = n } }

// Priority has a consumer be given messages before those of a lower one.
func Priority(n int) ConsumerOption { return func(o *actor.ConsumeOptions) { o.Priority = n } }

// Exclusive refuses other consumers.
func Exclusive() ConsumerOption { return func(o *actor.ConsumeOptions) { o.Exclusive = true } }

// ManualAck leaves it to the handler to settle messages.
func ManualAck() ConsumerOption { return func(o *actor.ConsumeOptions) { o.ManualAck = true } }

// AtMostOnce acknowledges messages before their handler runs.
func AtMostOnce() ConsumerOption { return func(o *actor.ConsumeOptions) { o.AtMostOnce = true } }

// HandlerTimeout ends the context of a handler that takes longer.
func HandlerTimeout(d time.Duration) ConsumerOption {
	return func(o *actor.ConsumeOptions) { o.HandlerTimeout = d }
}

// Listen tells what becomes of a consumer.
func Listen(l actor.ConsumeListener) ConsumerOption {
	return func(o *actor.ConsumeOptions) { o.Listener = l }
}

// Configure sets what there is no option for.
func Configure(f func(*actor.ConsumeOptions)) ConsumerOption { return f }

func consumeOptions(opts []ConsumerOption) (o actor.ConsumeOptions) {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Consume has a handler work on messages of the queue, which is declared if need be, with
// its bindings: see actor.Queue.Consume. Close the consumer, within a context that has
// not ended.
func (q Queue[T]) Consume(ctx context.Context, e Engine, h Handler[T], opts ...ConsumerOption) (*actor.QueueConsumer, error) {
	if h == nil {
		return nil, fmt.Errorf("consume queue %s: there is no handler: to fetch messages, subscribe", q.name)
	}
	handle, err := q.Declare(ctx, e)
	if err != nil {
		return nil, err
	}
	decode := codec.DecoderInto(q.codec)
	return handle.Consume(ctx, consumeOptions(opts), func(ctx context.Context, raw *actor.QueueDelivery) error {
		d := &Delivery[T]{QueueDelivery: raw}
		if err := q.decode(decode, d); err != nil {
			return err
		}
		return h(ctx, d)
	})
}

// decode decodes a value, by a codec that may be the user's.
func (q *Queue[T]) decode(decode func([]byte, *T) error, d *Delivery[T]) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("queue %s, message %v: %w: %w as %s: %w", q.name, d.Position(), actor.ErrReject, ErrUndecodable, q.codec.Name(), err)
		}
	}()
	defer dataflow.Recovered(&err)
	return decode(d.Body(), &d.Value)
}

// Consumer fetches the messages of a queue: see actor.QueueConsumer.
type Consumer[T any] struct {
	*actor.QueueConsumer
	queue  Queue[T]
	decode func([]byte, *T) error
}

// Subscribe makes a consumer whose messages are fetched by Next, and are to be settled.
// The queue is declared if need be, with its bindings. Close the consumer.
func (q Queue[T]) Subscribe(ctx context.Context, e Engine, opts ...ConsumerOption) (*Consumer[T], error) {
	handle, err := q.Declare(ctx, e)
	if err != nil {
		return nil, err
	}
	c, err := handle.Subscribe(ctx, consumeOptions(opts))
	if err != nil {
		return nil, err
	}
	return &Consumer[T]{c, q, codec.DecoderInto(q.codec)}, nil
}

// Next returns the next message. What cannot be decoded is rejected, and passed over.
func (c *Consumer[T]) Next(ctx context.Context) (*Delivery[T], error) {
	for {
		raw, err := c.QueueConsumer.Next(ctx)
		if err != nil {
			return nil, err
		}
		d := &Delivery[T]{QueueDelivery: raw}
		if err = c.queue.decode(c.decode, d); err == nil {
			return d, nil
		}
		_ = raw.RejectFor(err) // refused if the queue has taken it back: then it comes again
	}
}

// Get returns up to n messages, and waits for them no longer than wait: see
// actor.Queue.Get. What cannot be decoded is rejected, and left out.
func (q Queue[T]) Get(ctx context.Context, e Engine, n int, wait time.Duration) ([]*Delivery[T], error) {
	handle, err := q.Declare(ctx, e)
	if err != nil {
		return nil, err
	}
	raw, err := handle.Get(ctx, n, wait)
	if err != nil {
		return nil, err
	}
	decode := codec.DecoderInto(q.codec)
	all := make([]*Delivery[T], 0, len(raw))
	for _, r := range raw {
		d := &Delivery[T]{QueueDelivery: r}
		if err := q.decode(decode, d); err != nil {
			_ = r.RejectFor(err) // as in Next
			continue
		}
		all = append(all, d)
	}
	return all, nil
}
