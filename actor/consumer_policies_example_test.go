package actor_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// kitchen is a system with a topic of orders.
func kitchen(orders ...actor.Record) (*actor.System, func()) {
	ctx := context.Background()
	system := actor.NewSystem(storagefake.New())
	topic, err := system.Declare(ctx, "orders", actor.TopicConfig{})
	if err != nil {
		panic(err)
	}
	publisher, err := topic.NewPublisher(ctx, actor.PublisherOptions{})
	if err != nil {
		panic(err)
	}
	defer publisher.Close(ctx)
	for i := range orders {
		orders[i].Time = actor.NoTime
		if _, err := publisher.PublishSync(ctx, actor.AnyPartition, &orders[i]); err != nil {
			panic(err)
		}
	}
	return system, func() { _ = system.Close(ctx) }
}

// A record is tried three times, and then put into a topic of its own; the next one
// is served.
func ExampleRetryInPlace() {
	ctx := context.Background()
	system, end := kitchen(actor.Record{Value: []byte("burnt toast")}, actor.Record{Value: []byte("a cake")})
	defer end()
	served := make(chan struct{})
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{
		Group: "cooks", Topics: []string{"orders"},
		OnFailure: actor.RetryInPlace(actor.Backoff{Attempts: 3, Base: time.Millisecond}, actor.DeadLetter("leftovers")),
	}, func(_ context.Context, d *actor.Delivery) error {
		fmt.Printf("%s, attempt %d (%v)\n", d.Value, d.Attempt, d.Cause)
		if string(d.Value) == "burnt toast" {
			return errors.New("the toaster is broken")
		}
		close(served)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-served
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("dead letters: %d\n", cook.Stats().DeadLetters)
	// Output:
	// burnt toast, attempt 1 (first)
	// burnt toast, attempt 2 (nack)
	// burnt toast, attempt 3 (nack)
	// a cake, attempt 1 (first)
	// dead letters: 1
}

var errUnknownDish = errors.New("there is no such dish")

// What will never work is not tried again.
func ExampleIfError() {
	ctx := context.Background()
	system, end := kitchen(actor.Record{Value: []byte("a moon")}, actor.Record{Value: []byte("a cake")})
	defer end()
	served := make(chan struct{})
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{
		Group: "cooks", Topics: []string{"orders"},
		OnFailure: actor.IfError(errUnknownDish, actor.Skip(), actor.RetryInPlace(actor.Backoff{}, actor.StopOnFailure{})),
	}, func(_ context.Context, d *actor.Delivery) error {
		fmt.Printf("%s, attempt %d\n", d.Value, d.Attempt)
		if string(d.Value) == "a moon" {
			return errUnknownDish
		}
		close(served)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-served
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("skipped: %d\n", cook.Stats().Skipped)
	// Output:
	// a moon, attempt 1
	// a cake, attempt 1
	// skipped: 1
}

// A customer's order that fails holds only that customer's orders. When what was
// wrong is mended, they are served in their order.
func ExampleParkKey() {
	ctx := context.Background()
	system, end := kitchen(
		actor.Record{Key: []byte("ada"), Value: []byte("burnt toast")},
		actor.Record{Key: []byte("ada"), Value: []byte("tea")},
		actor.Record{Key: []byte("bob"), Value: []byte("a cake")})
	defer end()
	served := make(chan struct{})
	var mended atomic.Bool
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{Group: "cooks", Topics: []string{"orders"}, OnFailure: actor.ParkKey()},
		func(_ context.Context, d *actor.Delivery) error {
			fmt.Printf("%s: %s, attempt %d (%v)\n", d.Key, d.Value, d.Attempt, d.Cause)
			if string(d.Value) == "burnt toast" && !mended.Load() {
				return errors.New("the toaster is broken")
			}
			served <- struct{}{}
			return nil
		})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-served // bob

	cooks, err := system.Group("cooks", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var keys []actor.ParkedKey
	for len(keys) == 0 { // it is being parked
		if keys, err = cooks.Parked(ctx); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("%s is parked: %s\n", keys[0].Key, keys[0].Error)
	mended.Store(true)
	if err := cooks.Release(ctx, keys[0]); err != nil { // or Skip, or Edit
		fmt.Println(err)
		return
	}
	<-served
	<-served
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ada: burnt toast, attempt 1 (first)
	// bob: a cake, attempt 1 (first)
	// ada is parked: the toaster is broken
	// ada: burnt toast, attempt 2 (released)
	// ada: tea, attempt 1 (released)
}
