package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
)

// Order is what the topic holds, as JSON.
type Order struct {
	ID     string `json:"order_id"`
	Amount int    `json:"amount"`
}

const partitions = 2

var orders = topics.Of[Order]("orders").Partitions(partitions).AsJSON()

// story has both groups join, publishes, and prints what each group saw of it.
func story(ctx context.Context, engine *runtime.Engine, out io.Writer) (err error) {
	producer, err := orders.NewProducer(ctx, engine, topics.RoundRobin())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close(context.WithoutCancel(ctx))) }()

	var groups []*group
	defer func() {
		for _, g := range groups {
			err = errors.Join(err, g.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, of := range []struct {
		name    string
		members []string
	}{{"fulfillment-service", []string{"A1", "A2"}}, {"analytics-service", []string{"B1", "B2"}}} {
		g, err := join(ctx, engine, of.name, of.members)
		groups = append(groups, g)
		if err != nil {
			return err
		}
	}

	if err := diagram(ctx, producer, out); err != nil {
		return err
	}
	if err := snippet(ctx, producer, out); err != nil {
		return err
	}
	for _, g := range groups {
		if err := g.report(ctx, out); err != nil {
			return err
		}
	}
	return nil
}

// diagram publishes records without keys, which go to the partitions in turn.
func diagram(ctx context.Context, producer *topics.Producer[Order], out io.Writer) error {
	var lines [partitions][]string
	for i := range 8 {
		o := Order{ID: fmt.Sprintf("msg%d", i+1), Amount: 100 * (i + 1)}
		at, err := producer.Send(ctx, o)
		if err != nil {
			return err
		}
		lines[at.Partition] = append(lines[at.Partition], o.ID)
	}
	fmt.Fprintln(out, "Topic: orders")
	for i, ids := range lines {
		fmt.Fprintf(out, "  Partition %d: [%s]\n", i, strings.Join(ids, ", "))
	}
	return nil
}

// snippet publishes the article's two orders, each under its id as the key.
func snippet(ctx context.Context, producer *topics.Producer[Order], out io.Writer) error {
	var sent []actor.Future
	for _, o := range []Order{{"ord_123", 4999}, {"ord_124", 12000}} {
		f, err := producer.Publish(ctx, topics.Message[Order]{Key: []byte(o.ID), Value: o})
		if err != nil {
			return err
		}
		sent = append(sent, f)
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	for _, f := range sent { // Flush waits; whether it went well, the futures know
		if _, err := f.Wait(ctx); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, "Events published")
	return err
}
