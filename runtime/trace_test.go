package runtime_test

import (
	"path/filepath"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// One record's trace can be followed from where it came in, across a keyed
// exchange to another task, into a topic, out of it again, and to the sink.
func TestATraceCrossesExchangesAndTopics(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	recorder := tracetest.NewInMemoryExporter()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(recorder))

	b := topology.New("traced")
	words := topology.From(b, "words", sources.Slice("b", "a", "b"))
	byWord := topology.KeyBy(words, "by-word", func(w string) string { return w })
	longer := topology.Fold(byWord, "longer", func(_ string, acc, w string) string { return acc + w })
	stored := topology.Through(longer, "stored", topics.Of[string]("longer-words"))
	upper := topology.Map(stored, "upper", strings.ToUpper)
	topology.To(upper, "out", sinks.Lines(filepath.Join(dir, "out.txt")))
	_, err := runtime.Run(ctx, b, runtime.TracerProvider(tp), runtime.SampleRatio(1), runtime.Parallelism(2),
		runtime.BatchSize(1), runtime.DataDir(filepath.Join(dir, "data")))
	if err != nil {
		t.Fatal(err)
	}

	seen := map[string][]string{} // names of the spans that know of a trace
	for _, s := range recorder.GetSpans() {
		var ids []trace.TraceID
		for _, l := range s.Links {
			ids = append(ids, l.SpanContext.TraceID())
		}
		if strings.HasPrefix(s.Name, "create ") {
			ids = append(ids, s.SpanContext.TraceID())
		}
		for _, id := range ids {
			seen[id.String()] = append(seen[id.String()], s.Name)
		}
	}
	if len(seen) != 3 {
		t.Fatalf("3 records, %d traces: %v", len(seen), seen)
	}
	for id, names := range seen {
		all := strings.Join(names, ", ")
		for _, want := range []string{"create words", "process words", "process longer", "send stored-write", "process stored-read", "send out"} {
			if !strings.Contains(all, want) {
				t.Errorf("trace %s has no span %q: %s", id, want, all)
			}
		}
		if n := strings.Count(all, "create "); n != 1 {
			t.Errorf("trace %s begins %d times: %s", id, n, all)
		}
	}
}
