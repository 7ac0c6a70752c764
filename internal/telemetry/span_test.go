package telemetry

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/internal/dataflow"
)

func recorder(ratio float64) (*Tracer, *tracetest.SpanRecorder) {
	r := tracetest.NewSpanRecorder()
	return NewTracer(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r)), ratio, math.Inf(1)), r
}

func TestBatchSpans(t *testing.T) {
	orders := Place{Topic: "orders", Partition: 3, Job: "quakes", Operator: "out", Task: 1}
	all := orders
	all.Partition = -1
	count := Place{Partition: 3, Job: "quakes", Operator: "count", Task: 1}
	const system, batch = "messaging.system=troupe ", "messaging.batch.message_count=256 messaging.troupe.batch.sampled_count=2"
	const operator = "messaging.troupe.job=quakes messaging.troupe.operator=%s messaging.troupe.task=1 "
	for _, c := range []struct {
		op         Operation
		at         Place
		name       string
		kind       trace.SpanKind
		attributes string // behind those of the operation
	}{
		{Send, orders, "send orders", trace.SpanKindClient, "messaging.destination.name=orders messaging.destination.partition.id=3 "},
		{Receive, orders, "receive orders", trace.SpanKindClient, "messaging.destination.name=orders messaging.destination.partition.id=3 "},
		{Process, orders, "process orders", trace.SpanKindConsumer, "messaging.destination.name=orders messaging.destination.partition.id=3 "},
		{Settle, orders, "settle orders", trace.SpanKindClient, "messaging.destination.name=orders messaging.destination.partition.id=3 "},
		{Send, all, "send orders", trace.SpanKindClient, "messaging.destination.name=orders "},
		// What is no topic is no destination.
		{Process, count, "process count", trace.SpanKindConsumer, ""},
	} {
		tracer, spans := recorder(1)
		tracer.Site(c.op, c.at).Start(256, contexts(2)).End(nil)
		got := spans.Ended()[0]
		if got.Name() != c.name || got.SpanKind() != c.kind {
			t.Errorf("span %q of kind %s, want %q of kind %s", got.Name(), got.SpanKind(), c.name, c.kind)
		}
		want := system + fmt.Sprintf("messaging.operation.name=%[1]s messaging.operation.type=%[1]s ", c.op) +
			c.attributes + fmt.Sprintf(operator, c.at.Operator) + batch
		if line := attributeLine(got.Attributes()); line != want {
			t.Errorf("%s has\n %s\nwant\n %s", c.name, line, want)
		}
		if len(got.Links()) != 2 || got.Parent().IsValid() {
			t.Errorf("%s has %d links and parent %v", c.name, len(got.Links()), got.Parent())
		}
	}
}

// What is over gets its span afterwards, with the times it had, and with links
// gathered from several batches.
func TestSpanOfThePast(t *testing.T) {
	tracer, spans := recorder(1)
	site := tracer.Site(Settle, Place{Topic: "orders"})
	var all Links
	for range 2 {
		var l Links
		l.Add(contexts(MaxLinks - 1))
		all.Merge(&l)
	}
	began, ended := now.Add(-time.Minute), now
	site.Past(1000, &all, began, ended)
	got := spans.Ended()[0]
	if !got.StartTime().Equal(began) || !got.EndTime().Equal(ended) {
		t.Errorf("from %v to %v", got.StartTime(), got.EndTime())
	}
	if line := attributeLine(got.Attributes()); len(got.Links()) != MaxLinks ||
		!strings.HasSuffix(line, "message_count=1000 messaging.troupe.batch.sampled_count=254 messaging.troupe.batch.links_dropped=126") {
		t.Errorf("%d links, %s", len(got.Links()), line)
	}
	site.Past(1000, &Links{}, began, ended)
	if n := len(spans.Started()); n != 1 {
		t.Errorf("%d spans: a batch without a sampled record has one", n)
	}
}

func TestBatchSpanLinksOnlyToSampledRecords(t *testing.T) {
	tracer, spans := recorder(1)
	site := tracer.Site(Process, Place{Operator: "x"})
	site.Start(10, nil).End(nil)
	site.Start(10, []dataflow.Trace{{Index: 4, Context: contextOf(1, false)}}).End(nil)
	if n := len(spans.Started()); n != 0 {
		t.Fatalf("%d spans for batches without a sampled record", n)
	}
	site.Start(10, []dataflow.Trace{{Index: 1, Context: contextOf(1, false)}, {Index: 2, Context: contextOf(2, true)}}).End(nil)
	got := spans.Ended()[0]
	want := contextOf(2, true)
	if len(got.Links()) != 1 || got.Links()[0].SpanContext.SpanID() != want.SpanID {
		t.Errorf("links %v, want the one sampled record", got.Links())
	}
	if got.Parent().SpanID() != want.SpanID || got.SpanContext().TraceID() != want.TraceID {
		t.Errorf("a single sampled record should be the parent; parent is %v", got.Parent())
	}
}

func TestBatchSpanBoundsItsLinks(t *testing.T) {
	tracer, spans := recorder(1)
	tracer.Site(Process, Place{Operator: "x"}).Start(1000, contexts(MaxLinks+22)).End(nil)
	got := spans.Ended()[0]
	if len(got.Links()) != MaxLinks {
		t.Errorf("%d links, want %d", len(got.Links()), MaxLinks)
	}
	if line := attributeLine(got.Attributes()); !strings.Contains(line, "messaging.troupe.batch.links_dropped=22") {
		t.Errorf("the links left out are not told: %s", line)
	}
}

type brokenDisk struct{}

func (brokenDisk) Error() string { return "input/output error" }

func TestBatchSpanEndsWithError(t *testing.T) {
	for _, err := range []error{brokenDisk{}, fmt.Errorf("append to %q: %w", "orders", brokenDisk{})} {
		tracer, spans := recorder(1)
		tracer.Site(Send, Place{Topic: "orders"}).Start(1, contexts(1)).End(err)
		got := spans.Ended()[0]
		if got.Status().Code != codes.Error || got.Status().Description != err.Error() {
			t.Errorf("status %v", got.Status())
		}
		if line := attributeLine(got.Attributes()); !strings.HasSuffix(line, "error.type=telemetry.brokenDisk") {
			t.Errorf("attributes %s", line)
		}
	}
	if got := errorType(errors.New("x")); got != "*errors.errorString" {
		t.Errorf("error type %q", got)
	}
}

func BenchmarkBatch(b *testing.B) {
	traces := contexts(3)
	b.Run("off", func(b *testing.B) {
		var site *Site
		b.ReportAllocs()
		for b.Loop() {
			site.Start(256, traces).End(nil)
		}
	})
	b.Run("three-sampled", func(b *testing.B) {
		tracer := NewTracer(sdktrace.NewTracerProvider(), 1, 1000)
		site := tracer.Site(Process, Place{Operator: "count"})
		b.ReportAllocs()
		for b.Loop() {
			site.Start(256, traces).End(nil)
		}
	})
}
