package queues

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// source reads a queue. Readers are known to it, so that complete checkpoints can be told
// to whoever holds what they cover.
type source[T any] struct {
	queue   Queue[T]
	options actor.ConsumeOptions

	mu      sync.Mutex
	readers map[*reader[T]]struct{}
}

// Source returns the queue as a source of a topology.
//
// A job is a consumer of the queue, beside others. What it reads is acknowledged when the
// checkpoint that covers it is complete; the queue then lets go of it. A job that fails, or
// is killed, gets again what was not acknowledged, and what of it is in the state that it
// resumes from is recognized, acknowledged and passed over. So in a job with exactly-once
// state every message counts once, whatever fails, as long as the job resumes from its
// newest checkpoint, and no other consumer shares the queue: what another one is given
// between a checkpoint and the acknowledgement is worked on by both. Exclusive keeps others
// away.
//
// Of the options Prefetch, Priority and Exclusive count. Prefetch is how many messages the
// job may have read that are not acknowledged, by default actor.PrefetchMax: when there are
// as many, it reads no further. It bounds what comes again after a failure. When half of it
// is used the job takes a checkpoint, besides those at intervals. In jobs with at-least-once
// state, messages that were read behind the last checkpoint may count twice after a failure.
//
// A queue is one split, that is to say one task reads it, in the order of the queue; what
// follows can have any parallelism. Its event time is that of the message: what its
// publisher said, or else when it was published. Attempts are not counted: a message that
// cannot be decoded is treated as the error policy of the source says, and one that fails
// the job comes again as often as the job is begun anew. Of a queue with groups (GroupBy)
// one message of each group comes per checkpoint.
//
// It is told what to acknowledge as the source that it is: one that wraps it, and is not
// given its Report as well, never acknowledges anything.
//
// A job that is to end with its input (runtime.UntilEnd) ends when the queue, with all that
// was published by the start of the job, has nothing to deliver: messages that are delayed,
// or in the hands of others, are not waited for. A queue cannot be read from another place:
// a job that is asked for that is refused.
func (q Queue[T]) Source(opts ...ConsumerOption) topology.Source[T] {
	s := &source[T]{queue: q, readers: map[*reader[T]]struct{}{}}
	o := consumeOptions(opts)
	s.options = actor.ConsumeOptions{Name: cmp.Or(o.Name, "job"), Prefetch: cmp.Or(o.Prefetch, actor.PrefetchMax),
		Priority: o.Priority, Exclusive: o.Exclusive, Listener: o.Listener, Hold: true}
	return s
}

// Splits is one.
func (s *source[T]) Splits(ctx context.Context) ([]string, error) {
	if _, err := s.queue.open(ctx); err != nil {
		return nil, err
	}
	return []string{s.queue.name}, nil
}

// Open subscribes to the queue.
func (s *source[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	if err := s.check(r); err != nil {
		return nil, err
	}
	covered, err := parsePosition(r.Position)
	if err != nil {
		return nil, fmt.Errorf("queue %s: %w", s.queue.name, err)
	}
	q, err := s.queue.open(ctx)
	if err != nil {
		return nil, err
	}
	if covered, err = q.Unsettled(ctx, covered); err != nil {
		return nil, err
	}
	if r.Until.End {
		if err := q.CatchUp(ctx); err != nil {
			return nil, err
		}
	}
	return s.open(ctx, q, newHolding(r.Position, covered), r.Until.End)
}

func (s *source[T]) check(r topology.OpenRequest) error {
	switch {
	case r.Split != s.queue.name:
		return fmt.Errorf("queue %s has no split %q: it is one, of its own name", s.queue.name, r.Split)
	case r.Start.Kind != dataflow.StartDefault && r.Start.Kind != dataflow.StartBeginning:
		return fmt.Errorf("queue %s: a job cannot choose where it begins to read a queue; read a topic, or replay messages to a consumer", s.queue.name)
	case r.Until.Offset != 0 || r.Until.Time != 0:
		return fmt.Errorf("queue %s: a queue is read to its end or without one, and not to an offset or a time", s.queue.name)
	}
	return nil
}

func (s *source[T]) open(ctx context.Context, q *actor.Queue, h *holding, bounded bool) (topology.SourceReader[T], error) {
	o := s.options
	o.Listener.Refused = h.refuse
	c, err := q.Subscribe(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &reader[T]{source: s, queue: q, consumer: c, decoder: codec.DecoderInto(s.queue.codec), holding: h, bounded: bounded, enough: max(o.Prefetch/2, 1)}
	s.mu.Lock()
	s.readers[r] = struct{}{}
	s.mu.Unlock()
	return r, nil
}

// Report implements dataflow.Reporter: what a complete checkpoint has is acknowledged.
func (s *source[T]) Report(ctx context.Context, p dataflow.Positions) error {
	refs, err := parsePosition(p[s.queue.name])
	if err != nil {
		return err
	}
	for _, r := range s.all() {
		err = errors.Join(err, r.settle(ctx, refs))
	}
	return err
}

func (s *source[T]) all() (all []*reader[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.readers {
		all = append(all, r)
	}
	return all
}

func (s *source[T]) forget(r *reader[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
}
