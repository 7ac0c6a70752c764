package runtime_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// One record's trace can be followed from where it came in, across a keyed
// exchange to another task, into a topic, out of it again, and to the sink; with
// the topic and its partition as the destination where there is one.
func TestATraceCrossesExchangesAndTopics(t *testing.T) {
	for name, guarantee := range map[string][]runtime.Option{"at least once": nil, "exactly once": {runtime.ExactlyOnce()}} {
		t.Run(name, func(t *testing.T) {
			ctx, dir := within(t), t.TempDir()
			recorder, option := recording()
			b := topology.New("traced")
			words := topology.From(b, "words", sources.Slice("b", "a", "b"))
			byWord := topology.KeyBy(words, "by-word", func(w string) string { return w })
			longer := topology.Fold(byWord, "longer", func(_ string, acc, w string) string { return acc + w })
			stored := topology.Through(longer, "stored", topics.Of[string]("longer-words").Partitions(2))
			upper := topology.Map(stored, "upper", strings.ToUpper)
			topology.To(upper, "out", sinks.Lines(filepath.Join(dir, "out.txt")))
			options := []runtime.Option{option, runtime.SampleRatio(1), runtime.Parallelism(2), runtime.BatchSize(1),
				runtime.DataDir(filepath.Join(dir, "data"))}
			if _, err := runtime.Run(ctx, b, append(options, guarantee...)...); err != nil {
				t.Fatal(err)
			}
			seen := ways(recorder.GetSpans())
			if len(seen) != 3 {
				t.Fatalf("3 records, %d traces: %v", len(seen), seen)
			}
			for id, spans := range seen {
				requireWay(t, id, spans)
			}
		})
	}
}

// step is a span that a record is to leave, and the operator of it.
type step struct {
	name, operator string
	topic          bool
}

var way = []step{
	{"create words", "words", false},
	{"process words", "words", false},
	{"process longer", "longer", false},
	{"send longer-words", "stored-write", true},
	{"receive longer-words", "stored-read", true},
	{"process longer-words", "stored-read", true},
	{"send out", "out", false},
	{"settle longer-words", "stored-read", true},
}

func requireWay(t *testing.T, id trace.TraceID, spans []tracetest.SpanStub) {
	t.Helper()
	partitions := map[string]bool{}
	for _, want := range way {
		i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == want.name })
		if i < 0 {
			t.Errorf("trace %s has no span %q", id, want.name)
			continue
		}
		s := &spans[i]
		if got := attributeOf(s, "messaging.troupe.operator"); got != want.operator {
			t.Errorf("%q is of the operator %q, not %q", s.Name, got, want.operator)
		}
		destination, partition := attributeOf(s, "messaging.destination.name"), attributeOf(s, "messaging.destination.partition.id")
		switch {
		case !want.topic && (destination != "" || partition != ""):
			t.Errorf("%q has the destination %q, partition %q", s.Name, destination, partition)
		case want.topic && (destination != "longer-words" || (partition != "0" && partition != "1")):
			t.Errorf("%q has the destination %q, partition %q", s.Name, destination, partition)
		case want.topic:
			partitions[partition] = true
		}
	}
	if len(partitions) != 1 {
		t.Errorf("trace %s was in the partitions %v", id, partitions)
	}
	for _, s := range spans {
		if strings.HasPrefix(s.Name, "create ") && s.Name != "create words" {
			t.Errorf("trace %s begins again with %q", id, s.Name)
		}
	}
}

// Whether a record is traced is decided where it comes in: behind the topic in the
// middle no trace begins, even if most records came there without.
func TestSamplingIsDecidedOnce(t *testing.T) {
	ctx := within(t)
	recorder, option := recording()
	b := topology.New("sampled")
	numbers := topology.From(b, "numbers", sources.Generator(func(i int64) int64 { return i }, sources.Count(2000)))
	most := topology.Filter(numbers, "most", func(i int64) bool { return i%7 != 0 })
	stored := topology.Through(most, "stored", topics.Of[int64]("numbers"))
	topology.To(stored, "out", sinks.Discard[int64]())
	if _, err := runtime.Run(ctx, b, option, runtime.SampleRatio(0.1), runtime.DataDir(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	begun := map[string]int{}
	for _, s := range recorder.GetSpans() {
		if strings.HasPrefix(s.Name, "create ") {
			begun[s.Name]++
		}
	}
	if len(begun) != 1 || begun["create numbers"] < 100 || begun["create numbers"] > 400 {
		t.Fatalf("traces of a tenth of 2,000 records begin with %v", begun)
	}
}

// A job that reads a topic goes on with the traces of the records in it, heeds that
// one is not sampled, and begins one where there is none.
func TestTracesOfATopicThatOthersWrite(t *testing.T) {
	ctx := within(t)
	recorder, option := recording()
	e := open(t, filepath.Join(t.TempDir(), "data"), option, runtime.SampleRatio(1))
	defer e.Close(ctx)
	topic, err := e.Declare(ctx, "orders", actor.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	const sampled, unsampled = "4bf92f3577b34da6a3ce929d0e0e4736", "11112222333344445555666677778888"
	parent := func(value string) []actor.Header { return []actor.Header{{Key: "traceparent", Value: []byte(value)}} }
	if _, err := p.Append(ctx, 0, []actor.Record{
		{Value: []byte(`"followed"`), Time: actor.NoTime, Headers: parent("00-" + sampled + "-00f067aa0ba902b7-01")},
		{Value: []byte(`"left alone"`), Time: actor.NoTime, Headers: parent("00-" + unsampled + "-00f067aa0ba902b7-00")},
		{Value: []byte(`"begun"`), Time: actor.NoTime},
	}); err != nil {
		t.Fatal(err)
	}
	b := topology.New("reads")
	orders := topology.From(b, "in", topics.Of[string]("orders").AsJSON().Source())
	topology.To(orders, "out", topics.Of[string]("copies").AsJSON().Sink())
	if _, err := e.Run(ctx, b, runtime.UntilEnd()); err != nil {
		t.Fatal(err)
	}
	begun := 0
	for id, spans := range ways(recorder.GetSpans()) {
		var names []string
		for _, s := range spans {
			names = append(names, s.Name)
		}
		if id.String() == unsampled {
			t.Errorf("the trace that is not sampled has %q", names)
		}
		if slices.Contains(names, "create in") {
			begun++
		} else if id.String() != sampled {
			t.Errorf("trace %s comes from nowhere: %q", id, names)
		}
		for _, want := range []string{"receive orders", "process orders", "send copies", "settle orders"} {
			if !slices.Contains(names, want) {
				t.Errorf("trace %s has no span %q: %q", id, want, names)
			}
		}
	}
	if begun != 1 {
		t.Errorf("%d traces begin, not 1", begun)
	}
	if got := parentsOf(ctx, t, e, "copies"); len(got) != 3 || !strings.Contains(got[1], unsampled+"-00f067aa0ba902b7-00") {
		t.Errorf("the copies carry the contexts %q", got)
	}
}

// parentsOf are the traceparents in partition 0 of a topic.
func parentsOf(ctx context.Context, t *testing.T, e *runtime.Engine, name string) (parents []string) {
	t.Helper()
	topic, err := e.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := topic.OpenReader(ctx, 0, actor.FromBeginning())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		batch, err := r.TryNext(ctx)
		if err != nil {
			return parents
		}
		for rec := (actor.Record{}); batch.Next(&rec); {
			for _, h := range rec.Headers {
				if h.Key == "traceparent" {
					parents = append(parents, string(h.Value))
				}
			}
		}
	}
}

// recording is where spans are kept, and the option that brings them there.
func recording() (*tracetest.InMemoryExporter, runtime.Option) {
	recorder := tracetest.NewInMemoryExporter()
	return recorder, runtime.TracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(recorder)))
}

// ways are the spans that know of a trace, by trace.
func ways(spans []tracetest.SpanStub) map[trace.TraceID][]tracetest.SpanStub {
	seen := map[trace.TraceID][]tracetest.SpanStub{}
	for _, s := range spans {
		if strings.HasPrefix(s.Name, "create ") {
			seen[s.SpanContext.TraceID()] = append(seen[s.SpanContext.TraceID()], s)
		}
		for _, l := range s.Links {
			seen[l.SpanContext.TraceID()] = append(seen[l.SpanContext.TraceID()], s)
		}
	}
	return seen
}

// attributeOf is the text of an attribute, "" if there is none.
func attributeOf(s *tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}
