package telemetry

import (
	"math"
	"slices"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/dataflow"
)

var in = Place{Operator: "in"}

func indexes(traces []dataflow.Trace) []int {
	var out []int
	for _, t := range traces {
		out = append(out, t.Index)
	}
	return out
}

func TestSamplerTakesTheRatio(t *testing.T) {
	const n = 40_000
	for _, ratio := range []float64{0.001, 0.01, 0.1, 0.5, 1} {
		tracer, _ := recorder(ratio)
		s, in, chosen := tracer.Sampler(42), tracer.Site(Create, in), 0
		for range n / 250 {
			var c dataflow.Columns
			s.Sample(in, &c, 250, 0)
			chosen += len(c.Traces)
		}
		// Six standard deviations of the binomial distribution.
		if slack := 6 * math.Sqrt(n*ratio*(1-ratio)); math.Abs(float64(chosen)-n*ratio) > slack {
			t.Errorf("ratio %v: chose %d of %d", ratio, chosen, n)
		}
	}
}

// TestSamplerIgnoresBatching: the choice depends on the record's place in the
// stream alone, whatever batches it comes in.
func TestSamplerIgnoresBatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ratio := rapid.SampledFrom([]float64{0.02, 0.3, 0.9, 1}).Draw(t, "ratio")
		seed := rapid.Uint64().Draw(t, "seed")
		sizes := rapid.SliceOfN(rapid.IntRange(0, 40), 1, 20).Draw(t, "sizes")
		tracer, _ := recorder(ratio)
		var got []int
		total, s, site := 0, tracer.Sampler(seed), tracer.Site(Create, in)
		for _, n := range sizes {
			var c dataflow.Columns
			s.Sample(site, &c, n, 0)
			for _, i := range indexes(c.Traces) {
				if i >= n {
					t.Fatalf("chose record %d of a batch of %d", i, n)
				}
				got = append(got, total+i)
			}
			total += n
		}
		var whole dataflow.Columns
		tracer.Sampler(seed).Sample(site, &whole, total, 0)
		if !slices.Equal(got, indexes(whole.Traces)) {
			t.Fatalf("in batches %v, at once %v", got, indexes(whole.Traces))
		}
	})
}

func TestSamplerKeepsContextsThatCameAlong(t *testing.T) {
	tracer, spans := recorder(1)
	old := []dataflow.Trace{{Index: 1, Context: contextOf(1, true)}, {Index: 3, Context: contextOf(2, false)}}
	c := dataflow.Columns{Traces: slices.Clone(old)}
	tracer.Sampler(1).Sample(tracer.Site(Create, Place{Topic: "orders", Operator: "in", Job: "quakes"}), &c, 5, 0)
	if !slices.Equal(indexes(c.Traces), []int{0, 1, 2, 3, 4}) {
		t.Fatalf("contexts at %v", indexes(c.Traces))
	}
	if c.Traces[1] != old[0] || c.Traces[3] != old[1] {
		t.Error("a context that came along was replaced")
	}
	if n := len(spans.Ended()); n != 3 {
		t.Fatalf("%d create spans, want 3", n)
	}
	first := spans.Ended()[0]
	if first.Name() != "create orders" || first.SpanKind() != trace.SpanKindProducer {
		t.Errorf("span %q of kind %s", first.Name(), first.SpanKind())
	}
	if want := FromSpanContext(first.SpanContext()); c.Traces[0].Context != want {
		t.Errorf("the record carries %v, its create span is %v", c.Traces[0].Context, want)
	}
}

func TestSamplerPutsNoContextWhereTheProviderDeclines(t *testing.T) {
	for name, tp := range map[string]trace.TracerProvider{
		"noop":  noop.NewTracerProvider(),
		"never": sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
	} {
		var c dataflow.Columns
		tracer := NewTracer(tp, 1, 1e9)
		tracer.Sampler(1).Sample(tracer.Site(Create, in), &c, 10, 0)
		if len(c.Traces) != 0 {
			t.Errorf("%s: %d contexts that nobody records", name, len(c.Traces))
		}
	}
}

func TestSamplerPassesOverForNothing(t *testing.T) {
	tracer, _ := recorder(1e-9)
	s, site := tracer.Sampler(1), tracer.Site(Create, in)
	var c dataflow.Columns
	if n := testing.AllocsPerRun(1000, func() { s.Sample(site, &c, 256, 0) }); n != 0 {
		t.Errorf("%v allocations per batch without a sampled record", n)
	}
	if zero, _ := recorder(0); zero.Sampler(1) != nil {
		t.Error("a ratio of 0 should have no sampler")
	}
}

func TestSamplerKeepsToItsBudget(t *testing.T) {
	tracer := NewTracer(sdktrace.NewTracerProvider(), 1, 100)
	s, site := tracer.Sampler(1), tracer.Site(Create, in)
	for _, step := range []struct {
		now  int64
		want int
		why  string
	}{
		{5_000, 100, "a second's worth at the start"},
		{5_000, 0, "nothing is left"},
		{5_250, 25, "a quarter of a second later"},
		{4_000, 0, "the clock was set back"},
		{4_010, 1, "and goes on from there"},
		{9_000, 100, "never more than a second's worth"},
	} {
		var c dataflow.Columns
		s.Sample(site, &c, 500, step.now)
		if len(c.Traces) != step.want {
			t.Errorf("%s: %d traces, want %d", step.why, len(c.Traces), step.want)
		}
	}
}

func BenchmarkSampleOnePercent(b *testing.B) {
	tracer := NewTracer(sdktrace.NewTracerProvider(), DefaultSampleRatio, math.Inf(1))
	s, site := tracer.Sampler(1), tracer.Site(Create, in)
	var c dataflow.Columns
	b.ReportAllocs()
	for b.Loop() {
		c.Traces = c.Traces[:0]
		s.Sample(site, &c, 256, 0)
	}
}
