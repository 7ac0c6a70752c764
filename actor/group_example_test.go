package actor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// A group is moved back while its consumer is at work. With MoveOptions.DryRun it would
// only be said what that comes to.
func ExampleGroup_Rewind() {
	ctx := context.Background()
	system, end := kitchen(actor.Record{Value: []byte("tea")}, actor.Record{Value: []byte("a cake")})
	defer end()
	served := make(chan struct{})
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{Group: "cooks", Topics: []string{"orders"}},
		func(_ context.Context, d *actor.Delivery) error {
			fmt.Printf("%s (%v)\n", d.Value, d.Cause)
			served <- struct{}{}
			return nil
		})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-served
	<-served
	cooks, err := system.Group("cooks", actor.GroupConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := cooks.Rewind(ctx, actor.MoveTo(actor.FromOffset(1)), actor.MoveOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	<-served
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// tea (first)
	// a cake (first)
	// a cake (replay)
}

// What was ordered at table 4 is delivered to one cook again. The group's commits stay
// what they are, and other cooks notice nothing.
func ExampleConsumer_Replay() {
	ctx := context.Background()
	table := func(n string) []actor.Header { return []actor.Header{{Key: "table", Value: []byte(n)}} }
	system, end := kitchen(actor.Record{Value: []byte("tea"), Headers: table("4")}, actor.Record{Value: []byte("a cake"), Headers: table("7")},
		actor.Record{Value: []byte("a biscuit"), Headers: table("4")})
	defer end()
	served := make(chan struct{}, 3)
	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{Group: "cooks", Topics: []string{"orders"}},
		func(_ context.Context, d *actor.Delivery) error {
			fmt.Printf("%s (%v)\n", d.Value, d.Cause)
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
	done, err := cook.Replay(ctx, actor.ReplayRange{To: actor.FromEnd(), Match: actor.MatchHeader("table", []byte("4"))})
	fmt.Println("read", done.Read, "handled", done.Handled, "failed", done.Failed, err)
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// tea (first)
	// a cake (first)
	// a biscuit (first)
	// tea (replay)
	// a biscuit (replay)
	// read 3 handled 2 failed 0 <nil>
}

// A reset is for a group without members.
func ExampleGroup_Reset() {
	ctx := context.Background()
	system, end := kitchen(actor.Record{Value: []byte("tea")}, actor.Record{Value: []byte("a cake")})
	defer end()
	cooks, err := system.Group("cooks", actor.GroupConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := cooks.Reset(ctx, actor.MoveTo(actor.FromEnd()), actor.MoveOptions{Topics: []string{"orders"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("passed over:", plan.Skipped)

	cook, err := system.NewConsumer(ctx, actor.ConsumerOptions{Group: "cooks", Topics: []string{"orders"}},
		func(context.Context, *actor.Delivery) error { return nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = cooks.Reset(ctx, actor.MoveTo(actor.FromBeginning()), actor.MoveOptions{})
	fmt.Println("refused:", errors.Is(err, actor.ErrGroupActive))
	if err := cook.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// passed over: 2
	// refused: true
}

// Two who have read the same of an account append to it; the second is told that it
// has to look again.
func ExampleProducer_AppendIf() {
	ctx := context.Background()
	system := actor.NewSystem(storagefake.New())
	defer system.Close(ctx)
	accounts, err := system.Declare(ctx, "accounts", actor.TopicConfig{KeyIndex: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	producer, err := accounts.NewProducer(actor.ProducerOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer producer.Close(ctx)
	event := func(text string) []actor.Record {
		return []actor.Record{{Key: []byte("ada"), Value: []byte(text), Time: actor.NoTime}}
	}
	opened, err := producer.Append(ctx, 0, event("opened"))
	if err != nil {
		fmt.Println(err)
		return
	}
	expected := actor.Expected{Key: []byte("ada"), Offset: opened.Offset}
	for _, text := range []string{"10 withdrawn", "closed"} {
		_, err := producer.AppendIf(ctx, 0, expected, event(text))
		var conflict *actor.KeyConflictError
		if errors.As(err, &conflict) {
			fmt.Printf("%s: no, there is something at offset %d by now\n", text, conflict.Actual)
		} else if err == nil {
			fmt.Printf("%s: appended\n", text)
		} else {
			fmt.Println(err)
		}
	}
	// Output:
	// 10 withdrawn: appended
	// closed: no, there is something at offset 1 by now
}
