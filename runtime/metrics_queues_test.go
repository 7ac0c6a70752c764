package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// ofQueues are the values of the metrics of queues and exchanges, by name and labels.
func ofQueues(all *metricdata.ResourceMetrics) map[string]int64 {
	values := map[string]int64{}
	note := func(name string, labels attribute.Set, n int64) {
		short, is := strings.CutPrefix(name, "troupe.")
		if !is || !strings.HasPrefix(short, "queue.") && !strings.HasPrefix(short, "exchange.") {
			return
		}
		for _, l := range labels.ToSlice() {
			short += " " + l.Value.AsString()
		}
		if n != 0 {
			values[short] = n
		}
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					note(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					note(m.Name, p.Attributes, p.Value)
				}
			}
		}
	}
	return values
}

// awaitQueues waits until the metrics are those; of queues they are as of their last turns.
func awaitQueues(ctx context.Context, t *testing.T, reader metric.Reader, want map[string]int64) *metricdata.ResourceMetrics {
	t.Helper()
	for {
		all := collect(context.WithoutCancel(ctx), t, reader)
		got := ofQueues(all)
		switch {
		case maps.Equal(got, want):
			return all
		case ctx.Err() != nil:
			t.Fatalf("they are %v,\nwant %v", got, want)
		}
		goruntime.Gosched()
	}
}

func declared(ctx context.Context, t *testing.T, e *runtime.Engine) (work, dead *actor.Queue) {
	t.Helper()
	dead, err := e.DeclareQueue(ctx, "dead", actor.QueueConfig{})
	if err == nil {
		work, err = e.DeclareQueue(ctx, "work", actor.QueueConfig{DeadLetterRoutingKey: "dead", Retry: actor.QueueRetry{First: actor.RetryAtOnce}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return work, dead
}

// What queues and exchanges do shows in the metrics: counters are of this process, gauges
// of what there is.
func TestMetricsOfQueues(t *testing.T) {
	ctx, dir, reader := within(t), t.TempDir(), metric.NewManualReader()
	e := open(t, dir, runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	work, dead := declared(ctx, t, e)
	x, err := e.Exchange(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := x.NewPublisher(ctx, actor.ExchangePublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := p.PublishSync(ctx, &actor.Message{RoutingKey: "work", Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.PublishSync(ctx, &actor.Message{RoutingKey: "nowhere"}); !errors.Is(err, actor.ErrUnroutable) {
		t.Fatal(err)
	}
	all, err := work.Get(ctx, 4, time.Minute)
	if err != nil || len(all) != 4 {
		t.Fatal(len(all), err)
	}
	if err := errors.Join(all[0].Ack(), all[1].Reject(), all[2].Nack(), all[3].Requeue()); err != nil {
		t.Fatal(err)
	}
	again, err := work.Get(ctx, 2, time.Minute)
	if err != nil || len(again) != 2 {
		t.Fatal(len(again), err)
	}
	letter, err := dead.Get(ctx, 1, time.Minute)
	if err != nil || len(letter) != 1 {
		t.Fatal(len(letter), err)
	}
	want := map[string]int64{
		"exchange.published amq.default": 6, "exchange.unroutable amq.default": 1,
		"queue.published work": 5, "queue.delivered work": 6, "queue.redelivered failed work": 1, "queue.redelivered returned work": 1,
		"queue.settled acked work": 1, "queue.settled dead work": 1, "queue.dead_letters work rejected": 1,
		"queue.messages work ready": 1, "queue.messages work in_flight": 2, "queue.size work": 1, "queue.consumers work": 1,
		"queue.published dead": 1, "queue.delivered dead": 1, "queue.messages dead in_flight": 1, "queue.consumers dead": 1,
	}
	seen := awaitQueues(ctx, t, reader, want)
	if n := ofTopic(metricOf(seen, "messaging.client.sent.messages"), "amq.default", "send"); n != 6 {
		t.Errorf("%d messages were sent, by OpenTelemetry's conventions", n)
	}
	if n := ofTopic(metricOf(seen, "messaging.client.consumed.messages"), "work", "receive"); n != 6 {
		t.Errorf("%d messages were consumed", n)
	}
	if n := ofTopic(metricOf(seen, "messaging.client.operation.duration"), "amq.default", "send"); n < 1 || n > 6 {
		t.Errorf("%d appends were measured", n)
	}
	if err := errors.Join(p.Close(ctx), e.Close(ctx)); err != nil {
		t.Fatal(err)
	}

	reader = metric.NewManualReader()
	e = open(t, dir, runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	defer e.Close(ctx)
	declared(ctx, t, e)
	awaitQueues(ctx, t, reader, map[string]int64{"queue.messages work ready": 3, "queue.size work": 3, "queue.messages dead ready": 1, "queue.size dead": 1})
}
