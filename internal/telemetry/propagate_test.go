package telemetry

import (
	"context"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// theirs extracts with OpenTelemetry's own propagator.
func theirs(parent, state string) trace.SpanContext {
	carrier := propagation.MapCarrier{TraceParent: parent, TraceState: state}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

func header(key, value string) codec.Header { return codec.Header{Key: key, Value: []byte(value)} }

// check compares our reading of a pair of headers with OpenTelemetry's.
func check(t interface{ Fatalf(string, ...any) }, parent, state string) {
	got, ok := Extract([]codec.Header{header("other", "x"), header(TraceParent, parent), header(TraceState, state)})
	want := theirs(parent, state)
	if len(parent) == parentLength+1 && parent[:2] == "00" && parent[parentLength] == '-' {
		// The standard gives version 00 exactly 55 characters; OpenTelemetry
		// forgives one dash behind them.
		want = trace.SpanContext{}
	}
	if ok != want.IsValid() {
		t.Fatalf("traceparent %q: accepted %v, by OpenTelemetry %v", parent, ok, want.IsValid())
	}
	if ok && !SpanContext(&got).Equal(want) {
		t.Fatalf("traceparent %q, tracestate %q: read as %v, by OpenTelemetry as %v", parent, state, got, want)
	}
}

const sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

var parents = []string{
	sound, sound[:53] + "00", sound[:53] + "03", sound[:53] + "02",
	"", "00", sound[:54], sound + "0", sound + "-", sound + "-what", "01" + sound[2:], "01" + sound[2:] + "-what",
	"01" + sound[2:] + "what", "fe" + sound[2:], "ff" + sound[2:], "0g" + sound[2:],
	strings.ToUpper(sound), sound[:53] + "ff", sound[:53] + "04", "cc" + sound[2:53] + "ff",
	"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
	"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
	strings.ReplaceAll(sound, "-", "_"), " " + sound, sound + " ",
}

func TestTraceParentAsOpenTelemetry(t *testing.T) {
	for _, p := range parents {
		for _, s := range []string{"", "a=1,b=2", "a=1,a=2", "no equals sign", "vendor@x=é"} {
			check(t, p, s)
		}
	}
}

func FuzzTraceParent(f *testing.F) {
	for _, p := range parents {
		f.Add(p, "a=1")
	}
	f.Fuzz(func(t *testing.T, parent, state string) {
		check(t, parent, state)
	})
}

func contextGen() *rapid.Generator[dataflow.TraceContext] {
	return rapid.Custom(func(t *rapid.T) dataflow.TraceContext {
		c := dataflow.TraceContext{
			TraceID: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace")),
			SpanID:  [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span")),
			Flags:   rapid.ByteRange(0, 3).Draw(t, "flags"),
			State:   rapid.SampledFrom([]string{"", "a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}).Draw(t, "state"),
		}
		c.TraceID[0] |= 1 // neither id may be all zeros
		c.SpanID[0] |= 1
		return c
	})
}

func TestInjectAsOpenTelemetry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := contextGen().Draw(t, "context")
		before := []codec.Header{header("k", "v"), header(TraceParent, "old"), header(TraceState, "old=1"), header("k", "w")}
		kept := slices.Clone(before)
		headers := Inject(before, &c)
		if !slices.EqualFunc(before, kept, func(a, b codec.Header) bool { return a.Key == b.Key }) {
			t.Fatal("Inject changed the headers it was given")
		}
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), SpanContext(&c)), carrier)
		want := 3
		if c.State != "" {
			want = 4
		}
		if len(headers) != want || string(headers[1].Value) != "w" || string(headers[2].Value) != carrier[TraceParent] {
			t.Fatalf("headers %v, want traceparent %q", headers, carrier[TraceParent])
		}
		if c.State != "" && string(headers[3].Value) != carrier[TraceState] {
			t.Fatalf("tracestate %q, want %q", headers[3].Value, carrier[TraceState])
		}
		got, ok := Extract(headers)
		if !ok || got != c || FromSpanContext(SpanContext(&c)) != c {
			t.Fatalf("%v came back as %v", c, got)
		}
	})
}

func TestExtractTakesTheFirst(t *testing.T) {
	other := strings.Replace(sound, "4bf9", "0000", 1)
	got, ok := Extract([]codec.Header{header(TraceParent, sound), header(TraceParent, other)})
	if want := theirs(sound, ""); !ok || SpanContext(&got).TraceID() != want.TraceID() {
		t.Errorf("extracted %v", got)
	}
	if _, ok := Extract(nil); ok {
		t.Error("a context out of nothing")
	}
}

func TestTracesOfRecords(t *testing.T) {
	unsampled := sound[:53] + "00"
	got := Traces([]codec.Record{
		{}, {Headers: []codec.Header{header(TraceParent, sound)}}, {Headers: []codec.Header{header("k", "v")}},
		{Headers: []codec.Header{header("k", "v"), header(TraceParent, unsampled)}}, {Headers: []codec.Header{header(TraceParent, "x")}},
	})
	if !slices.Equal(indexes(got), []int{1, 3}) || !Sampled(&got[0].Context) || Sampled(&got[1].Context) {
		t.Errorf("traces %v", got)
	}
}

func TestPropagationAllocatesNothing(t *testing.T) {
	headers := []codec.Header{header("k", "v"), header(TraceParent, sound)}
	buffer := make([]byte, 0, parentLength)
	n := testing.AllocsPerRun(1000, func() {
		c, ok := Extract(headers)
		if !ok || !Sampled(&c) {
			t.Fatal("not extracted")
		}
		buffer = AppendTraceParent(buffer[:0], &c)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if string(buffer) != sound {
		t.Errorf("%q came back as %q", sound, buffer)
	}
}
