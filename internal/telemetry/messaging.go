package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Messaging are the metrics that the messaging conventions ask for. They are
// about topics, exchanges and queues, and are recorded once per batch. A nil *Messaging is
// off.
type Messaging struct {
	sent, consumed     metric.Int64Counter
	operation, process metric.Float64Histogram
	topics             sync.Map // name → *TopicMeter
}

// NewMessaging makes the instruments.
func NewMessaging(m metric.Meter) (*Messaging, error) {
	b := builder{meter: m}
	return &Messaging{
		sent: b.counter(&sentMessages), consumed: b.counter(&consumedMessages),
		operation: b.histogram(&operationTime, operationBuckets), process: b.histogram(&processTime, operationBuckets),
	}, b.err
}

// operationBuckets are the bounds that the conventions advise, in seconds.
var operationBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// TopicMeter records the operations on one topic, exchange or queue. It is safe for concurrent use,
// and nil is off.
type TopicMeter struct {
	messaging *Messaging
	topic     string
	usual     [len(operations)]outcome // of operations that go well: most of them
}

// outcome are the labels of an operation, ready for both kinds of instruments.
type outcome struct {
	count []metric.AddOption
	took  []metric.RecordOption
}

// Topic returns the meter of a topic, exchange or queue.
func (m *Messaging) Topic(name string) *TopicMeter {
	if m == nil {
		return nil
	}
	if t, ok := m.topics.Load(name); ok {
		return t.(*TopicMeter)
	}
	t := &TopicMeter{messaging: m, topic: name}
	for op := range t.usual {
		t.usual[op] = t.outcome(Operation(op))
	}
	kept, _ := m.topics.LoadOrStore(name, t)
	return kept.(*TopicMeter)
}

func (t *TopicMeter) outcome(op Operation, more ...attribute.KeyValue) outcome {
	labels := append(more, attrSystem.String(System), attrDestination.String(t.topic), attrOperationName.String(op.String()))
	count := metric.WithAttributeSet(attribute.NewSet(labels...))
	o := outcome{count: []metric.AddOption{count}, took: []metric.RecordOption{count}}
	if op != Process { // its histogram is of nothing else
		o.took[0] = metric.WithAttributeSet(attribute.NewSet(append(labels, attrOperationType.String(op.String()))...))
	}
	return o
}

// Now is the time at which an operation begins; when off, it is not asked for.
func (t *TopicMeter) Now() (now time.Time) {
	if t != nil {
		now = time.Now()
	}
	return now
}

// of are the labels of an operation that ended with an error, or none.
func (t *TopicMeter) of(op Operation, err error) outcome {
	if err == nil {
		return t.usual[op]
	}
	return t.outcome(op, attrErrorType.String(errorType(err)))
}

// Sent tells of an append of so many records, stored or not.
func (t *TopicMeter) Sent(records int, began time.Time, err error) {
	if t != nil {
		t.client(Send, t.messaging.sent, records, began, err)
	}
}

// Received tells of a batch of so many records that was read, or of a reading
// that failed. The time includes that of waiting for records to come.
func (t *TopicMeter) Received(records int, began time.Time, err error) {
	if t != nil {
		t.client(Receive, t.messaging.consumed, records, began, err)
	}
}

// Delivered tells of so many messages that a queue has handed to a consumer, of its own
// accord: that has no duration.
func (t *TopicMeter) Delivered(messages int) {
	if t != nil {
		t.messaging.consumed.Add(context.Background(), int64(messages), t.usual[Receive].count...)
	}
}

func (t *TopicMeter) client(op Operation, counter metric.Int64Counter, records int, began time.Time, err error) {
	o := t.of(op, err)
	if records > 0 {
		counter.Add(context.Background(), int64(records), o.count...)
	}
	t.messaging.operation.Record(context.Background(), time.Since(began).Seconds(), o.took...)
}

// Processed tells of a batch that was processed by the operators that follow the
// topic in the same task.
func (t *TopicMeter) Processed(began time.Time, err error) {
	if t != nil {
		t.messaging.process.Record(context.Background(), time.Since(began).Seconds(), t.of(Process, err).took...)
	}
}

// Settled tells that a checkpoint is complete, whose barrier came when it began.
func (t *TopicMeter) Settled(began, ended time.Time) {
	if t != nil {
		t.messaging.operation.Record(context.Background(), ended.Sub(began).Seconds(), t.usual[Settle].took...)
	}
}
