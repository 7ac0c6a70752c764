package actor_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// shop has a topic of three orders.
func shop(ctx context.Context, system *actor.System) error {
	orders, err := system.Declare(ctx, "orders", actor.TopicConfig{})
	if err != nil {
		return err
	}
	publisher, err := orders.NewPublisher(ctx, actor.PublisherOptions{})
	if err != nil {
		return err
	}
	defer publisher.Close(ctx)
	for _, text := range []string{"an espresso", "a cake", "a bill"} {
		if _, err := publisher.PublishSync(ctx, actor.AnyPartition, &actor.Record{Value: []byte(text), Time: actor.NoTime}); err != nil {
			return err
		}
	}
	return nil
}

// serve starts a consumer that prints orders. wait waits for so many.
func serve(ctx context.Context, system *actor.System) (c *actor.Consumer, wait func(n int), err error) {
	var served sync.WaitGroup
	served.Add(3)
	c, err = system.NewConsumer(ctx, actor.ConsumerOptions{Group: "waiters", Topics: []string{"orders"}},
		func(_ context.Context, d *actor.Delivery) error {
			fmt.Printf("%s (%v)\n", d.Value, d.Cause)
			served.Done()
			return nil
		})
	return c, func(n int) {
		served.Wait()
		served.Add(n)
	}, err
}

// The last two orders once more, while the waiter goes on waiting.
func ExampleGroup_Rewind() {
	ctx := context.Background()
	system := actor.NewSystem(storagefake.New())
	defer system.Close(ctx)
	if err := shop(ctx, system); err != nil {
		fmt.Println(err)
		return
	}
	waiter, wait, err := serve(ctx, system)
	if err != nil {
		fmt.Println(err)
		return
	}
	wait(2)
	waiters, err := system.Group("waiters", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := waiter.Commit(ctx); err != nil {
		fmt.Println(err)
		return
	}
	plan, err := waiters.Rewind(ctx, actor.MoveBy(-2), actor.MoveOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	wait(0)
	fmt.Println(plan.Again, "again")
	if err := waiter.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// an espresso (first)
	// a cake (first)
	// a bill (first)
	// a cake (replay)
	// a bill (replay)
	// 2 again
}

// What a reset would do to a group, and that it is refused while somebody is at work.
func ExampleGroup_Reset() {
	ctx := context.Background()
	system := actor.NewSystem(storagefake.New())
	defer system.Close(ctx)
	if err := shop(ctx, system); err != nil {
		fmt.Println(err)
		return
	}
	waiter, wait, err := serve(ctx, system)
	if err != nil {
		fmt.Println(err)
		return
	}
	wait(0)
	waiters, err := system.Group("waiters", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = waiters.Reset(ctx, actor.MoveTo(actor.FromBeginning()), actor.MoveOptions{})
	fmt.Println("refused:", err != nil)
	if err := waiter.Close(ctx); err != nil {
		fmt.Println(err)
		return
	}
	plan, err := waiters.Reset(ctx, actor.MoveTo(actor.FromOffset(1)), actor.MoveOptions{DryRun: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range plan.Changes {
		fmt.Printf("%s, partition %d: from %d to %d, %+d records\n", c.Topic, c.Partition, c.Old, c.New, c.Records)
	}
	// Output:
	// an espresso (first)
	// a cake (first)
	// a bill (first)
	// refused: true
	// orders, partition 0: from 3 to 1, -2 records
}
