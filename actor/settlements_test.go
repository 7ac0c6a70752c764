package actor

import (
	"fmt"
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
)

// settling is a partition whose spans are recorded.
func settling(partition int) (*observed, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	tracer := telemetry.NewTracer(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), 1, 1)
	place := telemetry.Place{Topic: "orders", Partition: partition}
	return &observed{receive: tracer.Site(telemetry.Receive, place), settle: tracer.Site(telemetry.Settle, place)}, spans
}

// read is a batch of which the first record is sampled.
func (o *observed) read(records int, id byte) {
	c := dataflow.TraceContext{TraceID: [16]byte{id}, SpanID: [8]byte{id}, Flags: 1}
	o.received(&filled{records: records}, []dataflow.Trace{{Index: 0, Context: c}})
}

// settledSpans describes the settle spans in order: records, traces, seconds.
func settledSpans(spans *tracetest.SpanRecorder) (all []string) {
	for _, s := range spans.Ended() {
		if s.Name() != "settle orders" {
			continue
		}
		var ids []byte
		for _, l := range s.Links() {
			ids = append(ids, l.SpanContext.TraceID().String()[1])
		}
		for _, a := range s.Attributes() {
			if a.Key == "messaging.batch.message_count" {
				all = append(all, fmt.Sprintf("%d records, traces %s, %v", a.Value.AsInt64(), ids, s.EndTime().Sub(s.StartTime())))
			}
		}
	}
	return all
}

// What was read in front of a barrier is settled once, when a checkpoint that
// covers it is complete: its own or, if that was given up, a later one.
func TestSettlements(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(1000+seconds), 0) }
	var s settlements
	o, spans := settling(0)
	require := func(why string, want ...string) {
		t.Helper()
		if got := settledSpans(spans); !slices.Equal(got, want) {
			t.Fatalf("%s: %q, want %q", why, got, want)
		}
	}
	o.read(10, 1)
	s.await(1, at(0), o)
	o.read(20, 2)
	s.settled(0, at(1))
	require("an earlier checkpoint settles nothing")
	s.settled(1, at(2))
	first := "10 records, traces 1, 2s"
	require("what came behind the barrier is not settled", first)
	s.await(2, at(3), o)
	s.settled(1, at(4))
	require("nothing is settled twice", first)
	o.read(30, 3)
	s.await(3, at(5), o) // 2 was given up
	second := "50 records, traces 23, 6s"
	s.settled(3, at(9))
	require("a later checkpoint covers it", first, second)
	s.await(4, at(10), o)
	s.settled(4, at(11))
	require("a checkpoint without records settles nothing", first, second)
}

func TestSettlementsOfNobodyKeepNothing(t *testing.T) {
	var s settlements
	var o observed
	o.read(10, 1)
	s.await(1, time.Time{}, &o)
	if o.open.records != 0 || len(s.receipts) != 0 {
		t.Errorf("kept %+v, %v", o.open, s.receipts)
	}
}
