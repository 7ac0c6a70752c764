package runtime_test

import (
	"path/filepath"
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
