package actor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// letter dead-letters a draft that a full queue does not take.
func (p *ExchangePublisher) letter(ctx context.Context, d *draft, q *queueInfo) (sending, error) {
	c := q.config()
	exchange, key, _ := c.deadLetters()
	if d.envelope.Hops >= c.MaxHops {
		return nil, q.admission.named(fmt.Errorf("%w, and the message was dead-lettered %d times: MaxHops is %d", ErrQueueFull, d.envelope.Hops, c.MaxHops))
	}
	to, err := p.d.inside(ctx, exchange)
	if err != nil {
		return nil, q.admission.named(fmt.Errorf("%w, and what it does not take cannot be dead-lettered: %w", ErrQueueFull, err))
	}
	p.letters.put(exchange, to)
	now := time.Now().UnixMilli()
	e := d.envelope
	e.Queues, e.Expires, e.Deaths = nil, 0, slices.Clone(e.Deaths)
	e.Died(envelope.Death{Queue: q.name, Reason: uint8(queue.ReasonMaxLength), Count: 1, First: now, Last: now, Exchange: e.Exchange,
		RoutingKeys: append([]string{e.RoutingKey}, e.CC...)}, envelope.Origin{Queue: q.name, Exchange: e.Exchange, RoutingKey: e.RoutingKey})
	if key != "" {
		e.RoutingKey, e.CC = key, nil
	}
	r := Record{Key: d.record.Key, Value: d.record.Value, Headers: d.headers, Time: d.record.Time}
	return func(done func(Published, error)) (Receipt, error) {
		told := func(_ Confirmation, err error) { done(Published{}, err) }
		receipt, err := to.publishInside(ctx, &e, &r, told)
		if err != nil {
			err = q.admission.named(fmt.Errorf("%w, and what it does not take cannot be dead-lettered: %w", ErrQueueFull, err))
		}
		return receipt, err
	}, nil
}

// publishInside publishes a message that was published before, as a dead letter, say: e
// is its envelope, but for the queues and the exchange, and r its record, with the headers
// of its user. It may enter internal exchanges, and its id may be known already. It is
// PublishFunc and Publish in one, and the error of a message that nobody takes is an
// ErrUnroutable.
func (p *ExchangePublisher) publishInside(ctx context.Context, e *envelope.Envelope, r *Record, done func(Confirmation, error)) (Receipt, error) {
	d := p.drafts.Get().(*draft)
	defer d.back(p)
	d.copy(e, r, p.exchange.name)
	receipt, err := p.send(ctx, d, done)
	if err != nil {
		err = fmt.Errorf("publish to exchange %q: %w", p.exchange.name, err)
	}
	return receipt, err
}

// publishTo publishes a message to a queue, from the default exchange, and leaves what it
// says of the exchange and the routing keys that it had come by: where it is moved to it is
// the same message.
func (p *ExchangePublisher) publishTo(ctx context.Context, queue string, e *envelope.Envelope, r *Record) (Receipt, error) {
	d := p.drafts.Get().(*draft)
	defer d.back(p)
	d.copy(e, r, e.Exchange)
	d.message.Key, d.message.CC = queue, nil
	receipt, err := p.send(ctx, d, nil)
	if err != nil {
		err = fmt.Errorf("publish to queue %q: %w", queue, err)
	}
	return receipt, err
}

// inside returns the publisher of the system itself to an exchange. It waits for no room.
func (d *queueDirectory) inside(ctx context.Context, exchange string) (*ExchangePublisher, error) {
	if p, ok := d.insiders.get(exchange); ok && !p.exchange.gone.Load() {
		return p, nil
	}
	x, err := d.exchange(exchange)
	if err != nil {
		return nil, err
	}
	p, err := newExchangePublisher(ctx, d, x, ExchangePublisherOptions{FailFast: true, inside: true})
	if err != nil {
		return nil, err
	}
	// Of two that were made at the same time one goes unused: it has nothing to close.
	return d.insiders.putFirst(exchange, p, func(has *ExchangePublisher) bool { return has.exchange.gone.Load() }), nil
}

// close ends the publishers of the system itself. What they have not stored by then they
// would try in vain.
func (o *directories) close() {
	d := o.open.Load()
	if d == nil {
		return
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for _, p := range d.insiders.all() {
		_ = p.Close(now) // whoever waits for a message is told
	}
}
