package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/internal/dataflow"
)

// MaxLinks is how many records a batch span links to; 128 is also the default
// limit of OpenTelemetry's SDKs. The number of those left out is an attribute.
const MaxLinks = 128

// Tracer makes spans. A nil *Tracer is off.
type Tracer struct {
	tracer    trace.Tracer
	ratio     float64
	perSecond float64
}

// NewTracer returns a tracer on a provider. ratio is the share of a source's
// records that begin a trace, perSecond how many of them may do so in a second
// at each task of a source.
func NewTracer(tp trace.TracerProvider, ratio, perSecond float64) *Tracer {
	return &Tracer{tracer: tp.Tracer(Scope), ratio: min(ratio, 1), perSecond: perSecond}
}

// Destination is where an operation happens: a topic, or an operator of a job.
type Destination struct {
	Name      string // of the topic or the operator; bounded: it names the span
	Partition int    // of the topic; negative: none
	Job       string // "" when it is not a job that does it
	Task      int    // of the job's operator
	Client    string // id of a producer or reader; "" for none
}

// Site is one operation at one place. What its spans have in common is put
// together once; an actor makes its sites when it starts. A nil *Site is off.
type Site struct {
	tracer     trace.Tracer
	name       string
	kind       trace.SpanStartOption
	attributes trace.SpanStartOption
}

// Site returns the site for an operation.
func (t *Tracer) Site(op Operation, d Destination) *Site {
	if t == nil {
		return nil
	}
	return &Site{tracer: t.tracer, name: op.String() + " " + d.Name,
		kind: trace.WithSpanKind(operations[op].kind), attributes: trace.WithAttributes(describeSite(op, d)...)}
}

func describeSite(op Operation, d Destination) []attribute.KeyValue {
	a := []attribute.KeyValue{attrSystem.String(System), attrOperationName.String(op.String()),
		attrOperationType.String(op.String()), attrDestination.String(d.Name)}
	if d.Partition >= 0 {
		a = append(a, attrPartition.String(strconv.Itoa(d.Partition)))
	}
	if d.Client != "" {
		a = append(a, attrClientID.String(d.Client))
	}
	if d.Job != "" {
		a = append(a, attrSpanJob.String(d.Job), attrSpanTask.Int(d.Task))
	}
	return a
}

// BatchSpan is the span of one batch. The zero value is none.
type BatchSpan struct{ span trace.Span }

// Start begins the span of a batch of count records, of which traces are the
// contexts. A batch without a sampled record has no span. When exactly one
// record is sampled, its create span is also the parent.
func (s *Site) Start(count int, traces []dataflow.Trace) BatchSpan {
	if s == nil || len(traces) == 0 {
		return BatchSpan{}
	}
	links, sampled := link(traces)
	if sampled == 0 {
		return BatchSpan{}
	}
	ctx := context.Background()
	if sampled == 1 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, links[0].SpanContext)
	}
	_, span := s.tracer.Start(ctx, s.name, s.kind, trace.WithLinks(links...),
		s.attributes, trace.WithAttributes(batchAttributes(count, sampled)...))
	return BatchSpan{span}
}

func link(traces []dataflow.Trace) (links []trace.Link, sampled int) {
	for i := range traces {
		c := &traces[i].Context
		if !Sampled(c) {
			continue
		}
		sampled++
		if len(links) < MaxLinks {
			links = append(links, trace.Link{SpanContext: SpanContext(c)})
		}
	}
	return links, sampled
}

func batchAttributes(count, sampled int) []attribute.KeyValue {
	a := []attribute.KeyValue{attrMessageCount.Int(count), attrSampledCount.Int(sampled)}
	if sampled > MaxLinks {
		a = append(a, attrLinksDropped.Int(sampled-MaxLinks))
	}
	return a
}

// End ends the span. An error marks it as failed.
func (b BatchSpan) End(err error) {
	if b.span == nil {
		return
	}
	if err != nil {
		b.span.SetStatus(codes.Error, err.Error())
		b.span.SetAttributes(attrErrorType.String(errorType(err)))
	}
	b.span.End()
}

// errorType is the type of the innermost error: few values, unlike its text.
func errorType(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Sprintf("%T", err)
		}
		err = inner
	}
}
