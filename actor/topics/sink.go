package topics

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

type sink[T any] struct{ topic Topic[T] }

// EndOf implements dataflow.TopicEnd.
func (s sink[T]) EndOf() dataflow.TopicName { return dataflow.TopicName(s.topic.name) }

// Info promises effectively once, in jobs with exactly-once state, by any
// number of writers.
func (s sink[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: dataflow.EffectivelyOnce}
}

// Open declares the topic, appends what the checkpoint promised, and opens a writer.
func (s sink[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	t, err := s.topic.open(ctx)
	if err != nil {
		return nil, err
	}
	sys, err := s.topic.system(ctx)
	if err != nil {
		return nil, err
	}
	if s.topic.hold < 1 || s.topic.hold > holdBytesMax {
		return nil, fmt.Errorf("HoldBytes of topic %s is %d; it must be from 1 to %d", t.Name(), s.topic.hold, holdBytesMax)
	}
	if err := recommit(ctx, sys, o); err != nil {
		return nil, err
	}
	e := newEncoder(s.topic, t.Partitions(), o.Task)
	if !o.ExactlyOnce {
		p, err := newAppender(sys, t, o, actor.ProducerOptions{})
		if err != nil {
			return nil, err
		}
		return &immediateWriter[T]{encoder: e, appender: p, groups: make([][]codec.Record, t.Partitions())}, nil
	}
	id := producerID(o)
	p, err := newAppender(sys, t, o, actor.ProducerOptions{ID: id, Epoch: o.Incarnation})
	if err != nil {
		return nil, err
	}
	return &heldWriter[T]{
		encoder: e, appender: p, lanes: make([]lane, t.Partitions()), hold: s.topic.hold, open: o,
		staging: staging{sys: sys, name: stagingName(o), durability: t.Config().Durability},
		state:   state{Version: stateVersion, Producer: id, Topic: t.Name()},
	}, nil
}

// producerID is new at every start of the job: its sequences begin at 0 then,
// whatever was left unappended by the start before.
func producerID(o topology.SinkOpen) string {
	return fmt.Sprintf("%s/%s/%d/%d", o.Job, o.Sink, o.Task, o.Incarnation)
}

// appender appends to a topic and remembers what went wrong.
type appender struct {
	topic    *actor.Topic
	producer *actor.Producer
	sites    []*telemetry.Site // of the spans, by partition; none: no spans

	mu     sync.Mutex
	failed error
}

// newAppender returns an appender for a writer of a sink.
func newAppender(sys *actor.System, t *actor.Topic, w topology.SinkOpen, o actor.ProducerOptions) (*appender, error) {
	p, err := t.NewProducer(o)
	a := &appender{topic: t, producer: p}
	if tracer := sys.Tracer(); tracer != nil {
		for i := range t.Partitions() {
			a.sites = append(a.sites, tracer.Site(telemetry.Send,
				telemetry.Place{Topic: t.Name(), Partition: i, Job: w.Job, Operator: w.Sink, Task: w.Task}))
		}
	}
	return a, err
}

// append begins to append records to a partition, in pieces that fit.
func (a *appender) append(ctx context.Context, partition int, records []codec.Record) error {
	for len(records) > 0 {
		n := piece(records)
		if err := a.appendPiece(ctx, partition, records[:n]); err != nil {
			if first := a.err(); first != nil {
				return first // what this one was refused for
			}
			return err
		}
		records = records[n:]
	}
	return a.err()
}

// appendPiece has a span from here to the acknowledgement.
func (a *appender) appendPiece(ctx context.Context, partition int, records []codec.Record) error {
	if a.sites == nil {
		return a.producer.AppendAsync(ctx, partition, records, a.done)
	}
	span := a.sites[partition].Start(len(records), telemetry.Traces(records))
	err := a.producer.AppendAsync(ctx, partition, records, func(ack actor.Ack, err error) {
		span.End(err)
		a.done(ack, err)
	})
	if err != nil {
		span.End(err)
	}
	return err
}

// pieceBytes is how much one append holds, give or take one record.
const pieceBytes = 256 << 10

func piece(records []codec.Record) int {
	size := 0
	for i := range records {
		if size += recordBytes(&records[i]); size >= pieceBytes {
			return i + 1
		}
	}
	return len(records)
}

// recordBytes is about what a record takes, in memory as on disk.
func recordBytes(r *codec.Record) int {
	n := 80 + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 40 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

func (a *appender) done(_ actor.Ack, err error) {
	if err == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed == nil {
		a.failed = err
	}
}

func (a *appender) err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// flush waits until everything is acknowledged.
func (a *appender) flush(ctx context.Context) error {
	if err := a.producer.Flush(ctx); err != nil {
		return err
	}
	return a.err()
}

// forgive forgets a failure, once nothing is under way: the same can be appended
// again then.
func (a *appender) forgive(ctx context.Context) error {
	if err := a.producer.Flush(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = nil
	return nil
}

// closePatience is how long Close waits for what is under way.
const closePatience = 10 * time.Second

func (a *appender) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return a.producer.Close(ctx)
}

// immediateWriter appends at once: at least once.
type immediateWriter[T any] struct {
	encoder[T]
	*appender
	groups [][]codec.Record // of the batch at hand, by partition
}

// Write groups the batch by partition and begins to append it. It waits while
// too much is under way.
func (w *immediateWriter[T]) Write(ctx context.Context, b *topology.Batch[T]) error {
	if err := errors.Join(ctx.Err(), w.err()); err != nil {
		return err
	}
	w.reset()
	var flaw error
	traces := b.Traces
	for i := range b.Values {
		var p int
		var r codec.Record
		if p, r, traces, flaw = w.encode(b, i, traces); flaw != nil {
			break
		}
		w.groups[p] = append(w.groups[p], r)
	}
	for p := range w.groups {
		err := w.append(ctx, p, w.groups[p])
		clear(w.groups[p])
		w.groups[p] = w.groups[p][:0]
		if err != nil {
			return err
		}
	}
	return flaw
}

// Prepare waits until all is acknowledged.
func (w *immediateWriter[T]) Prepare(ctx context.Context, _ uint64) ([]byte, error) {
	return nil, w.flush(ctx)
}

// Commit has nothing to do.
func (w *immediateWriter[T]) Commit(context.Context, uint64) error { return nil }

// Close waits for what is under way, and says if any of it failed.
func (w *immediateWriter[T]) Close() error { return errors.Join(w.close(), w.err()) }
