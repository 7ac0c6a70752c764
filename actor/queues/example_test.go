package queues_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/queues"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// bar is an engine, for the purposes of an example.
type bar struct{ system *actor.System }

func (b bar) System() *actor.System { return b.system }

type Order struct{ ID, Drink string }

// Orders are routed to a queue by what they are for. A worker that fails gets them again;
// what fails too often is put aside.
func ExampleQueue_Consume() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)

	orders := queues.ExchangeOf[Order]("orders").Type(actor.TopicExchange).
		RoutedBy(func(o Order) string { return "orders." + o.Drink })
	coffee := queues.Of[Order]("coffee").From(orders, "orders.coffee").
		Configure(func(c *actor.QueueConfig) { c.DeliveryLimit = 3 })

	done := make(chan struct{})
	barista, err := coffee.Consume(ctx, e, func(_ context.Context, d *queues.Delivery[Order]) error {
		if d.Attempt() == 1 {
			return errors.New("the machine is cold")
		}
		fmt.Printf("%s at attempt %d (%s)\n", d.Value.ID, d.Attempt(), d.Cause())
		close(done)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	publisher, err := orders.NewPublisher(ctx, e)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := publisher.Send(ctx, Order{"o1", "coffee"})
	fmt.Println("queues:", c.Queues, err)
	_, err = publisher.Send(ctx, Order{"o2", "tea"})
	fmt.Println("tea:", errors.Is(err, actor.ErrUnroutable))
	<-done
	if err := errors.Join(barista.Close(ctx), publisher.Close(ctx)); err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// queues: 1 <nil>
	// tea: true
	// o1 at attempt 2 (failed)
}
