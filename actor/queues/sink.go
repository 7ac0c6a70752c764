package queues

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/topology"
)

// Sink returns the exchange as a sink of a topology. The exchange is declared when the job
// begins.
//
// Values are published as they come, and are durable, in all the queues and topics that
// they are for, before the checkpoint that covers them is complete: at least once. What was
// published between a checkpoint and a failure is published again, also in a job with
// exactly-once state. An exchange with Dedup whose values say who they are, by
// IdentifiedBy, publishes them once all the same, as far as the window of Dedup reaches:
// then ids must come from the values alone, so that a repetition has the same. Where every
// result is to be seen exactly once, write to a topic that the queue is bound to: see
// Queue.FromTopic.
//
// A queue that is full, and refuses publishers, or that is paused or behind, holds the job
// up until it is not. A value that no binding matches (actor.ErrUnroutable), that cannot be
// encoded or exceeds a limit is treated as the error policy of the sink says; with
// DropUnroutable the first are dropped. The event time of a record becomes the Timestamp of
// its message.
func (x Exchange[T]) Sink(opts ...PublisherOption) topology.Sink[T] {
	return sink[T]{fmt.Sprintf("exchange %q", x.name), func(ctx context.Context, e Engine, all ...PublisherOption) (*Publisher[T], error) {
		return x.NewPublisher(ctx, e, all...)
	}, opts}
}

// Sink returns the queue as a sink of a topology: what is written to it is published to
// this queue alone, by the default exchange. The queue is declared when the job begins. It
// promises at least once: see Exchange.Sink. The default exchange knows no Dedup.
func (q Queue[T]) Sink(opts ...PublisherOption) topology.Sink[T] {
	return sink[T]{"queue " + q.name, func(ctx context.Context, e Engine, all ...PublisherOption) (*Publisher[T], error) {
		return q.NewPublisher(ctx, e, all...)
	}, opts}
}

// sink publishes.
type sink[T any] struct {
	title     string
	publisher func(context.Context, Engine, ...PublisherOption) (*Publisher[T], error)
	options   []PublisherOption
}

// Info promises at least once, by any number of writers.
func (s sink[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: topology.AtLeastOnce}
}

// Open makes a publisher that waits wherever it can.
func (s sink[T]) Open(ctx context.Context, _ topology.SinkOpen) (topology.SinkWriter[T], error) {
	e, err := engineOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.title, err)
	}
	patient := func(o *actor.ExchangePublisherOptions) { o.WaitWhenFull, o.FailFast = true, false }
	p, err := s.publisher(ctx, e, append([]PublisherOption{}, append(s.options, patient)...)...)
	if err != nil {
		return nil, err
	}
	return &writer[T]{title: s.title, publisher: p}, nil
}

// writer publishes for one task of a sink.
type writer[T any] struct {
	title     string
	publisher *Publisher[T]
	buffer    []byte // of the body at hand

	mu     sync.Mutex
	failed error // of the first message that failed
}

// Write begins to publish a batch. It waits while too much is under way, or a queue is
// full.
func (w *writer[T]) Write(ctx context.Context, b *topology.Batch[T]) error {
	traces := b.Traces
	for i, v := range b.Values {
		if err := errors.Join(ctx.Err(), w.err()); err != nil {
			return err
		}
		var m actor.Message
		if len(b.Times) > 0 && b.Times[i] != dataflow.NoTime {
			m.Timestamp = time.UnixMilli(b.Times[i])
		}
		if len(traces) > 0 && traces[0].Index == i {
			m.Headers = traceHeaders(&traces[0])
			traces = traces[1:]
		}
		if err := w.publish(ctx, &m, v); err != nil {
			return w.trouble(i, err)
		}
	}
	return nil
}

// publish begins to publish a value. The message is copied there.
func (w *writer[T]) publish(ctx context.Context, m *actor.Message, v T) error {
	if err := w.publisher.encode(m, v, &w.buffer); err != nil {
		return fmt.Errorf("%w: %w", errUnencodable, err)
	}
	return w.publisher.PublishFunc(ctx, m, w.done)
}

func traceHeaders(t *dataflow.Trace) (all []actor.MessageHeader) {
	for _, h := range telemetry.Inject(nil, &t.Context) {
		all = append(all, actor.HeaderText(h.Key, string(h.Value)))
	}
	return all
}

// errUnencodable is what is wrong with a value whose codec, or whose exchange's functions,
// fail.
var errUnencodable = errors.New("the value cannot be encoded")

// ofRecord are errors that are about one record alone.
var ofRecord = []error{errUnencodable, actor.ErrUnroutable, actor.ErrInvalid, actor.ErrOverLimit, codec.ErrLimit}

// trouble says whose error it is: that of one record, or of all.
func (w *writer[T]) trouble(i int, err error) error {
	for _, kind := range ofRecord {
		if errors.Is(err, kind) {
			return &dataflow.RecordError{Index: i, Where: w.title, Err: err, Stack: dataflow.StackOf(err)}
		}
	}
	return err
}

func (w *writer[T]) done(_ actor.Confirmation, err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

func (w *writer[T]) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// Prepare waits until all is durable wherever it goes.
func (w *writer[T]) Prepare(ctx context.Context, _ uint64) ([]byte, error) {
	if err := w.publisher.Flush(ctx); err != nil {
		return nil, err
	}
	return nil, w.err()
}

// Commit has nothing to do.
func (w *writer[T]) Commit(context.Context, uint64) error { return nil }

// Close waits for what is under way, and says if any of it failed.
func (w *writer[T]) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return errors.Join(w.publisher.Close(ctx), w.err())
}
