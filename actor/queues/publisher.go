package queues

import (
	"context"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
)

// Message is a value with what goes along with it. What is set in the actor.Message counts
// more than what the exchange's functions say; Body is that of the value.
type Message[T any] struct {
	actor.Message
	Value T
}

// PublisherOption configures a Publisher.
type PublisherOption func(*actor.ExchangePublisherOptions)

// DropUnroutable drops and counts messages that no binding matches. Without it they are
// an actor.ErrUnroutable.
func DropUnroutable() PublisherOption {
	return func(o *actor.ExchangePublisherOptions) { o.Unroutable = actor.DropUnroutable }
}

// WaitWhenFull has Send wait, within its context, where a queue is full or paused.
func WaitWhenFull() PublisherOption {
	return func(o *actor.ExchangePublisherOptions) { o.WaitWhenFull = true }
}

// Publishing sets what there is no option for.
func Publishing(f func(*actor.ExchangePublisherOptions)) PublisherOption { return f }

// Publisher publishes values to an exchange: see actor.ExchangePublisher. It is safe for
// concurrent use.
type Publisher[T any] struct {
	*actor.ExchangePublisher
	exchange Exchange[T]
	buffers  sync.Pool // of *[]byte
}

// NewPublisher returns a publisher to the exchange, which is declared if need be. Close
// it.
func (x Exchange[T]) NewPublisher(ctx context.Context, e Engine, opts ...PublisherOption) (*Publisher[T], error) {
	handle, err := x.Declare(ctx, e)
	if err != nil {
		return nil, err
	}
	var o actor.ExchangePublisherOptions
	for _, opt := range opts {
		opt(&o)
	}
	p, err := handle.NewPublisher(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Publisher[T]{ExchangePublisher: p, exchange: x, buffers: sync.Pool{New: func() any { return new([]byte) }}}, nil
}

// NewPublisher returns a publisher to this queue alone, by the default exchange. The queue
// is declared if need be, with its bindings.
func (q Queue[T]) NewPublisher(ctx context.Context, e Engine, opts ...PublisherOption) (*Publisher[T], error) {
	if _, err := q.Declare(ctx, e); err != nil {
		return nil, err
	}
	name := q.name
	x := ExchangeOf[T]("").StoredAs(q.codec).RoutedBy(func(T) string { return name })
	return x.NewPublisher(ctx, e, opts...)
}

// Send publishes a value, and waits until it is durable.
func (p *Publisher[T]) Send(ctx context.Context, v T) (actor.Confirmation, error) {
	return p.SendMessage(ctx, &Message[T]{Value: v})
}

// SendMessage publishes a value with what goes along with it, and waits until it is
// durable.
func (p *Publisher[T]) SendMessage(ctx context.Context, m *Message[T]) (actor.Confirmation, error) {
	r, err := p.PublishMessage(ctx, m)
	if err != nil {
		return actor.Confirmation{}, err
	}
	return r.Wait(ctx)
}

// Publish begins to publish a value, and returns what becomes of it. It waits only for
// room.
func (p *Publisher[T]) Publish(ctx context.Context, v T) (actor.Receipt, error) {
	return p.PublishMessage(ctx, &Message[T]{Value: v})
}

// PublishMessage begins to publish a value with what goes along with it.
func (p *Publisher[T]) PublishMessage(ctx context.Context, m *Message[T]) (r actor.Receipt, err error) {
	err = p.with(m, func(raw *actor.Message) (err error) {
		r, err = p.ExchangePublisher.Publish(ctx, raw)
		return err
	})
	return r, err
}

// Request publishes a value and waits for the reply, within ctx: see
// actor.ExchangePublisher.Request.
func (p *Publisher[T]) Request(ctx context.Context, v T) (reply *actor.Message, err error) {
	err = p.with(&Message[T]{Value: v}, func(raw *actor.Message) (err error) {
		reply, err = p.ExchangePublisher.Request(ctx, raw)
		return err
	})
	return reply, err
}

// with calls f with the message as it is to be published, which is copied there.
func (p *Publisher[T]) with(m *Message[T], f func(*actor.Message) error) error {
	buffer := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buffer)
	raw := m.Message
	if err := p.encode(&raw, m.Value, buffer); err != nil {
		return fmt.Errorf("publish to exchange %q: the value cannot be encoded: %w", p.exchange.name, err)
	}
	return f(&raw)
}

// encode runs code that may be the user's.
func (p *Publisher[T]) encode(m *actor.Message, v T, buffer *[]byte) (err error) {
	defer dataflow.Recovered(&err)
	x := &p.exchange
	if m.RoutingKey == "" && x.route != nil {
		m.RoutingKey = x.route(v)
	}
	if m.Key == nil && x.key != nil {
		m.Key = x.key(v)
	}
	if m.MessageID == "" && x.id != nil {
		m.MessageID = x.id(v)
	}
	m.Body, err = x.codec.Append((*buffer)[:0], v)
	if err == nil {
		*buffer = m.Body
	}
	return err
}
