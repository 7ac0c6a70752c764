package runtime_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

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
// has counted; a new one of its name counts anew.
func TestMetricsOfAnEndedJob(t *testing.T) {
	ctx, reader := within(t), metric.NewManualReader()
	e := open(t, filepath.Join(t.TempDir(), "data"), runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	defer e.Close(ctx)
	for _, n := range []int64{100, 30} {
		b := topology.New("measured")
		numbers := topology.From(b, "numbers", sources.Generator(func(i int64) int64 { return i }, sources.Count(n)))
		topology.To(numbers, "out", sinks.Discard[int64]())
		if _, err := e.Run(ctx, b, runtime.FreshState()); err != nil {
			t.Fatal(err)
		}
		var all metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &all); err != nil {
			t.Fatal(err)
		}
		if got := sumOf(&all, "troupe.operator.records.out", "numbers"); got != n {
			t.Errorf("%d records are counted, not %d", got, n)
		}
		if metricOf(&all, "troupe.checkpoint.age") != nil {
			t.Error("a job that has ended has no checkpoint that ages")
		}
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
	if !strings.Contains(string(text), `"troupe.operator.records.out"`) {
		t.Fatalf("the last export says nothing of the job:\n%s", text)
	}
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
