package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/runtime"
)

func send(ctx context.Context, t *testing.T, e *runtime.Engine, topic topics.Topic[string], all ...topics.Message[string]) {
	t.Helper()
	p, err := topic.NewProducer(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		f, err := p.Publish(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// An engine closes its consumers before it ends: they finish, commit and leave, and
// nothing is delivered again.
func TestCloseClosesConsumers(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	orders := topics.Of[string]("orders")
	e := open(t, dir)
	send(ctx, t, e, orders, topics.Message[string]{Value: "tea"}, topics.Message[string]{Value: "cake"})
	began := make(chan struct{}, 2)
	c, err := orders.NewConsumer(ctx, e, "cooks", func(context.Context, *topics.Delivery[string]) error {
		began <- struct{}{}
		return nil
	}, topics.CommitEvery(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	<-began
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	<-c.Ended()
	e = open(t, dir)
	defer e.Close(ctx)
	if all, err := e.Groups(ctx); err != nil || len(all) != 1 || all[0] != "cooks" {
		t.Errorf("the groups are %v, %v", all, err)
	}
	if _, err := e.Group(ctx, "cook"); !errors.Is(err, actor.ErrNoGroup) {
		t.Errorf("a group that there is not: %v", err)
	}
	g, err := e.Group(ctx, "cooks")
	if err != nil {
		t.Fatal(err)
	}
	d, err := g.Describe(ctx)
	if err != nil || len(d.Members) != 0 || d.Partitions[0].Next != 2 {
		t.Errorf("the group is %+v, %v", d, err)
	}
}

// What a consumer does shows: a span for each sampled record, how long handlers took,
// and what became of failures.
func TestTelemetryOfAConsumer(t *testing.T) {
	ctx := within(t)
	recorder, spans := recording()
	reader := metric.NewManualReader()
	e := open(t, filepath.Join(t.TempDir(), "data"), spans, runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	defer e.Close(ctx)
	orders := topics.Of[string]("orders")
	sampled := []codec.Header{{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}
	send(ctx, t, e, orders,
		topics.Message[string]{Key: []byte("ada"), Value: "burnt toast", Headers: sampled},
		topics.Message[string]{Key: []byte("ada"), Value: "tea"},
		topics.Message[string]{Key: []byte("bob"), Value: "cake"})
	inSpan := make(chan bool, 8)
	c, err := orders.NewConsumer(ctx, e, "cooks", func(ctx context.Context, d *topics.Delivery[string]) error {
		inSpan <- trace.SpanContextFromContext(ctx).IsValid()
		if d.Value == "burnt toast" {
			return errors.New("the toaster is broken")
		}
		return nil
	}, topics.OnFailure(actor.RetryInPlace(actor.Backoff{Attempts: 2, Base: time.Millisecond}, actor.ParkKey())))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, true, false} { // twice the toast, then the cake
		if got := <-inSpan; got != want {
			t.Errorf("there is a span: %v", got)
		}
	}
	want := map[string]string{"troupe.consumer.retries": "1", "troupe.consumer.parked_keys": "1", "troupe.consumer.parked_records": "2", "troupe.consumer.lag": "0"}
	for ctx.Err() == nil && len(want) > 0 {
		all := collect(ctx, t, reader)
		for name, n := range want {
			if fmt.Sprint(sumAll(metricOf(all, name))) == n {
				delete(want, name)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not seen: %v", want)
	}
	if n := ofTopic(metricOf(collect(ctx, t, reader), "messaging.process.duration"), "orders", "process"); n != 3 {
		t.Errorf("%d calls of the handler were timed", n)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	failed := 0
	for _, s := range recorder.GetSpans() {
		if s.Name != "process orders" {
			continue
		}
		for _, a := range s.Attributes {
			if a.Key == "messaging.consumer.group.name" && a.Value.AsString() == "cooks" && s.Parent.SpanID().String() == "b7ad6b7169203331" {
				failed++
			}
		}
	}
	if failed != 2 {
		t.Errorf("%d spans of the record that failed: %+v", failed, recorder.GetSpans())
	}
}

// sumAll adds up all that a metric says.
func sumAll(a metricdata.Aggregation) (n int64) {
	switch a := a.(type) {
	case metricdata.Sum[int64]:
		for _, p := range a.DataPoints {
			n += p.Value
		}
	case metricdata.Gauge[int64]:
		for _, p := range a.DataPoints {
			n += p.Value
		}
	default:
		return -1
	}
	return n
}

// What is parked outlives the engine, on disk; and so does what is done to it.
func TestParkedKeysOutliveTheEngine(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	orders := topics.Of[string]("orders")
	e := open(t, dir)
	var all []topics.Message[string]
	for i := range 20 {
		for _, key := range []string{"ada", "bob"} {
			all = append(all, topics.Message[string]{Key: []byte(key), Value: fmt.Sprint(i)})
		}
	}
	send(ctx, t, e, orders, all...)
	handled := make(chan string, 100)
	consume := func(e *runtime.Engine, broken bool) {
		t.Helper()
		_, err := orders.NewConsumer(ctx, e, "cooks", func(_ context.Context, d *topics.Delivery[string]) error {
			if broken && string(d.Key) == "ada" {
				return errors.New("the toaster is broken")
			}
			handled <- string(d.Key) + " " + d.Value
			return nil
		}, topics.OnFailure(actor.ParkKey()), topics.Concurrency(4))
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(key string) {
		t.Helper()
		for i := range 20 {
			select {
			case got := <-handled:
				if got != fmt.Sprint(key, " ", i) {
					t.Fatalf("it handled %s, want %s %d", got, key, i)
				}
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
	}
	consume(e, true)
	expect("bob")
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	e = open(t, dir)
	g, err := e.System().Group("cooks", group.Config{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := g.Parked(ctx)
	if err != nil || len(keys) != 1 || len(keys[0].Records) != 20 {
		t.Fatalf("parked is %+v, %v", keys, err)
	}
	if err := g.Release(ctx, keys[0]); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	e = open(t, dir)
	defer e.Close(ctx)
	consume(e, false)
	expect("ada")
}
