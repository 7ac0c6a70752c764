package topics_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

type Order struct {
	ID       string
	Customer string
}

// A program publishes to a topic, and a job reads what it holds.
func ExampleOf() {
	ctx := context.Background()
	engine, err := runtime.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close(ctx)

	orders := topics.Of[Order]("orders").
		Partitions(2).
		KeyedBy(func(o Order) []byte { return []byte(o.Customer) })
	if err := publish(ctx, engine, orders, Order{"o1", "ada"}, Order{"o2", "bob"}, Order{"o3", "ada"}); err != nil {
		fmt.Println(err)
		return
	}

	b := topology.New("last-orders")
	placed := topology.From(b, "orders", sources.Topic(orders))
	byCustomer := topology.KeyBy(placed, "by-customer", func(o Order) string { return o.Customer })
	lists := topology.Fold(byCustomer, "list", func(_, list string, o Order) string { return strings.TrimSpace(list + " " + o.ID) })
	out := sinks.Slice[string]()
	topology.To(lists, "out", topology.Sink[string](out))
	if _, err := engine.Run(ctx, b, runtime.UntilEnd()); err != nil {
		fmt.Println(err)
		return
	}
	for _, list := range out.Values() {
		fmt.Println(list)
	}
	// Unordered output:
	// o1
	// o2
	// o1 o3
}

func publish(ctx context.Context, engine *runtime.Engine, topic topics.Topic[Order], orders ...Order) error {
	producer, err := topic.NewProducer(ctx, engine)
	if err != nil {
		return err
	}
	for _, o := range orders {
		if _, err := producer.Send(ctx, o); err != nil {
			return err
		}
	}
	return producer.Close(ctx)
}
