package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

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

// Place is where an operation happens: an operator of a job, and the partition of
// a topic if it is one that is read or written there.
type Place struct {
	Topic     string // "" if there is none
	Partition int    // of the topic; negative: none in particular
	Group     string // of the consumer that does it; "": it is a job's
	Job       string
	Operator  string
	Task      int // of the operator
}

// name is what spans are called by: the topic or, where records come from none
// and go to none, the operator. Both are few.
func (p *Place) name() string {
	if p.Topic != "" {
		return p.Topic
	}
	return p.Operator
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
func (t *Tracer) Site(op Operation, p Place) *Site {
	if t == nil {
		return nil
	}
	return &Site{tracer: t.tracer, name: op.String() + " " + p.name(),
		kind: trace.WithSpanKind(operations[op].kind), attributes: trace.WithAttributes(describeSite(op, &p)...)}
}

func describeSite(op Operation, p *Place) []attribute.KeyValue {
	a := []attribute.KeyValue{attrSystem.String(System), attrOperationName.String(op.String()),
		attrOperationType.String(op.String())}
	if p.Topic != "" {
		a = append(a, attrDestination.String(p.Topic))
	}
	if p.Topic != "" && p.Partition >= 0 {
		a = append(a, attrPartition.String(strconv.Itoa(p.Partition)))
	}
	if p.Group != "" {
		return append(a, attrGroup.String(p.Group))
	}
	return append(a, attrSpanJob.String(p.Job), attrSpanOperator.String(p.Operator), attrSpanTask.Int(p.Task))
}

// Links are what the span of a batch links to: the contexts of its sampled
// records, MaxLinks of them at most.
type Links struct {
	links   []trace.Link
	sampled int
}

// Add adds the contexts of those traces that are sampled.
func (l *Links) Add(traces []dataflow.Trace) {
	for i := range traces {
		c := &traces[i].Context
		if !Sampled(c) {
			continue
		}
		if l.sampled++; len(l.links) < MaxLinks {
			l.links = append(l.links, trace.Link{SpanContext: SpanContext(c)})
		}
	}
}

// Merge adds what another has.
func (l *Links) Merge(o *Links) {
	l.sampled += o.sampled
	l.links = append(l.links, o.links[:min(len(o.links), MaxLinks-len(l.links))]...)
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
	var l Links
	l.Add(traces)
	return s.start(count, &l)
}

// Past makes the span of what is over: of count records, with links as Start has them.
func (s *Site) Past(count int, l *Links, began, ended time.Time) {
	if s == nil {
		return
	}
	if span := s.start(count, l, trace.WithTimestamp(began)).span; span != nil {
		span.End(trace.WithTimestamp(ended))
	}
}

func (s *Site) start(count int, l *Links, more ...trace.SpanStartOption) BatchSpan {
	if l.sampled == 0 {
		return BatchSpan{}
	}
	ctx := context.Background()
	if l.sampled == 1 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, l.links[0].SpanContext)
	}
	more = append(more, s.kind, trace.WithLinks(l.links...), s.attributes, trace.WithAttributes(batchAttributes(count, l.sampled)...))
	_, span := s.tracer.Start(ctx, s.name, more...)
	return BatchSpan{span}
}

func batchAttributes(count, sampled int) []attribute.KeyValue {
	a := []attribute.KeyValue{attrMessageCount.Int(count), attrSampledCount.Int(sampled)}
	if sampled > MaxLinks {
		a = append(a, attrLinksDropped.Int(sampled-MaxLinks))
	}
	return a
}

// Into returns a context in which spans are children of this one.
func (b BatchSpan) Into(ctx context.Context) context.Context {
	if b.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, b.span)
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
