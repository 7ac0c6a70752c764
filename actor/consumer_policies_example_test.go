package actor_test

import (
	"cmp"
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
	for len(keys) == 0 || len(keys[0].Records) < 2 { // they are being parked
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

// A record that fails is tried again after each delay; what comes behind it does not
// wait.
func ExampleRetryLater() {
	ctx := context.Background()
	system, end := kitchen(actor.Record{Value: []byte("a soufflé")}, actor.Record{Value: []byte("tea")})
	defer end()
	done := make(chan struct{})
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{
		Group: "cooks", Topics: []string{"orders"},
		OnFailure: actor.RetryLater([]time.Duration{20 * time.Millisecond, 40 * time.Millisecond}, actor.DeadLetter("leftovers")),
	}, func(_ context.Context, d *actor.Delivery) error {
		fmt.Printf("%s, attempt %d, out of %s\n", d.Value, d.Attempt, cmp.Or(d.Via, d.Topic))
		switch {
		case string(d.Value) == "tea":
			return nil
		case d.Attempt < 3:
			return errors.New("the oven is cold")
		}
		close(done)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-done
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// a soufflé, attempt 1, out of orders
	// tea, attempt 1, out of orders
	// a soufflé, attempt 2, out of retry-cooks-20ms
	// a soufflé, attempt 3, out of retry-cooks-40ms
}

// At most a tenth of what the consumer delivers for the first time is retried, and
// one a second in any case; further retries wait.
func ExampleRetryBudget() {
	ctx := context.Background()
	system, end := kitchen(actor.Record{Value: []byte("burnt toast")}, actor.Record{Value: []byte("a cake")})
	defer end()
	served := make(chan struct{})
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{
		Group: "cooks", Topics: []string{"orders"},
		OnFailure:   actor.RetryInPlace(actor.Backoff{Attempts: 2, Base: time.Millisecond}, actor.Skip()),
		RetryBudget: actor.RetryBudget{Share: 0.1, Floor: 1},
	}, func(_ context.Context, d *actor.Delivery) error {
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
	n := cook.Stats()
	fmt.Println("retries:", n.Retries, "waiting:", n.RetriesWaiting)
	// Output: retries: 1 waiting: 0
}

// An order that cannot be served as it is gets another value; or it is skipped. Those
// behind it follow.
func ExampleGroup_Edit() {
	ctx := context.Background()
	system, end := kitchen(
		actor.Record{Key: []byte("ada"), Value: []byte("burnt toast")},
		actor.Record{Key: []byte("ada"), Value: []byte("tea")})
	defer end()
	done := make(chan struct{})
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{Group: "cooks", Topics: []string{"orders"}, OnFailure: actor.ParkKey()},
		func(_ context.Context, d *actor.Delivery) error {
			if string(d.Value) == "burnt toast" {
				return errors.New("nobody eats that")
			}
			fmt.Printf("%s: %s\n", d.Key, d.Value)
			if string(d.Value) == "tea" {
				close(done)
			}
			return nil
		})
	if err != nil {
		fmt.Println(err)
		return
	}
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
	if err := cooks.Edit(ctx, keys[0], []byte("toast")); err != nil { // cooks.Skip(ctx, keys[0]) drops it
		fmt.Println(err)
		return
	}
	<-done
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ada: toast
	// ada: tea
}
