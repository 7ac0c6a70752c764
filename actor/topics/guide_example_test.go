package topics_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// Orders are published without waiting for each; then it is seen where they went.
func ExampleTopic_NewProducer() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)
	orders := topics.Of[Order]("orders").Partitions(2).AsJSON()
	producer, err := orders.NewProducer(ctx, e, topics.RoundRobin())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer producer.Close(ctx)
	var sent []actor.Future
	for _, m := range []topics.Message[Order]{
		{Value: Order{"o1", "ada"}},
		{Value: Order{"o2", "bob"}},
		{Value: Order{"o3", "ada"}, Key: []byte("ord_123"), Headers: []actor.Header{{Key: "table", Value: []byte("4")}}},
	} {
		f, err := producer.Publish(ctx, m)
		if err != nil {
			fmt.Println(err)
			return
		}
		sent = append(sent, f)
	}
	for _, f := range sent {
		at, err := f.Wait(ctx)
		fmt.Println("partition", at.Partition, "offset", at.Offset, err)
	}
	// Output:
	// partition 0 offset 0 <nil>
	// partition 1 offset 0 <nil>
	// partition 1 offset 1 <nil>
}

// Three customers are served at once out of one partition: each handler waits for the
// other two. The orders of one customer stay in order.
func ExampleConcurrency() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)
	orders := topics.Of[Order]("orders").KeyedBy(func(o Order) []byte { return []byte(o.Customer) })
	for _, o := range []Order{{"o1", "ada"}, {"o2", "ada"}, {"o3", "bob"}, {"o4", "eve"}} {
		if err := send(ctx, e, orders, o); err != nil {
			fmt.Println(err)
			return
		}
	}
	var together, done sync.WaitGroup
	together.Add(3)
	done.Add(4)
	var mu sync.Mutex
	served := map[string][]string{}
	waiters, err := orders.NewConsumer(ctx, e, "waiters", func(_ context.Context, d *topics.Delivery[Order]) error {
		if d.Value.ID != "o2" {
			together.Done()
			together.Wait()
		}
		mu.Lock()
		served[d.Value.Customer] = append(served[d.Value.Customer], d.Value.ID)
		mu.Unlock()
		done.Done()
		return nil
	}, topics.Concurrency(3))
	if err != nil {
		fmt.Println(err)
		return
	}
	done.Wait()
	if err := waiters.Close(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(served)
	// Output: map[ada:[o1 o2] bob:[o3] eve:[o4]]
}

// An account is the sum of its events. A withdrawal is decided on what was read, and
// appended only if that is still all there is: of two that would overdraw the account
// together, the second reads on and is refused.
func ExampleProducer_SendIf() {
	ctx := context.Background()
	e := bar{actor.NewSystem(storagefake.New())}
	defer e.system.Close(ctx)
	type event struct {
		Account string
		Amount  int
	}
	accounts := topics.Of[event]("accounts").KeyIndex().KeyedBy(func(v event) []byte { return []byte(v.Account) })
	producer, err := accounts.NewProducer(ctx, e)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer producer.Close(ctx)

	// read returns what an account holds, and where its newest event is.
	read := func(account string) (sum int, newest uint64, err error) {
		reader, err := accounts.NewReader(ctx, e, topics.UntilEnd())
		if err != nil {
			return 0, 0, err
		}
		defer reader.Close()
		newest = actor.NoOffset
		for entry, err := range reader.All(ctx) {
			if err != nil {
				return 0, 0, err
			}
			if entry.Value.Account == account {
				sum, newest = sum+entry.Value.Amount, entry.Offset
			}
		}
		return sum, newest, nil
	}
	add := func(who string, amount int, sum int, newest uint64) {
		for {
			if sum+amount < 0 {
				fmt.Printf("%s: no, there are %d\n", who, sum)
				return
			}
			_, err := producer.SendIf(ctx, actor.Expected{Offset: newest}, topics.Message[event]{Value: event{"ada", amount}})
			if err == nil {
				fmt.Printf("%s: %+d\n", who, amount)
				return
			}
			if !errors.Is(err, actor.ErrKeyConflict) {
				fmt.Println(err)
				return
			}
			if sum, newest, err = read("ada"); err != nil {
				fmt.Println(err)
				return
			}
		}
	}
	add("the till", 100, 0, actor.NoOffset)
	sum, newest, err := read("ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	add("bob", -70, sum, newest)
	add("eve", -50, sum, newest) // who has read the same
	// Output:
	// the till: +100
	// bob: -70
	// eve: no, there are 30
}

// One customer's orders are delivered to a waiter again. The records are decoded to be
// looked at; what cannot be decoded is left out.
func ExampleTopic_Matching() {
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
	served := make(chan struct{}, 3)
	waiter, err := orders.NewConsumer(ctx, e, "waiters", func(_ context.Context, d *topics.Delivery[Order]) error {
		if d.Cause == actor.Replay {
			fmt.Println("again:", d.Value.ID)
			return nil
		}
		served <- struct{}{}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		<-served
	}
	done, err := waiter.Replay(ctx, actor.ReplayRange{To: actor.FromEnd(),
		Match: orders.Matching(func(o Order) bool { return o.Customer == "ada" })})
	fmt.Println("handled", done.Handled, "of", done.Read, err)
	if err := waiter.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// again: o1
	// again: o3
	// handled 2 of 3 <nil>
}

// A job keeps a group up to date, which tells how far it is behind.
func ExampleTopic_InGroup() {
	ctx := context.Background()
	engine, err := runtime.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close(ctx)
	orders := topics.Of[Order]("orders")
	behind := func() {
		group, err := engine.System().Group("bills", actor.GroupConfig{})
		if err != nil {
			fmt.Println(err)
			return
		}
		lag, err := group.Lag(ctx)
		fmt.Println("behind by", lag.Records, err)
	}
	if err := publish(ctx, engine, orders, Order{"o1", "ada"}); err != nil {
		fmt.Println(err)
		return
	}
	b := topology.New("bills")
	topology.To(topology.From(b, "orders", sources.Topic(orders.InGroup("bills"))), "out", sinks.Discard[Order]())
	if _, err := engine.Run(ctx, b, runtime.UntilEnd()); err != nil {
		fmt.Println(err)
		return
	}
	behind()
	if err := publish(ctx, engine, orders, Order{"o2", "bob"}, Order{"o3", "ada"}); err != nil {
		fmt.Println(err)
		return
	}
	behind()
	// Output:
	// behind by 0 <nil>
	// behind by 2 <nil>
}
