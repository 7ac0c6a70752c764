package main

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitPublisher publishes in confirm mode. Its confirms come in the order of the
// messages: the client sees to that.
type rabbitPublisher struct {
	*line
	exchange string
	key      string        // that reaches the queue where it has no exchange of its own
	window   chan struct{} // holds one for each message that is unconfirmed
	waiting  []func(error) // of message n at n modulo the window
	sent     int           // messages so far
	ended    chan struct{} // closed when no more confirms will come
}

var (
	errHungUp       = errors.New("the connection ended while messages were unconfirmed")
	errNotConfirmed = errors.New("the broker did not take a message")
)

func (r *rabbit) publisher(ctx context.Context, queue string, window int) (publisher, error) {
	bound, err := r.bound(queue)
	if err != nil {
		return nil, err
	}
	l, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.Confirm(false); err != nil {
		l.hangUp()
		return nil, err
	}
	p := &rabbitPublisher{line: l, key: queue, window: make(chan struct{}, window), waiting: make([]func(error), window), ended: make(chan struct{})}
	if bound {
		p.exchange = exchangeOf(queue)
	}
	go p.confirmed(l.NotifyPublish(make(chan amqp.Confirmation, window)))
	return p, nil
}

// bound tells whether a queue has an exchange of its own.
func (r *rabbit) bound(queue string) (bool, error) {
	err := r.onChannel(func(c *amqp.Channel) error {
		return c.ExchangeDeclarePassive(exchangeOf(queue), amqp.ExchangeTopic, true, false, false, false, nil)
	})
	var refused *amqp.Error
	if errors.As(err, &refused) && refused.Code == amqp.NotFound {
		return false, nil
	}
	return err == nil, err
}

func (p *rabbitPublisher) publish(ctx context.Context, key string, body []byte, done func(error)) error {
	select {
	case p.window <- struct{}{}:
	case <-p.ended:
		return errHungUp
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.exchange == "" {
		key = p.key
	}
	p.sent++
	p.waiting[p.sent%len(p.waiting)] = done
	return p.PublishWithContext(ctx, p.exchange, key, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
}

func (p *rabbitPublisher) confirmed(confirms <-chan amqp.Confirmation) {
	defer close(p.ended)
	for c := range confirms {
		var err error
		if !c.Ack {
			err = errNotConfirmed
		}
		p.waiting[c.DeliveryTag%uint64(len(p.waiting))](err)
		<-p.window
	}
}

// flush takes the whole window: then nothing is unconfirmed.
func (p *rabbitPublisher) flush(ctx context.Context) error {
	for range cap(p.window) {
		select {
		case p.window <- struct{}{}:
		case <-p.ended:
			return errHungUp
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range cap(p.window) {
		<-p.window
	}
	return nil
}

func (p *rabbitPublisher) close() {
	p.hangUp()
	<-p.ended
}
