package main

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
)

var errConsumerEnded = errors.New("the broker ended the consumer")

func (r *rabbit) consume(ctx context.Context, o consuming) error {
	l, err := r.dial(ctx)
	if err != nil {
		return err
	}
	c := rabbitConsumer{consuming: o, line: l}
	if err := c.run(ctx); err != nil {
		l.hangUp()
		return err
	}
	r.hangUpLater(l)
	return nil
}

type rabbitConsumer struct {
	consuming
	*line
	last uint64 // tag that was handled
	open int    // messages up to it that are not acknowledged
}

func (c *rabbitConsumer) run(ctx context.Context) error {
	if err := c.Qos(c.prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := c.Consume(c.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	if err := c.handleAll(ctx, deliveries); err != nil {
		return err
	}
	// The answer tells that the channel has taken the acknowledgements before it.
	return c.Qos(c.prefetch, 0, false)
}

func (c *rabbitConsumer) handleAll(ctx context.Context, deliveries <-chan amqp.Delivery) error {
	for {
		select {
		case d, more := <-deliveries:
			if !more {
				return errors.Join(ctx.Err(), errConsumerEnded)
			}
			c.handle(d.Body)
			c.last, c.open = d.DeliveryTag, c.open+1
			if c.open == c.ackEvery {
				if err := c.ack(); err != nil {
					return err
				}
			}
		case <-c.until:
			return c.ack()
		}
	}
}

func (c *rabbitConsumer) ack() error {
	if c.open == 0 {
		return nil
	}
	multiple := c.open > 1
	c.open = 0
	return c.Ack(c.last, multiple)
}
