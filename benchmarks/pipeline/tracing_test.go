package pipeline

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/troupestream/troupe/benchmarks/measure"
	"github.com/troupestream/troupe/runtime"
)

// exporter counts the spans that an exporter would have to send.
type exporter struct {
	spans atomic.Int64
	flush func(context.Context) error // has the SDK hand over what it holds back
}

func (e *exporter) ExportSpans(_ context.Context, spans []trace.ReadOnlySpan) error {
	e.spans.Add(int64(len(spans)))
	return nil
}

func (e *exporter) Shutdown(context.Context) error { return nil }

// openTraced returns the job without a trace, and the same one with 1 % of its
// records chosen and the spans handed to an exporter in batches, as the SDK does
// by default.
func openTraced(tb testing.TB, d *Data, parallelism int) (variants []measure.Variant, baseline string, out *exporter) {
	out = &exporter{}
	provider := trace.NewTracerProvider(trace.WithBatcher(out))
	out.flush = provider.ForceFlush
	tb.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	for _, o := range [][]runtime.Option{nil, {runtime.TracerProvider(provider), runtime.SampleRatio(0.01)}} {
		t, err := OpenTroupe(tb.Context(), d, parallelism, o...)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := t.Close(context.Background()); err != nil {
				tb.Error(err)
			}
		})
		variants = append(variants, t.Variant())
	}
	baseline = variants[0].Name
	variants[1].Name += "-traced"
	return variants, baseline, out
}

func TestTracedRunsAgree(t *testing.T) {
	d := NewData(5000)
	d.runFor = time.Millisecond
	variants, baseline, out := openTraced(t, d, 2)
	series, err := measure.Compare(t.Context(), variants,
		measure.Options{Baseline: baseline, Check: d.Check, Rounds: 1, QuietWait: -1})
	if err != nil || len(series) != 2 {
		t.Fatal(series, err)
	}
	if err := out.flush(t.Context()); err != nil || out.spans.Load() == 0 {
		t.Errorf("%d spans were exported, %v", out.spans.Load(), err)
	}
}

// BenchmarkTracing compares the job with tracing and without, in turns, for 30
// seconds at each parallelism, whatever b.N is: x-untraced is the median of the
// rounds' ratios of records a second, and x-cpu that of the processor time.
func BenchmarkTracing(b *testing.B) {
	for parallelism := 1; parallelism <= 2; parallelism++ {
		b.Run(fmt.Sprintf("p%d", parallelism), func(b *testing.B) {
			d := NewData(DefaultRecords)
			variants, baseline, out := openTraced(b, d, parallelism)
			series, err := measure.Compare(b.Context(), variants, measure.Options{Baseline: baseline, Check: d.Check,
				Budget: 30 * time.Second, RunLimit: 10 * time.Second, QuietWait: 300 * time.Millisecond})
			if err != nil {
				b.Fatal(err)
			}
			if err := out.flush(b.Context()); err != nil || out.spans.Load() == 0 {
				b.Fatalf("%d spans were exported, %v", out.spans.Load(), err)
			}
			results := measure.Results(series, baseline, measure.ToLoop)
			plain, traced := &results[0], &results[1]
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(traced.Ratio.Median, "x-untraced")
			b.ReportMetric(traced.Ratio.Low, "x-low")
			b.ReportMetric(traced.Ratio.High, "x-high")
			b.ReportMetric(*traced.CPUNsPerRecord / *plain.CPUNsPerRecord, "x-cpu")
			b.ReportMetric(float64(traced.Runs), "rounds")
		})
	}
}
