package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

var ordersOfGroup = topics.Of[int]("orders").Partitions(2)

// inGroup runs the job of a name in the group "billing" to the end there is, and
// returns what came in.
func inGroup(t *testing.T, e *runtime.Engine, job string, opts ...runtime.Option) []int {
	t.Helper()
	b := topology.New(job)
	in := topology.From(b, "orders", sources.Topic(ordersOfGroup.InGroup("billing")))
	var mu sync.Mutex
	var got []int
	topology.To(topology.Map(in, "see", func(i int) int {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, i)
		return i
	}), "out", sinks.Discard[int]())
	if _, err := e.Run(within(t), b, append(opts, runtime.UntilEnd())...); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func publishOrders(t *testing.T, e *runtime.Engine, orders ...int) {
	t.Helper()
	p, err := ordersOfGroup.NewProducer(within(t), e, topics.RoundRobin())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range orders {
		if _, err := p.Send(within(t), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(within(t)); err != nil {
		t.Fatal(err)
	}
}

func billing(t *testing.T, e *runtime.Engine) *actor.Group {
	t.Helper()
	g, err := e.System().Group("billing", actor.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// lagOfBilling is how many records the group is behind.
func lagOfBilling(t *testing.T, e *runtime.Engine) uint64 {
	t.Helper()
	lag, err := billing(t, e).Lag(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return lag.Records
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// What a job in a group has done is what the group has committed, over restarts; and
// where there is no checkpoint to go on from, it goes on from there.
func TestAJobInAGroup(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	e := open(t, data)
	publishOrders(t, e, 0, 1, 2, 3, 4)
	check(t, "the first run", inGroup(t, e, "bills"), []int{0, 1, 2, 3, 4})
	check(t, "its lag", lagOfBilling(t, e), 0)

	publishOrders(t, e, 5, 6, 7)
	check(t, "the lag of what came since", lagOfBilling(t, e), 3)
	if err := e.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	e = open(t, data)
	check(t, "the lag after a restart", lagOfBilling(t, e), 3)
	check(t, "the second run", inGroup(t, e, "bills"), []int{5, 6, 7})
	check(t, "its lag", lagOfBilling(t, e), 0)

	publishOrders(t, e, 8)
	check(t, "with fresh state", inGroup(t, e, "bills", runtime.FreshState()), []int{8})
	publishOrders(t, e, 9)
	check(t, "another job of the group", inGroup(t, e, "bills-anew"), []int{9})
	check(t, "the lag of both", lagOfBilling(t, e), 0)
	check(t, "a replay", inGroup(t, e, "bills", runtime.FreshState(), runtime.ReplayFromBeginning()), []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
}

// A record that was processed is reported by the checkpoint that covers it, and not
// before.
func TestAGroupHearsOfCheckpointsOnly(t *testing.T) {
	e := open(t, filepath.Join(t.TempDir(), "data"))
	publishOrders(t, e, 1, 2)
	seen := make(chan int, 2)
	b := topology.New("bills")
	in := topology.From(b, "orders", sources.Topic(ordersOfGroup.InGroup("billing")))
	topology.To(topology.Map(in, "see", func(i int) int { seen <- i; return i }), "out", sinks.Discard[int]())
	job, err := e.Start(within(t), b)
	if err != nil {
		t.Fatal(err)
	}
	<-seen
	<-seen
	all, err := billing(t, e).Committed(within(t), "orders")
	check(t, "without a checkpoint", fmt.Sprint(all, err), "map[] <nil>")
	if _, err := job.Stop(within(t)); err != nil {
		t.Fatal(err)
	}
	all, err = billing(t, e).Committed(within(t), "orders")
	check(t, "with the last one", fmt.Sprint(all, err), "map[0:1 1:1] <nil>")
}

// A job does not meddle with a group that has members; a member that comes later goes
// on where the job was.
func TestAJobAndTheMembersOfItsGroup(t *testing.T) {
	e := open(t, filepath.Join(t.TempDir(), "data"), runtime.Logger(quiet))
	publishOrders(t, e, 0, 1)
	check(t, "the job alone", inGroup(t, e, "bills"), []int{0, 1})
	publishOrders(t, e, 2, 3)
	got := make(chan int, 10)
	consume := func() *topics.Consumer[int] {
		c, err := ordersOfGroup.NewConsumer(within(t), e, "billing", func(_ context.Context, d *topics.Delivery[int]) error {
			if d.Cause != actor.First {
				t.Errorf("%d comes for a %v", d.Value, d.Cause)
			}
			got <- d.Value
			return nil
		}, topics.ManualCommit())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := consume()
	first := []int{<-got, <-got}
	slices.Sort(first)
	check(t, "a member that comes later", first, []int{2, 3})
	check(t, "the job beside a member", inGroup(t, e, "bills"), []int{2, 3})
	all, err := billing(t, e).Committed(within(t), "orders")
	check(t, "the group's offsets", fmt.Sprint(all, err), "map[0:1 1:1] <nil>")
	if err := c.Close(within(t)); err != nil {
		t.Fatal(err)
	}
}

// What a group and a job have of a topic says nothing of another one of that name,
// however long that is: the group begins anew, and the job asks.
func TestATopicIsMadeAnewUnderAGroup(t *testing.T) {
	e := open(t, filepath.Join(t.TempDir(), "data"))
	publishOrders(t, e, 0, 1, 2, 3)
	check(t, "the first topic", inGroup(t, e, "bills"), []int{0, 1, 2, 3})
	if err := e.System().DeleteTopic(within(t), "orders"); err != nil {
		t.Fatal(err)
	}
	publishOrders(t, e, 4, 5, 6, 7, 8, 9)
	check(t, "the second one", inGroup(t, e, "bills-anew"), []int{4, 5, 6, 7, 8, 9})
	check(t, "the lag", lagOfBilling(t, e), 0)
	b := topology.New("bills")
	topology.To(topology.From(b, "orders", sources.Topic(ordersOfGroup.InGroup("billing"))), "out", sinks.Discard[int]())
	if _, err := e.Run(within(t), b, runtime.UntilEnd(), runtime.Restarts(0, 0)); err == nil || !strings.Contains(err.Error(), "was made anew") {
		t.Errorf("the job of the first topic: %v", err)
	}
	check(t, "the job of the first topic", inGroup(t, e, "bills", runtime.ReplayFromBeginning()), []int{4, 5, 6, 7, 8, 9})
	check(t, "and from then on", inGroup(t, e, "bills"), []int(nil))
}

// talkative is a source that reports, by way of the test.
type talkative struct {
	topology.Source[int64]
	report func(ctx context.Context, p dataflow.Positions) error
}

func (s talkative) Report(ctx context.Context, p dataflow.Positions) error { return s.report(ctx, p) }

// The end of a job waits for its last report, which may fail.
func TestTheEndOfAJobWaitsForItsReport(t *testing.T) {
	e := open(t, filepath.Join(t.TempDir(), "data"), runtime.Logger(quiet))
	reports, answer := make(chan dataflow.Positions), make(chan error)
	b := topology.New("talk")
	in := topology.From(b, "in", topology.Source[int64](talkative{
		sources.Generator(func(i int64) int64 { return i }, sources.Count(10), sources.Splits(2)),
		func(_ context.Context, p dataflow.Positions) error {
			reports <- p
			return <-answer
		}}))
	topology.To(in, "out", sinks.Discard[int64]())
	job, err := e.Start(within(t), b)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "splits in the report", len(<-reports), 2)
	select {
	case <-job.Done():
		t.Error("it did not wait")
	default:
	}
	answer <- errors.New("nobody listens")
	if r, err := job.Wait(within(t)); err != nil || !r.Finished {
		t.Errorf("it ended with %+v, %v", r, err)
	}
}

func TestAGroupOfAnImpossibleName(t *testing.T) {
	e := open(t, filepath.Join(t.TempDir(), "data"))
	b := topology.New("bills")
	topology.To(topology.From(b, "orders", sources.Topic(ordersOfGroup.InGroup("../billing"))), "out", sinks.Discard[int]())
	if _, err := e.Run(within(t), b, runtime.UntilEnd()); err == nil {
		t.Error("it is taken")
	}
}
