package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// example is a row of the article's table: an exchange, its bindings, and messages.
type example struct {
	kind     actor.ExchangeType
	behavior string
	bindings []actor.Binding // the exchange is the example's
	messages []actor.Message
}

var examples = []example{
	{actor.Direct, "binding key matches exactly",
		[]actor.Binding{{Queue: "errors", RoutingKey: "error"}, {Queue: "all", RoutingKey: "error"}, {Queue: "all", RoutingKey: "info"}},
		[]actor.Message{{RoutingKey: "error"}, {RoutingKey: "info"}, {RoutingKey: "debug"}}},
	{actor.TopicExchange, "wildcard patterns",
		[]actor.Binding{{Queue: "orders", RoutingKey: "orders.#"}, {Queue: "errors", RoutingKey: "*.error"}},
		[]actor.Message{{RoutingKey: "orders"}, {RoutingKey: "orders.created.eu"}, {RoutingKey: "billing.error"}, {RoutingKey: "orders.error"}, {RoutingKey: "a.b.error"}}},
	{actor.Fanout, "all bound queues",
		[]actor.Binding{{Queue: "e-mail"}, {Queue: "invoice"}, {Queue: "stock"}},
		[]actor.Message{{RoutingKey: "whatever"}}},
	{actor.HeadersExchange, "message headers instead of key",
		[]actor.Binding{
			{Queue: "both", Args: []actor.MessageHeader{actor.HeaderText("x-match", "all"), actor.HeaderText("format", "pdf"), actor.HeaderInt("pages", 1)}},
			{Queue: "either", Args: []actor.MessageHeader{actor.HeaderText("x-match", "any"), actor.HeaderText("format", "pdf"), actor.HeaderInt("pages", 1)}}},
		[]actor.Message{
			{Headers: []actor.MessageHeader{actor.HeaderText("format", "pdf"), actor.HeaderInt("pages", 1)}},
			{Headers: []actor.MessageHeader{actor.HeaderText("format", "pdf"), actor.HeaderInt("pages", 2)}},
			{Headers: []actor.MessageHeader{actor.HeaderText("format", "zip")}}}},
}

// types shows where each type of exchange routes messages.
func types(ctx context.Context, engine *runtime.Engine, out io.Writer) error {
	for _, e := range examples {
		if err := e.show(ctx, engine, out); err != nil {
			return err
		}
	}
	return nil
}

func (e example) name(of string) string { return e.kind.String() + "." + of }

func (e example) show(ctx context.Context, engine *runtime.Engine, out io.Writer) (err error) {
	x, err := engine.DeclareExchange(ctx, e.name("example"), actor.ExchangeConfig{Type: e.kind})
	if err != nil {
		return err
	}
	arrived := make(chan string)
	for _, b := range e.bindings {
		stop, err := e.listen(ctx, engine, b, arrived)
		if err != nil {
			return err
		}
		defer stop()
	}
	p, err := x.NewPublisher(ctx, actor.ExchangePublisherOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) }()
	fmt.Fprintf(out, "%s: %s\n", e.kind, e.behavior)
	for _, m := range e.messages {
		to, err := reached(ctx, p, m, arrived)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s -> [%s]\n", title(m), strings.Join(to, ", "))
	}
	return nil
}

// listen binds a queue, and has a consumer say what comes there.
func (e example) listen(ctx context.Context, engine *runtime.Engine, b actor.Binding, arrived chan<- string) (stop func(), err error) {
	short := b.Queue
	b.Exchange, b.Queue = e.name("example"), e.name(short)
	q, err := engine.DeclareQueue(ctx, b.Queue, actor.QueueConfig{Transient: true})
	if err == nil {
		err = engine.Bind(ctx, b)
	}
	if err != nil {
		return nil, err
	}
	c, err := q.Consume(ctx, actor.ConsumeOptions{}, func(ctx context.Context, _ *actor.QueueDelivery) error {
		select {
		case arrived <- short:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return func() { _ = c.Close(context.WithoutCancel(ctx)) }, err
}

// reached publishes a message and waits until it has come to all the queues that it is for.
func reached(ctx context.Context, p *actor.ExchangePublisher, m actor.Message, arrived <-chan string) (to []string, err error) {
	c, err := p.PublishSync(ctx, &m)
	if errors.Is(err, actor.ErrUnroutable) {
		return nil, nil
	}
	for range c.Queues {
		select {
		case queue := <-arrived:
			to = append(to, queue)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.Sort(to)
	return to, err
}

// title is a message as it is printed.
func title(m actor.Message) string {
	if m.Headers == nil {
		return m.RoutingKey
	}
	var all []string
	for _, h := range m.Headers {
		all = append(all, fmt.Sprintf("%s=%v", h.Name, h.Value))
	}
	return strings.Join(all, " ")
}
