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
	window   *window
	waiting  []func(error) // of message n at n modulo the window
	ended    chan struct{} // closed when no more confirms will come
}

var (
	errHungUp       = errors.New("the connection ended while messages were unconfirmed")
	errNotConfirmed = errors.New("the broker did not take a message")
)

func (r *rabbit) publisher(ctx context.Context, exchange string, window int) (publisher, error) {
	l, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.Confirm(false); err != nil {
		l.hangUp()
		return nil, err
	}
	p := &rabbitPublisher{line: l, exchange: exchange, window: newWindow(window), waiting: make([]func(error), window), ended: make(chan struct{})}
	go p.confirmed(l.NotifyPublish(make(chan amqp.Confirmation, window)))
	return p, nil
}

func (p *rabbitPublisher) publish(ctx context.Context, key string, body []byte, done func(error)) error {
	if err := p.window.take(ctx, p.ended); err != nil {
		return err
	}
	p.waiting[p.window.taken%p.window.size] = done
	return p.Publish(p.exchange, key, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
}

func (p *rabbitPublisher) confirmed(confirms <-chan amqp.Confirmation) {
	defer close(p.ended)
	for c := range confirms {
		var err error
		if !c.Ack {
			err = errNotConfirmed
		}
		p.waiting[int64(c.DeliveryTag)%p.window.size](err)
		p.window.give()
	}
}

func (p *rabbitPublisher) flush(ctx context.Context) error { return p.window.empty(ctx, p.ended) }

func (p *rabbitPublisher) close() {
	p.hangUp()
	<-p.ended
}
