package queues

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/topology"
)

const (
	// fetchMost is how many messages are fetched at once.
	fetchMost = 512
	// drainPause is how long a reader that is to end with the queue waits for more
	// before it looks whether this is the end.
	drainPause = 5 * time.Millisecond
	// lagFresh is how long the number of waiting messages counts as known.
	lagFresh = time.Second
	// closePatience is how long Close waits for acknowledgements that are under way.
	closePatience = 10 * time.Second
)

// reader reads a queue for a job.
type reader[T any] struct {
	source   *source[T]
	queue    *actor.Queue
	consumer *actor.QueueConsumer
	decoder  func([]byte, *T) error
	holding  *holding
	bounded  bool // it ends with the queue
	ended    bool
	enough   int // unacknowledged messages from which on a checkpoint is asked for
	asked    atomic.Bool

	fetched []*actor.QueueDelivery // and not read yet
	room    [fetchMost]*actor.QueueDelivery

	known   int64 // messages that waited, when that was asked last
	knownAt time.Time
}

// Read returns what is there, without what is in the state already.
func (r *reader[T]) Read(ctx context.Context, b *topology.Batch[T], max int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.read(b, max); err != nil || b.Len() > 0 {
			r.askCheckpoint(ctx, r.enough)
			return err
		}
		if err := r.fetch(ctx, max); err != nil {
			return err
		}
	}
}

// read reads what was fetched.
func (r *reader[T]) read(b *topology.Batch[T], max int) error {
	for len(r.fetched) > 0 && b.Len() < max {
		d := r.fetched[0]
		r.fetched[0], r.fetched = nil, r.fetched[1:]
		if !r.holding.take(d) {
			continue
		}
		if err := r.decode(b, d); err != nil {
			return err
		}
	}
	return nil
}

// fetch waits for messages, or for the end.
func (r *reader[T]) fetch(ctx context.Context, max int) error {
	for !r.ended {
		within, cancel := ctx, func() {}
		if r.bounded {
			within, cancel = context.WithTimeout(ctx, drainPause)
		}
		n, err := r.consumer.NextBatch(within, r.room[:min(max, fetchMost)])
		cancel()
		if err == nil {
			r.fetched = r.room[:n]
			return nil
		}
		if ctx.Err() != nil || !r.bounded || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if r.ended, err = r.consumer.Drained(ctx); err != nil {
			return err
		}
		r.askCheckpoint(ctx, 1) // some may come only behind others of their group
	}
	return io.EOF
}

// askCheckpoint asks for one, once, when so many messages are unacknowledged.
func (r *reader[T]) askCheckpoint(ctx context.Context, enough int) {
	if r.holding.unacknowledged() >= enough && r.asked.CompareAndSwap(false, true) {
		actor.AskCheckpoint(ctx)
	}
}

// settle acknowledges what a complete checkpoint has, and lets go of it when that is
// durable.
func (r *reader[T]) settle(ctx context.Context, refs []queue.Ref) error {
	r.holding.cover(refs)
	err := r.consumer.Flush(ctx)
	over, open := r.holding.ending(refs, err == nil)
	if len(open) > 0 {
		still, failed := r.queue.Unsettled(ctx, open)
		if failed != nil {
			return errors.Join(err, failed)
		}
		over = append(over, without(open, still)...)
	}
	r.holding.drop(over)
	r.asked.Store(false)
	r.askCheckpoint(ctx, r.enough) // what was read meanwhile may be too much already
	return err
}

// without returns all but some; both are in the same order.
func without(all, some []queue.Ref) (rest []queue.Ref) {
	for _, ref := range all {
		if len(some) > 0 && some[0] == ref {
			some = some[1:]
			continue
		}
		rest = append(rest, ref)
	}
	return rest
}

func (r *reader[T]) decode(b *topology.Batch[T], d *actor.QueueDelivery) error {
	record := d.Record()
	n := b.Len()
	var zero T
	b.Values = append(b.Values, zero)
	if err := r.value(record.Value, &b.Values[n]); err != nil {
		b.Values = b.Values[:n]
		return &dataflow.RecordError{
			Raw:   append([]byte{}, record.Value...),
			Where: fmt.Sprintf("queue %s, message %v", r.queue.Name(), d.Ref),
			Err:   fmt.Errorf("the message cannot be decoded: %w", err),
			Stack: dataflow.StackOf(err),
		}
	}
	if len(record.Headers) > 0 {
		if c, ok := telemetry.Extract(record.Headers); ok {
			b.Traces = append(b.Traces, dataflow.Trace{Index: n, Context: c})
		}
	}
	b.Times = append(b.Times, record.Time)
	return nil
}

// value decodes a body, by a codec that may be the user's.
func (r *reader[T]) value(body []byte, v *T) (err error) {
	defer dataflow.Recovered(&err)
	return r.decoder(body, v)
}

// Position is what is held.
func (r *reader[T]) Position() []byte { return r.holding.position() }

// Lag is how many messages waited in the queue, within the last second.
func (r *reader[T]) Lag() int64 {
	if now := time.Now(); now.Sub(r.knownAt) > lagFresh {
		ctx, cancel := context.WithTimeout(context.Background(), lagFresh)
		defer cancel()
		s, err := r.queue.Stats(ctx)
		if err != nil {
			return -1
		}
		r.known, r.knownAt = int64(s.Ready), now
	}
	return r.known + int64(len(r.fetched))
}

// Close gives back what is not acknowledged, and waits for acknowledgements that are under
// way.
func (r *reader[T]) Close() error {
	r.source.forget(r)
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return r.consumer.Close(ctx)
}
