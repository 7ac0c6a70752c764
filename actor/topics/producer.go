package topics

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/partitioner"
)

// Engine is where topics live: a runtime.Engine.
type Engine interface{ System() *actor.System }

// Producer publishes values to a topic, one at a time, and takes care of batches,
// partitions and repetition: see actor.Publisher. It is safe for concurrent use.
type Producer[T any] struct {
	topic     Topic[T]
	publisher *actor.Publisher
	arenas    sync.Pool // of *encoder[T]
}

// ProducerOption configures a Producer.
type ProducerOption func(*actor.PublisherOptions)

// Named gives the producer a name. Whoever publishes under it again, in another
// process, say, goes on where the one before ended, and shuts it out.
func Named(id string) ProducerOption {
	return func(o *actor.PublisherOptions) { o.ID = id }
}

// RoundRobin deals records without a key to the partitions in turn. Without it they
// go to one partition for as long as a batch, which makes larger batches.
func RoundRobin() ProducerOption {
	return func(o *actor.PublisherOptions) { o.Keyless = new(partitioner.RoundRobin) }
}

// PartitionBy chooses the partition of every record that is not sent to one, from
// its key. Without it, records with a key go where Kafka's default partitioner
// puts them.
func PartitionBy(f func(key []byte, partitions int) int) ProducerOption {
	return func(o *actor.PublisherOptions) {
		o.Partition = func(r *actor.Record, n int) int { return f(r.Key, n) }
	}
}

// BufferBytes bounds the records that wait or are under way; the default is
// actor.DefaultBufferBytes. While there is no room, publishing waits.
func BufferBytes(n int) ProducerOption {
	return func(o *actor.PublisherOptions) { o.BufferBytes = n }
}

// BatchBytes is the size from which on a batch takes no more records; the default
// is actor.DefaultBatchBytes.
func BatchBytes(n int) ProducerOption {
	return func(o *actor.PublisherOptions) { o.BatchBytes = n }
}

// FailFast refuses a record that there is no room for, with actor.ErrBackpressure,
// instead of waiting for room.
func FailFast() ProducerOption {
	return func(o *actor.PublisherOptions) { o.FailFast = true }
}

// DeliveryTimeout is how long a record is tried for; the default is
// actor.DefaultDeliveryTimeout.
func DeliveryTimeout(d time.Duration) ProducerOption {
	return func(o *actor.PublisherOptions) { o.DeliveryTimeout = d }
}

// NewProducer returns a producer of the topic, which is declared if need be. Close
// it.
func (t Topic[T]) NewProducer(ctx context.Context, e Engine, opts ...ProducerOption) (*Producer[T], error) {
	topic, err := t.openWith(ctx, e)
	if err != nil {
		return nil, err
	}
	var o actor.PublisherOptions
	for _, opt := range opts {
		opt(&o)
	}
	publisher, err := topic.NewPublisher(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &Producer[T]{topic: t, publisher: publisher}
	p.arenas.New = func() any {
		e := newEncoder(t, topic.Partitions(), 0)
		return &e
	}
	return p, nil
}

// Send publishes a value and waits until it is as durable as the topic promises.
// It says where the value went.
func (p *Producer[T]) Send(ctx context.Context, v T) (actor.Published, error) {
	f, err := p.Publish(ctx, Message[T]{Value: v})
	if err != nil {
		return actor.Published{Partition: actor.AnyPartition, Offset: actor.NoOffset}, err
	}
	return f.Wait(ctx)
}

// Publish begins to publish a message and returns what becomes of it. It waits only
// for room, within ctx, and fails at once if there is something wrong with the
// message: if its codec cannot encode it, say. The message may be changed as soon
// as Publish returns.
func (p *Producer[T]) Publish(ctx context.Context, m Message[T]) (actor.Future, error) {
	return p.PublishTo(ctx, actor.AnyPartition, m)
}

// PublishTo is like Publish, for a partition of the caller's choice.
func (p *Producer[T]) PublishTo(ctx context.Context, partition int, m Message[T]) (f actor.Future, err error) {
	err = p.encoded(&m, func(r *codec.Record) error {
		f, err = p.publisher.Publish(ctx, partition, r)
		return err
	})
	return f, err
}

// PublishFunc is like Publish and calls done exactly once, unless it returns an
// error. done must not block.
func (p *Producer[T]) PublishFunc(ctx context.Context, m Message[T], done func(actor.Published, error)) error {
	return p.encoded(&m, func(r *codec.Record) error {
		return p.publisher.PublishFunc(ctx, actor.AnyPartition, r, done)
	})
}

// SendIf publishes messages to one partition, all or none, provided that the newest
// record of a key is where the caller believes it to be, and waits until they are as
// durable as the topic promises. It says where the first went; the others follow densely.
// If the expectation is not met, nothing is stored, and the error is an
// actor.KeyConflictError. The topic must have a KeyIndex. Where e has no key, it is that
// of the first message. See actor.Publisher.PublishIf.
func (p *Producer[T]) SendIf(ctx context.Context, e actor.Expected, messages ...Message[T]) (actor.Published, error) {
	enc := p.arenas.Get().(*encoder[T])
	defer p.arenas.Put(enc)
	enc.reset()
	records := make([]codec.Record, len(messages))
	for i := range messages {
		if err := p.record(enc, &records[i], &messages[i]); err != nil {
			return actor.Published{Partition: actor.AnyPartition, Offset: actor.NoOffset}, err
		}
	}
	if e.Key == nil && len(records) > 0 {
		e.Key = records[0].Key
	}
	return p.publisher.PublishIf(ctx, actor.AnyPartition, e, records)
}

// encoded calls f with the record of a message. It belongs to f until f returns.
func (p *Producer[T]) encoded(m *Message[T], f func(*codec.Record) error) error {
	e := p.arenas.Get().(*encoder[T])
	defer p.arenas.Put(e)
	e.reset()
	var r codec.Record
	if err := p.record(e, &r, m); err != nil {
		return err
	}
	return f(&r)
}

// record makes a record of a message. It is valid until the encoder is reset.
func (p *Producer[T]) record(e *encoder[T], r *codec.Record, m *Message[T]) error {
	*r = codec.Record{Key: m.Key, Headers: m.Headers, Time: m.Time.UnixMilli()}
	if m.Time.IsZero() {
		r.Time = time.Now().UnixMilli()
	}
	if err := e.message(r, m); err != nil {
		return fmt.Errorf("publish to topic %s: the message cannot be encoded: %w", p.topic.name, err)
	}
	return nil
}

// message sets key and value of a record, by code that may be the user's.
func (e *encoder[T]) message(r *codec.Record, m *Message[T]) (err error) {
	defer dataflow.Recovered(&err)
	if r.Key == nil && e.key != nil {
		r.Key = e.key(m.Value)
	}
	if m.Tombstone {
		return nil
	}
	grown, err := e.codec.Append(e.arena, m.Value)
	if err != nil {
		return err
	}
	r.Value = e.keep(grown)
	return nil
}

// Flush waits until it is known of everything published so far what became of it.
func (p *Producer[T]) Flush(ctx context.Context) error { return p.publisher.Flush(ctx) }

// Close refuses further messages, and waits for those under way. When ctx ends
// first, they fail.
func (p *Producer[T]) Close(ctx context.Context) error { return p.publisher.Close(ctx) }
