package topics_test

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// A bounded read: everything that there is now, and no more.
func ExampleTopic_NewReader() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)
	orders := topics.Of[Order]("orders")
	for _, o := range []Order{{"o1", "ada"}, {"o2", "bob"}, {"o3", "ada"}} {
		if err := send(ctx, e, orders, o); err != nil {
			fmt.Println(err)
			return
		}
	}
	reader, err := orders.NewReader(ctx, e, topics.ReadFrom(actor.FromOffset(1)), topics.UntilEnd())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	for entry, err := range reader.All(ctx) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("offset %d: order %s of %s\n", entry.Offset, entry.Value.ID, entry.Value.Customer)
	}
	// Output:
	// offset 1: order o2 of bob
	// offset 2: order o3 of ada
}

// One record, by its place.
func ExampleReader_At() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)
	orders := topics.Of[Order]("orders")
	if err := send(ctx, e, orders, Order{"o1", "ada"}); err != nil {
		fmt.Println(err)
		return
	}
	reader, err := orders.NewReader(ctx, e)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	entry, err := reader.At(ctx, 0, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("order", entry.Value.ID)
	if _, err := reader.At(ctx, 0, 1); err != nil {
		fmt.Println(err)
	}
	// Output:
	// order o1
	// read one record: topic orders, partition 0: offset 1 is out of range: it holds offsets from 0 to before 1
}

// Going back in one partition, while another waits.
func ExampleReader_Seek() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)
	orders := topics.Of[Order]("orders").Partitions(2)
	if err := send(ctx, e, orders, Order{"o1", "ada"}); err != nil {
		fmt.Println(err)
		return
	}
	reader, err := orders.NewReader(ctx, e)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	for range 2 {
		entry, err := reader.Next(ctx)
		if err == nil {
			fmt.Println("order", entry.Value.ID)
			err = reader.Seek(ctx, entry.Partition, actor.FromBeginning())
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// order o1
	// order o1
}
