package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// ErrUndecodable: the value of a record is not what the topic's codec writes.
var ErrUndecodable = errors.New("the record cannot be decoded")

// Delivery is a record in the hands of a handler. The actor.Delivery says all of it
// but the value: Key, Headers, Topic, Partition, Offset, AppendTime and EventTime,
// Attempt and Cause.
type Delivery[T any] struct {
	*actor.Delivery
	// Value is the zero value of a tombstone.
	Value T
	// Tombstone: the record has no value.
	Tombstone bool
}

// Handler works on a record: see actor.Handler.
type Handler[T any] func(ctx context.Context, d *Delivery[T]) error

// Consumer is a member of a consumer group whose records are decoded before its
// handler sees them: see actor.Consumer.
type Consumer[T any] struct{ *actor.Consumer }

// ConsumerOption configures a Consumer.
type ConsumerOption func(*consumerOptions)

type consumerOptions struct {
	actor.ConsumerOptions
	undecodable actor.FailurePolicy
}

// OnFailure decides about records whose handler fails. Without it, the partition
// stops.
func OnFailure(p actor.FailurePolicy) ConsumerOption {
	return func(o *consumerOptions) { o.OnFailure = p }
}

// Undecodable decides about records that cannot be decoded; their handler is not
// called, and they are not tried again. Without it, they go to the dead-letter
// topic "dead-" and the group's name. With actor.Skip() they are passed over, with
// actor.StopOnFailure{} the partition stops.
func Undecodable(p actor.FailurePolicy) ConsumerOption {
	return func(o *consumerOptions) { o.undecodable = p }
}

// RetryBudget bounds how many deliveries are retries, as a share of the others; the
// default is actor.DefaultRetryShare. See actor.RetryBudget, which can also be said
// with Configure.
func RetryBudget(share float64) ConsumerOption {
	return func(o *consumerOptions) { o.ConsumerOptions.RetryBudget.Share = share }
}

// Concurrency is how many records of each partition are worked on at a time, in
// order for each key. Without it 1, in order for all.
func Concurrency(n int) ConsumerOption {
	return func(o *consumerOptions) { o.ConsumerOptions.Concurrency = n }
}

// CommitEvery is how often offsets are committed; the default is
// actor.DefaultCommitInterval.
func CommitEvery(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.CommitInterval = d }
}

// ManualCommit leaves committing to Commit and CommitAsync.
func ManualCommit() ConsumerOption {
	return func(o *consumerOptions) { o.ConsumerOptions.ManualCommit = true }
}

// ManualAck has a record be done when Delivery.Ack is called, not when its handler
// returns.
func ManualAck() ConsumerOption {
	return func(o *consumerOptions) { o.ConsumerOptions.ManualAck = true }
}

// StartAt says where a group begins that has committed nothing. Without it, at the
// oldest record.
func StartAt(s actor.StartPolicy) ConsumerOption {
	return func(o *consumerOptions) { o.Start = s }
}

// Instance names a static member: see actor.ConsumerOptions.
func Instance(name string) ConsumerOption {
	return func(o *consumerOptions) { o.ConsumerOptions.Instance = name }
}

// Assignor chooses how the group shares out partitions.
func Assignor(a actor.Assignor) ConsumerOption {
	return func(o *consumerOptions) { o.ConsumerOptions.Assignor = a }
}

// Listen tells what happens to the consumer's partitions.
func Listen(l actor.Listener) ConsumerOption {
	return func(o *consumerOptions) { o.Listener = l }
}

// Held bounds what is held of one partition.
func Held(l actor.HeldLimits) ConsumerOption {
	return func(o *consumerOptions) { o.Limits = l }
}

// Configure sets what there is no option for.
func Configure(f func(*actor.ConsumerOptions)) ConsumerOption {
	return func(o *consumerOptions) { f(&o.ConsumerOptions) }
}

// NewConsumer joins a consumer group that works on the topic, which is declared if
// need be. ctx is for joining; the consumer works until it is closed. Close it, within a
// context that has not ended: that commits.
func (t Topic[T]) NewConsumer(ctx context.Context, e Engine, group string, h Handler[T], opts ...ConsumerOption) (*Consumer[T], error) {
	if h == nil {
		return nil, fmt.Errorf("consumer of group %s: it has no handler", group)
	}
	if _, err := t.openWith(ctx, e); err != nil {
		return nil, err
	}
	o := consumerOptions{undecodable: actor.DeadLetter("dead-" + group)}
	o.Group, o.Topics, o.OnFailure = group, []string{t.name}, actor.StopOnFailure{}
	for _, opt := range opts {
		opt(&o)
	}
	o.OnFailure = actor.IfError(ErrUndecodable, o.undecodable, o.OnFailure)
	c, err := e.System().NewConsumer(ctx, o.ConsumerOptions, decoding(t.codec, h))
	if err != nil {
		return nil, err
	}
	return &Consumer[T]{c}, nil
}

// Matching is a filter for actor.ReplayRange, by value. Tombstones, and records that
// cannot be decoded, do not match.
func (t Topic[T]) Matching(f func(T) bool) func(*actor.Record) bool {
	decode := codec.DecoderInto(t.codec)
	return func(r *actor.Record) bool {
		var v T
		return r.Value != nil && guarded(decode, r.Value, &v) == nil && f(v)
	}
}

// decoding is a handler that decodes for another.
func decoding[T any](c Codec[T], h Handler[T]) actor.Handler {
	decode := decoderOf(c)
	return func(ctx context.Context, raw *actor.Delivery) error {
		d := &Delivery[T]{Delivery: raw, Tombstone: raw.Record.Value == nil}
		if !d.Tombstone {
			if err := decodeInto(decode, d); err != nil {
				return err
			}
		}
		return h(ctx, d)
	}
}

// decodeInto decodes a value, by a codec that may be the user's.
func decodeInto[T any](decode func([]byte, *T) error, d *Delivery[T]) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("topic %s, partition %d, offset %d: %w: %w", d.Topic, d.Partition, d.Offset, ErrUndecodable, err)
		}
	}()
	defer dataflow.Recovered(&err)
	return decode(d.Delivery.Record.Value, &d.Value)
}
