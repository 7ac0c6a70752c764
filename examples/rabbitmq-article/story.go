package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

const body = `{"order_id": "ord_123", "amount": 4999}`

// story publishes and consumes as the article does, and then what it only tells of.
func story(ctx context.Context, engine *runtime.Engine, out io.Writer) (err error) {
	// channel.exchange_declare(exchange="orders", exchange_type="topic")
	exchange, err := engine.DeclareExchange(ctx, "orders", actor.ExchangeConfig{Type: actor.TopicExchange})
	if err != nil {
		return err
	}
	publisher, err := exchange.NewPublisher(ctx, actor.ExchangePublisherOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close(context.WithoutCancel(ctx))) }()
	queue, err := bound(ctx, engine)
	if err != nil {
		return err
	}
	for _, tell := range []func(context.Context, *actor.ExchangePublisher, *actor.Queue, io.Writer) error{snippets, nobody, crash} {
		if err := tell(ctx, publisher, queue, out); err != nil {
			return err
		}
	}
	return types(ctx, engine, out)
}

// bound is the queue of the article. It comes before the first message does.
func bound(ctx context.Context, engine *runtime.Engine) (*actor.Queue, error) {
	// channel.queue_declare(queue="order_fulfillment", durable=True)
	queue, err := engine.DeclareQueue(ctx, "order_fulfillment", actor.QueueConfig{})
	if err != nil {
		return nil, err
	}
	// channel.queue_bind(exchange="orders", queue="order_fulfillment", routing_key="orders.created")
	return queue, engine.Bind(ctx, actor.Binding{Exchange: "orders", Queue: "order_fulfillment", RoutingKey: "orders.created"})
}

// snippets are the article's.
func snippets(ctx context.Context, publisher *actor.ExchangePublisher, queue *actor.Queue, out io.Writer) error {
	// channel.basic_publish(exchange="orders", routing_key="orders.created", body=…)
	id, err := publish(ctx, publisher, out)
	if err != nil {
		return err
	}
	// channel.basic_qos(prefetch_count=1)
	// channel.basic_consume(queue="order_fulfillment", on_message_callback=callback)
	received := make(chan error, 1)
	consumer, err := queue.Consume(ctx, actor.ConsumeOptions{Prefetch: 1, ManualAck: true}, func(ctx context.Context, d *actor.QueueDelivery) error {
		fmt.Fprintf(out, "Received: %s\n", d.Body())
		err := d.AckSync(ctx) // ack = "I processed this"
		if err != nil || d.MessageID() == id {
			received <- err // channel.start_consuming() would go on for ever
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(await(ctx, received), consumer.Close(context.WithoutCancel(ctx)))
}

// publish publishes the article's message, and returns the id that it has given it.
func publish(ctx context.Context, publisher *actor.ExchangePublisher, out io.Writer) (id string, err error) {
	id = rand.Text()
	c, err := publisher.PublishSync(ctx, &actor.Message{RoutingKey: "orders.created", MessageID: id, Body: []byte(body)})
	if err == nil {
		_, err = fmt.Fprintf(out, "Message published to %d queue\n", c.Queues)
	}
	return id, err
}

// nobody publishes what no queue is bound for.
func nobody(ctx context.Context, publisher *actor.ExchangePublisher, _ *actor.Queue, out io.Writer) error {
	_, err := publisher.PublishSync(ctx, &actor.Message{RoutingKey: "orders.cancelled", Body: []byte(body)})
	if !errors.Is(err, actor.ErrUnroutable) {
		return fmt.Errorf("a message for nobody is not refused: %v", err)
	}
	_, err = fmt.Fprintln(out, "Message refused:", actor.ErrUnroutable)
	return err
}

// crash has a consumer leave without an acknowledgement, and another take over.
func crash(ctx context.Context, publisher *actor.ExchangePublisher, queue *actor.Queue, out io.Writer) error {
	if _, err := publish(ctx, publisher, out); err != nil {
		return err
	}
	for _, name := range []string{"A", "B"} {
		consumer, err := queue.Subscribe(ctx, actor.ConsumeOptions{Name: name, Prefetch: 1, DrainTimeout: time.Millisecond})
		if err != nil {
			return err
		}
		d, err := consumer.Next(ctx)
		if err == nil {
			fmt.Fprintf(out, "  %s received: %s, attempt %d, redelivered: %t\n", name, d.Body(), d.Attempt(), d.Redelivered())
			if name == "B" {
				err = d.AckSync(ctx)
			} else {
				fmt.Fprintf(out, "  %s is gone without an ack\n", name)
			}
		}
		if err = errors.Join(err, consumer.Close(ctx)); err != nil {
			return err
		}
	}
	s, err := queue.Stats(ctx)
	if err == nil {
		_, err = fmt.Fprintf(out, "  %d messages wait\n", s.Live)
	}
	return err
}

// await waits for what a channel yields.
func await(ctx context.Context, c <-chan error) error {
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
