package topics_test

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

type Order struct {
	ID       string
	Customer string
}

// An engine does the opening, writing and reading; here it is done by hand.
func ExampleOf() {
	orders := topics.Of[Order]("orders").
		Partitions(2).
		KeyedBy(func(o Order) []byte { return []byte(o.Customer) })
	in, out := sources.Topic(orders), sinks.Topic(orders)

	sys := actor.NewSystem(storagefake.New())
	defer sys.Close(context.Background())
	ctx := actor.WithSystem(context.Background(), sys)

	w, err := out.Open(ctx, topology.SinkOpen{Job: "shop", Sink: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := &topology.Batch[Order]{Values: []Order{{"o1", "ada"}, {"o2", "bob"}, {"o3", "ada"}}}
	if err := w.Write(ctx, batch); err != nil {
		fmt.Println(err)
	}
	if _, err := w.Prepare(ctx, 1); err != nil { // all are acknowledged
		fmt.Println(err)
	}
	w.Close()

	splits, err := in.Splits(ctx)
	fmt.Println("partitions:", splits, err)
	for _, split := range splits {
		r, err := in.Open(ctx, topology.OpenRequest{Split: split, Until: topology.Until{End: true}})
		if err != nil {
			fmt.Println(err)
			return
		}
		b := new(topology.Batch[Order])
		for err == nil {
			err = r.Read(ctx, b, 10+b.Len())
		}
		fmt.Println(split, b.Values, "up to offset", string(r.Position()))
		r.Close()
	}
	// Output:
	// partitions: [0 1] <nil>
	// 0 [{o2 bob}] up to offset 1
	// 1 [{o1 ada} {o3 ada}] up to offset 2
}
