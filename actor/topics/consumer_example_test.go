package topics_test

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// bar is an engine, for the purposes of an example.
type bar struct{ system *actor.System }

func (b bar) System() *actor.System { return b.system }

// A consumer decodes before its handler is called. What cannot be decoded goes to a
// topic of dead letters, and holds nobody up.
func ExampleTopic_NewConsumer() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)

	texts := topics.Of[string]("orders").AsJSON() // somebody writes other things than the readers expect
	orders := topics.Of[Order]("orders").AsJSON()
	for _, publish := range []func() error{
		func() error { return send(ctx, e, orders, Order{"o1", "ada"}) },
		func() error { return send(ctx, e, texts, "gibberish") },
		func() error { return send(ctx, e, orders, Order{"o2", "bob"}) },
	} {
		if err := publish(); err != nil {
			fmt.Println(err)
			return
		}
	}

	served := make(chan struct{}, 2)
	waiter, err := orders.NewConsumer(ctx, e, "waiters", func(_ context.Context, d *topics.Delivery[Order]) error {
		fmt.Printf("offset %d: order %s of %s\n", d.Offset, d.Value.ID, d.Value.Customer)
		served <- struct{}{}
		return nil
	}, topics.Undecodable(actor.DeadLetter("unreadable-orders")))
	if err != nil {
		fmt.Println(err)
		return
	}
	<-served
	<-served
	if err := waiter.Close(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println("dead letters:", waiter.Stats().DeadLetters)
	// Output:
	// offset 0: order o1 of ada
	// offset 2: order o2 of bob
	// dead letters: 1
}

func send[T any](ctx context.Context, e bar, topic topics.Topic[T], v T) error {
	p, err := topic.NewProducer(ctx, e)
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	_, err = p.Send(ctx, v)
	return err
}
