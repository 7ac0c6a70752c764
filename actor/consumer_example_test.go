package actor_test

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// A consumer of one partition handles its records in order. When it is closed, it
// has committed what it did: the next one of its group goes on from there.
func ExampleSystem_NewConsumer() {
	ctx := context.Background()
	system := actor.NewSystem(storagefake.New())
	defer system.Close(ctx)

	orders, err := system.Declare(ctx, "orders", actor.TopicConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	publisher, err := orders.NewPublisher(ctx, actor.PublisherOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer publisher.Close(ctx)
	for _, text := range []string{"two espressos", "a cake"} {
		if _, err := publisher.PublishSync(ctx, actor.AnyPartition, &actor.Record{Value: []byte(text), Time: actor.NoTime}); err != nil {
			fmt.Println(err)
			return
		}
	}

	served := make(chan struct{}, 2)
	waiter, err := system.NewConsumer(ctx, actor.ConsumerOptions{Group: "waiters", Topics: []string{"orders"}},
		func(_ context.Context, d *actor.Delivery) error {
			fmt.Printf("offset %d: %s\n", d.Offset, d.Value)
			served <- struct{}{}
			return nil
		})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-served
	<-served
	if err := waiter.Close(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("done")
	// Output:
	// offset 0: two espressos
	// offset 1: a cake
	// done
}
