package runtime_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pactor "github.com/asynkron/protoactor-go/actor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// A running job shows in every metric that promises to say something about it.
func TestMetricsOfAJob(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	reader := metric.NewManualReader()
	e := open(t, filepath.Join(dir, "data"), runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	defer e.Close(ctx)

	b := topology.New("measured")
	numbers := topology.From(b, "numbers", sources.Generator(func(i int64) int64 { return i }, sources.Rate(50_000), sources.Splits(2)))
	byRest := topology.KeyBy(numbers, "by-rest", func(i int64) int64 { return i % 7 })
	sums := topology.Fold(byRest, "sum", func(_, acc, i int64) int64 { return acc + i })
	stored := topology.Through(sums, "stored", topics.Of[int64]("sums"))
	topology.To(stored, "out", sinks.Discard[int64]())
	j, err := e.Start(ctx, b, runtime.Parallelism(2))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second covers what the first has made visible in the topic
		if _, err := j.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{} // data points by metric
	for got["troupe.partition.end_offset"] == 0 {
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
		var all metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &all); err != nil {
			t.Fatal(err)
		}
		for _, s := range all.ScopeMetrics {
			for _, m := range s.Metrics {
				got[m.Name] = points(m.Data)
			}
		}
	}
	for _, name := range []string{
		"troupe.operator.records.in", "troupe.operator.records.out", "troupe.mailbox.depth", "troupe.edge.credit",
		"troupe.checkpoint.duration", "troupe.checkpoint.size", "troupe.checkpoint.alignment.duration",
		"troupe.job.restarts", "troupe.log.append.duration", "troupe.partition.end_offset",
	} {
		if got[name] == 0 {
			t.Errorf("%s has no data", name)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
	if err := j.Kill(ctx); err != nil {
		t.Fatal(err)
	}
}

// A job that has ended between two exports is in the next one with all that it
// has counted, and with its gauges as they were last; then only with what it has
// counted. A new one of its name counts anew.
func TestMetricsOfAnEndedJob(t *testing.T) {
	ctx, reader := within(t), metric.NewManualReader()
	e := open(t, filepath.Join(t.TempDir(), "data"), runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	defer e.Close(ctx)
	for _, n := range []int64{100, 30} {
		b := topology.New("measured")
		numbers := topology.From(b, "numbers", sources.Generator(func(i int64) int64 { return i }, sources.Count(n)))
		byRest := topology.KeyBy(numbers, "by-rest", func(i int64) int64 { return i % 7 })
		sums := topology.Fold(byRest, "sum", func(_, acc, i int64) int64 { return acc + i })
		topology.To(sums, "out", sinks.Discard[int64]())
		if _, err := e.Run(ctx, b, runtime.FreshState()); err != nil {
			t.Fatal(err)
		}
		for _, gauges := range []bool{true, false} {
			all := collect(ctx, t, reader)
			if got := sumOf(all, "troupe.operator.records.out", "numbers"); got != n {
				t.Errorf("%d records are counted, not %d", got, n)
			}
			for _, name := range []string{"troupe.source.lag", "troupe.edge.credit", "troupe.mailbox.depth", "troupe.checkpoint.size"} {
				if got := pointsOf(metricOf(all, name), "measured"); (got > 0) != gauges {
					t.Errorf("%s has %d points; expected some: %v", name, got, gauges)
				}
			}
			if metricOf(all, "troupe.checkpoint.age") != nil {
				t.Error("a job that has ended has no checkpoint that ages")
			}
		}
	}
}

// Topics have the metrics that the messaging conventions ask for, whoever writes
// and reads them.
func TestMetricsOfTopics(t *testing.T) {
	const n = 1000
	for name, guarantee := range map[string][]runtime.Option{"at least once": nil, "exactly once": {runtime.ExactlyOnce()}} {
		t.Run(name, func(t *testing.T) {
			ctx, reader := within(t), metric.NewManualReader()
			e := open(t, filepath.Join(t.TempDir(), "data"), runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
			defer e.Close(ctx)
			b := topology.New("measured")
			numbers := topology.From(b, "numbers", sources.Generator(func(i int64) int64 { return i }, sources.Count(n)))
			// So few bytes that some of them wait in a topic of Troupe's own.
			stored := topology.Through(numbers, "stored", topics.Of[int64]("middle").HoldBytes(10_000))
			topology.To(stored, "out", sinks.Discard[int64]())
			if _, err := e.Run(ctx, b, guarantee...); err != nil {
				t.Fatal(err)
			}
			publish(ctx, t, e, "outside")
			all := collect(ctx, t, reader)
			const sent, consumed, took = "messaging.client.sent.messages", "messaging.client.consumed.messages", "messaging.client.operation.duration"
			for _, want := range []struct {
				metric, topic, operation string
				atLeast, atMost          int64
			}{
				// Once the source has ended, what was read ahead of the topic in the
				// middle is dropped and read again, up to where it ends.
				{sent, "middle", "send", n, n}, {consumed, "middle", "receive", n, 2 * n},
				{took, "middle", "send", 1, n}, {took, "middle", "receive", 1, n}, {took, "middle", "settle", 1, n},
				{"messaging.process.duration", "middle", "process", 1, n},
				{sent, "outside", "send", 3, 3}, {consumed, "outside", "receive", 3, 3},
				{took, "outside", "send", 2, 3}, {took, "outside", "receive", 1, 3},
			} {
				got := ofTopic(metricOf(all, want.metric), want.topic, want.operation)
				if got < want.atLeast || got > want.atMost {
					t.Errorf("%s of %s, %s: %d, not from %d to %d", want.metric, want.topic, want.operation, got, want.atLeast, want.atMost)
				}
			}
			if got := len(metricOf(all, sent).(metricdata.Sum[int64]).DataPoints); got != 2 {
				t.Errorf("%d topics were sent to, not 2: %+v", got, metricOf(all, sent))
			}
		})
	}
}

// publish writes three records to a topic, in both ways that there are, and reads them.
func publish(ctx context.Context, t *testing.T, e *runtime.Engine, name string) {
	t.Helper()
	topic, err := e.Declare(ctx, name, actor.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	producer, err := topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close(ctx)
	record := actor.Record{Value: []byte("x"), Time: actor.NoTime}
	if _, err := producer.Append(ctx, 0, []actor.Record{record, record}); err != nil {
		t.Fatal(err)
	}
	publisher, err := topic.NewPublisher(ctx, actor.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close(ctx)
	if _, err := publisher.PublishSync(ctx, 0, &record); err != nil {
		t.Fatal(err)
	}
	reader, err := topic.OpenReader(ctx, 0, actor.FromBeginning())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for err = nil; err == nil; {
		_, err = reader.TryNext(ctx)
	}
	if !errors.Is(err, actor.ErrEnd) {
		t.Fatal(err)
	}
}

// The export at the end of a program tells of its job.
func TestMetricsAreExportedAtTheEnd(t *testing.T) {
	t.Setenv("OTEL_METRICS_EXPORTER", "console")
	console, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	stdout := os.Stdout
	os.Stdout = console
	b := topology.New("measured")
	topology.To(topology.From(b, "numbers", sources.Slice(1, 2, 3)), "out", sinks.Discard[int]())
	_, err = runtime.Run(within(t), b)
	os.Stdout = stdout
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(console.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"troupe.operator.records.out", "troupe.source.lag", "troupe.mailbox.depth"} {
		if !strings.Contains(string(text), `"`+name+`"`) {
			t.Errorf("the last export says nothing of %s", name)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}

func collect(ctx context.Context, t *testing.T, reader metric.Reader) *metricdata.ResourceMetrics {
	t.Helper()
	all := new(metricdata.ResourceMetrics)
	if err := reader.Collect(ctx, all); err != nil {
		t.Fatal(err)
	}
	return all
}

// ofTopic is the count of an operation on a topic: of messages, or of durations.
func ofTopic(a metricdata.Aggregation, topic, operation string) (n int64) {
	is := func(s attribute.Set) bool {
		destination, _ := s.Value("messaging.destination.name")
		name, _ := s.Value("messaging.operation.name")
		system, _ := s.Value("messaging.system")
		return destination.AsString() == topic && name.AsString() == operation && system.AsString() == "troupe"
	}
	switch d := a.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			if is(p.Attributes) {
				n += p.Value
			}
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			if is(p.Attributes) {
				n += int64(p.Count)
			}
		}
	}
	return n
}

// pointsOf counts the points of a job in a gauge.
func pointsOf(a metricdata.Aggregation, job string) (n int) {
	g, _ := a.(metricdata.Gauge[int64])
	for _, p := range g.DataPoints {
		if v, _ := p.Attributes.Value("job"); v.AsString() == job {
			n++
		}
	}
	return n
}

// sumOf adds the data points of an operator up.
func sumOf(all *metricdata.ResourceMetrics, name, operator string) (n int64) {
	sum, _ := metricOf(all, name).(metricdata.Sum[int64])
	for _, p := range sum.DataPoints {
		if v, _ := p.Attributes.Value("operator"); v.AsString() == operator {
			n += p.Value
		}
	}
	return n
}

// metricOf returns the data of a metric, nil if there is none.
func metricOf(all *metricdata.ResourceMetrics, name string) metricdata.Aggregation {
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			if m.Name == name {
				return m.Data
			}
		}
	}
	return nil
}

func points(a metricdata.Aggregation) int {
	switch d := a.(type) {
	case metricdata.Gauge[int64]:
		return len(d.DataPoints)
	case metricdata.Gauge[float64]:
		return len(d.DataPoints)
	case metricdata.Sum[int64]:
		return len(d.DataPoints)
	case metricdata.Histogram[float64]:
		return len(d.DataPoints)
	default:
		return 0
	}
}

// large is a message that a small mailbox has no room for.
type large struct{}

func (large) MailboxBytes() int { return 100 }

// A message that a mailbox refuses is counted, also when the actor is gone by then.
func TestMetricsOfARefusal(t *testing.T) {
	ctx, reader := within(t), metric.NewManualReader()
	e := open(t, filepath.Join(t.TempDir(), "data"), runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	defer e.Close(ctx)
	system := e.System()
	pid, err := system.Spawn("job-measured/small", func() pactor.Actor { return pactor.ReceiveFunc(func(pactor.Context) {}) },
		actor.WithMailbox(1, 10))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		system.Send(pid, large{})
	}
	gone := system.Watch(pid)
	system.Actors().Root.Stop(pid)
	select {
	case <-gone:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	sum, ok := metricOf(collect(ctx, t, reader), "troupe.mailbox.refusals").(metricdata.Sum[int64])
	if !ok || len(sum.DataPoints) != 1 || sum.DataPoints[0].Value != 3 {
		t.Fatalf("%+v", sum)
	}
	job, _ := sum.DataPoints[0].Attributes.Value("job")
	kind, _ := sum.DataPoints[0].Attributes.Value("kind")
	if job.AsString() != "measured" || kind.AsString() != "task" {
		t.Errorf("they are counted for job %q, kind %q", job.AsString(), kind.AsString())
	}
}
