package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Instruments are the metrics of one engine. Counters and gauges are read from
// a snapshot when somebody collects them; durations are recorded as they
// happen. A nil *Instruments is off.
type Instruments struct {
	registration metric.Registration
	checkpoint   metric.Float64Histogram
	alignment    metric.Float64Histogram
	appendTime   metric.Float64Histogram
	compactTime  metric.Float64Histogram
	failures     metric.Int64Counter
	refusals     metric.Int64Counter
}

// NewInstruments registers all metrics with a meter. collect is called for
// every collection, from the goroutine of whoever collects; a zero
// Snapshot.Now means the present.
func NewInstruments(m metric.Meter, collect func() Snapshot) (*Instruments, error) {
	b := builder{meter: m, floats: map[string]metric.Float64Observable{}, ints: map[string]metric.Int64Observable{}}
	i := &Instruments{
		checkpoint:  b.histogram(&checkpointTime, buckets),
		alignment:   b.histogram(&alignmentTime, buckets),
		appendTime:  b.histogram(&appendTime, buckets),
		compactTime: b.histogram(&compactTime, buckets),
		failures:    b.counter(&checkpointFail),
		refusals:    b.counter(&mailboxRefused),
	}
	for _, n := range metrics {
		b.observable(n)
	}
	if b.err != nil {
		return nil, b.err
	}
	var err error
	i.registration, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := collect()
		if s.Now.IsZero() {
			s.Now = time.Now()
		}
		c := collection{observer: o, floats: b.floats, ints: b.ints}
		c.observe(&s)
		return nil
	}, b.all...)
	return i, err
}

// CheckpointCompleted records how long a checkpoint took.
func (i *Instruments) CheckpointCompleted(job string, took time.Duration) {
	if i != nil {
		record(i.checkpoint, took, labelJob.String(job))
	}
}

// CheckpointFailed counts a checkpoint that was given up. The reason is one of
// a few words, such as "timeout" or "storage".
func (i *Instruments) CheckpointFailed(job, reason string) {
	if i != nil {
		i.failures.Add(context.Background(), 1, metric.WithAttributes(labelJob.String(job), labelReason.String(reason)))
	}
}

// MailboxRefused counts a message that found no room. The mailbox may be gone when
// somebody collects: a task that a batch did not reach ends.
func (i *Instruments) MailboxRefused(job, kind string) {
	if i != nil {
		i.refusals.Add(context.Background(), 1, metric.WithAttributes(labelJob.String(job), labelKind.String(kind)))
	}
}

// Aligned records how long a task waited for a barrier on all its inputs.
func (i *Instruments) Aligned(job string, waited time.Duration) {
	if i != nil {
		record(i.alignment, waited, labelJob.String(job))
	}
}

// Appended records how long an append to a log took, fsync included where the
// topic asks for it.
func (i *Instruments) Appended(topic string, took time.Duration) {
	if i != nil {
		record(i.appendTime, took, labelTopic.String(topic))
	}
}

// Compacted records how long it took to compact a partition.
func (i *Instruments) Compacted(topic string, took time.Duration) {
	if i != nil {
		record(i.compactTime, took, labelTopic.String(topic))
	}
}

// Close stops collecting.
func (i *Instruments) Close() error {
	if i == nil {
		return nil
	}
	return i.registration.Unregister()
}

func record(h metric.Float64Histogram, d time.Duration, label attribute.KeyValue) {
	h.Record(context.Background(), d.Seconds(), metric.WithAttributes(label))
}

// buckets are the bounds of Troupe's own histograms, in seconds: a factor of 2 to 2.5 apart,
// from one fast fsync to the time-out of a checkpoint.
var buckets = []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3,
	0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}

// builder makes instruments and keeps the first error.
type builder struct {
	meter  metric.Meter
	floats map[string]metric.Float64Observable
	ints   map[string]metric.Int64Observable
	all    []metric.Observable
	err    error
}

func (b *builder) note(m *metricName, err error) {
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("metric %s: %w", m.name, err)
	}
}

func (b *builder) histogram(m *metricName, buckets []float64) metric.Float64Histogram {
	h, err := b.meter.Float64Histogram(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.description),
		metric.WithExplicitBucketBoundaries(buckets...))
	b.note(m, err)
	return h
}

func (b *builder) counter(m *metricName) metric.Int64Counter {
	c, err := b.meter.Int64Counter(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.description))
	b.note(m, err)
	return c
}

// observable makes the instruments that are read from a snapshot; the others
// are made by name.
func (b *builder) observable(m *metricName) {
	switch {
	case m.kind == histogram || m.name == checkpointFail.name || m.name == mailboxRefused.name:
	case m.kind == counter:
		c, err := b.meter.Int64ObservableCounter(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.description))
		b.note(m, err)
		b.ints[m.name], b.all = c, append(b.all, c)
	case m.unit == "s":
		g, err := b.meter.Float64ObservableGauge(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.description))
		b.note(m, err)
		b.floats[m.name], b.all = g, append(b.all, g)
	default:
		g, err := b.meter.Int64ObservableGauge(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.description))
		b.note(m, err)
		b.ints[m.name], b.all = g, append(b.all, g)
	}
}
