package telemetry

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

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
	topic := Destination{Name: "orders", Partition: 3, Client: "p-1"}
	stage := Destination{Name: "count", Partition: -1, Job: "quakes", Task: 1}
	for _, c := range []struct {
		op         Operation
		at         Destination
		name       string
		kind       trace.SpanKind
		attributes string
	}{
		{Send, topic, "send orders", trace.SpanKindClient, "messaging.system=troupe messaging.operation.name=send " +
			"messaging.operation.type=send messaging.destination.name=orders messaging.destination.partition.id=3 " +
			"messaging.client.id=p-1 messaging.batch.message_count=256 messaging.troupe.batch.sampled_count=2"},
		{Receive, topic, "receive orders", trace.SpanKindClient, "messaging.system=troupe messaging.operation.name=receive " +
			"messaging.operation.type=receive messaging.destination.name=orders messaging.destination.partition.id=3 " +
			"messaging.client.id=p-1 messaging.batch.message_count=256 messaging.troupe.batch.sampled_count=2"},
		{Process, stage, "process count", trace.SpanKindConsumer, "messaging.system=troupe messaging.operation.name=process " +
			"messaging.operation.type=process messaging.destination.name=count messaging.troupe.job=quakes " +
			"messaging.troupe.task=1 messaging.batch.message_count=256 messaging.troupe.batch.sampled_count=2"},
		{Settle, topic, "settle orders", trace.SpanKindClient, "messaging.system=troupe messaging.operation.name=settle " +
			"messaging.operation.type=settle messaging.destination.name=orders messaging.destination.partition.id=3 " +
			"messaging.client.id=p-1 messaging.batch.message_count=256 messaging.troupe.batch.sampled_count=2"},
	} {
		tracer, spans := recorder(1)
		tracer.Site(c.op, c.at).Start(256, contexts(2)).End(nil)
		got := spans.Ended()[0]
		if got.Name() != c.name || got.SpanKind() != c.kind {
			t.Errorf("span %q of kind %s, want %q of kind %s", got.Name(), got.SpanKind(), c.name, c.kind)
		}
		if line := attributeLine(got.Attributes()); line != c.attributes {
			t.Errorf("%s has\n %s\nwant\n %s", c.name, line, c.attributes)
		}
		if len(got.Links()) != 2 || got.Parent().IsValid() {
			t.Errorf("%s has %d links and parent %v", c.name, len(got.Links()), got.Parent())
		}
	}
}

func TestBatchSpanLinksOnlyToSampledRecords(t *testing.T) {
	tracer, spans := recorder(1)
	site := tracer.Site(Process, Destination{Name: "x", Partition: -1})
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
	tracer.Site(Process, Destination{Name: "x", Partition: -1}).Start(1000, contexts(MaxLinks+22)).End(nil)
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
		tracer.Site(Send, Destination{Name: "orders"}).Start(1, contexts(1)).End(err)
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
		site := tracer.Site(Process, Destination{Name: "count", Partition: -1})
		b.ReportAllocs()
		for b.Loop() {
			site.Start(256, traces).End(nil)
		}
	})
}
