package main

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbit is one kind of queue of a broker. Each publisher and each consumer has a
// connection of its own, as RabbitMQ's guides advise.
type rabbit struct {
	*broker
	title     string
	arguments amqp.Table
	admin     *amqp.Connection

	mu    sync.Mutex
	stale []*line // of consumers that have done their work
}

func openRabbit(b *broker, name string) (peer, error) {
	r := &rabbit{broker: b, title: name}
	if name == "rabbitmq-quorum" {
		r.arguments = amqp.Table{"x-queue-type": "quorum"}
	}
	var err error
	r.admin, err = amqp.Dial(b.url)
	return r, err
}

func (r *rabbit) name() string { return r.title }
func (r *rabbit) speed() int   { return 1 }
func (r *rabbit) idle() int {
	if r.arguments != nil {
		return idleQueues / 10 // each is a Raft group: ten thousand take minutes
	}
	return idleQueues
}
func (r *rabbit) processor() time.Duration    { return processorOf(r.pid) }
func (r *rabbit) resident() int64             { return residentOf(r.pid) }
func (r *rabbit) clear(context.Context) error { return nil } // the broker does that by itself

func (r *rabbit) close() {
	r.hangUp()
	_ = r.admin.Close()
}

// onChannel calls f with a channel of its own: an error would close one that is shared.
func (r *rabbit) onChannel(f func(*amqp.Channel) error) error {
	c, err := r.admin.Channel()
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close())
}

// declare does not wait for each binding: the last, made again, tells that all are there.
func (r *rabbit) declare(_ context.Context, queue string, bindings []string) error {
	return r.onChannel(func(c *amqp.Channel) error {
		if _, err := c.QueueDeclare(queue, true, false, false, false, r.arguments); err != nil || len(bindings) == 0 {
			return err
		}
		if err := c.ExchangeDeclare(exchangeOf(queue), amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return err
		}
		for _, pattern := range bindings {
			if err := c.QueueBind(queue, pattern, exchangeOf(queue), true, nil); err != nil {
				return err
			}
		}
		return c.QueueBind(queue, bindings[len(bindings)-1], exchangeOf(queue), false, nil)
	})
}

func (r *rabbit) remove(_ context.Context, queues ...string) error {
	return r.onChannel(func(c *amqp.Channel) error {
		for _, queue := range queues {
			if _, err := c.QueueDelete(queue, false, false, false); err != nil {
				return err
			}
			if err := c.ExchangeDelete(exchangeOf(queue), false, false); err != nil { // none is no error
				return err
			}
		}
		return nil
	})
}

// settleTime is what a quorum queue is given to apply acknowledgements that a channel
// has taken. Those that wait in a channel when it closes are lost, and their messages
// given back (github.com/rabbitmq/rabbitmq-server/issues/10327): after a consumer that
// hangs up at once, some would be left.
const settleTime = time.Second

func (r *rabbit) left(ctx context.Context, queue string) (n int, err error) {
	if r.arguments != nil {
		sleep(settleTime)
	}
	r.hangUp()
	err = r.onChannel(func(c *amqp.Channel) error {
		q, err := c.QueueDeclarePassive(queue, true, false, false, false, r.arguments)
		n = q.Messages
		return err
	})
	return n, errors.Join(err, ctx.Err())
}

func (r *rabbit) hangUpLater(l *line) {
	l.keep()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = append(r.stale, l)
}

func (r *rabbit) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.stale {
		l.hangUp()
	}
	r.stale = nil
}

// line is a channel on a connection of its own.
type line struct {
	*amqp.Channel
	connection *amqp.Connection
	keep       func() bool // lets the connection outlive the context
}

// dial returns a line that ends with the context.
func (r *rabbit) dial(ctx context.Context) (*line, error) {
	connection, err := amqp.Dial(r.url)
	if err != nil {
		return nil, err
	}
	l := &line{connection: connection, keep: context.AfterFunc(ctx, func() { _ = connection.Close() })}
	if l.Channel, err = connection.Channel(); err != nil {
		l.hangUp()
	}
	return l, err
}

func (l *line) hangUp() {
	l.keep()
	_ = l.connection.Close()
}
