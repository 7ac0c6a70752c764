package topics

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
)

// ErrNoPartition: the reader does not read that partition.
var ErrNoPartition = errors.New("the reader does not read that partition")

// Reader reads a topic by itself: it is in no group, commits nothing, and neither
// knows of other readers nor disturbs them. Records of a partition come in order,
// those of several as they are at hand.
//
// Next is for one goroutine at a time; the other methods may be called from any,
// meanwhile, too.
type Reader[T any] struct {
	topic  *actor.Topic
	decode func([]byte, *T) error
	out    chan fetched

	mu      sync.Mutex
	lanes   []*readerLane
	current fetched       // the batch that is being given out; no batch: none
	changed chan struct{} // closed when a lane was moved or let go
	closed  bool
}

// NewReader returns a reader of the topic, which is declared if need be. Close it.
func (t Topic[T]) NewReader(ctx context.Context, e Engine, opts ...ReaderOption) (*Reader[T], error) {
	topic, err := t.existing(ctx, e)
	if err != nil {
		return nil, err
	}
	r := &Reader[T]{topic: topic, decode: decoderOf(t.codec), out: make(chan fetched), changed: make(chan struct{})}
	if err := r.open(ctx, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("read topic %s: %w", t.name, err), r.Close())
	}
	return r, nil
}

// existing opens a topic that there is, whoever's it is, or declares it.
func (t Topic[T]) existing(ctx context.Context, e Engine) (*actor.Topic, error) {
	if e == nil {
		return nil, t.noEngine()
	}
	if topic, err := e.System().Topic(ctx, t.name); !errors.Is(err, actor.ErrNoTopic) {
		return topic, err
	}
	return t.openWith(ctx, e)
}

func (r *Reader[T]) open(ctx context.Context, opts []ReaderOption) error {
	var o readerOptions
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.check(time.Now()); err != nil {
		return err
	}
	partitions, err := o.chosen(r.topic.Partitions())
	if err != nil {
		return err
	}
	for _, p := range partitions {
		l := &readerLane{at: actor.TopicPartition{Topic: r.topic.Name(), Partition: p}}
		if l.raw, err = r.topic.OpenReader(ctx, p, o.from); err != nil {
			return err
		}
		l.next = l.raw.Offset()
		r.lanes = append(r.lanes, l)
		if l.limit, l.bounded, err = o.until.limit(ctx, r.topic, p); err != nil {
			return err
		}
	}
	for _, l := range r.lanes {
		l.start(r.out)
	}
	return nil
}

// Next returns the next record, and waits for one within ctx. When all partitions
// have come to where they are to end, that is actor.ErrEnd.
//
// A record that cannot be decoded is returned without its Value, with an
// ErrUndecodable. Records that were dropped before they could be read are an
// actor.ErrOffsetOutOfRange. After either, Next goes on behind. Another error stops
// its partition, and comes again until that was moved with Seek.
func (r *Reader[T]) Next(ctx context.Context) (*Entry[T], error) {
	for {
		r.mu.Lock()
		entry, err := r.take()
		changed := r.changed
		r.mu.Unlock()
		if entry != nil || err != nil {
			return entry, err
		}
		select {
		case f := <-r.out:
			r.mu.Lock()
			err := r.accept(f)
			r.mu.Unlock()
			if err != nil {
				return nil, err
			}
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("read topic %s: %w", r.topic.Name(), ctx.Err())
		}
	}
}

// All gives what Next does, until everything has come to its end or the loop is
// left. An error is given once; only those that Next goes on after are followed by
// more.
func (r *Reader[T]) All(ctx context.Context) iter.Seq2[*Entry[T], error] {
	return func(yield func(*Entry[T], error) bool) {
		for {
			entry, err := r.Next(ctx)
			if errors.Is(err, actor.ErrEnd) || !yield(entry, err) {
				return
			}
			if err != nil && !errors.Is(err, ErrUndecodable) && !errors.Is(err, actor.ErrOffsetOutOfRange) {
				return
			}
		}
	}
}

// take gives out a record that is at hand, or says why there will be none.
func (r *Reader[T]) take() (*Entry[T], error) {
	if r.closed {
		return nil, fmt.Errorf("the reader of topic %s: %w", r.topic.Name(), actor.ErrClosed)
	}
	if entry, err := r.fromBatch(); entry != nil || err != nil {
		return entry, err
	}
	left := false
	for _, l := range r.lanes {
		if l.failed != nil {
			return nil, l.failed
		}
		left = left || !l.ended()
	}
	if !left {
		return nil, actor.ErrEnd
	}
	return nil, nil
}

func (r *Reader[T]) fromBatch() (*Entry[T], error) {
	l, batch := r.current.lane, r.current.batch
	if batch == nil {
		return nil, nil
	}
	offset := batch.Offset()
	var raw actor.Record
	if batch.Left() == 0 || l.bounded && offset >= l.limit || !batch.Next(&raw) {
		r.current = fetched{}
		return nil, r.behind(l, batch)
	}
	l.next = offset + 1
	return newEntry(r.decode, raw, l.at, offset, batch.Appended())
}

// behind moves a lane behind a batch: offsets can be missing at its end.
func (r *Reader[T]) behind(l *readerLane, batch *actor.RecordBatch) error {
	if err := batch.Err(); err != nil {
		l.stop()
		l.failed = fmt.Errorf("topic %s, partition %d, offset %d: %w", l.at.Topic, l.at.Partition, l.next, err)
		return l.failed
	}
	end := batch.Info.End()
	if l.bounded {
		end = min(end, l.limit)
	}
	if l.next = max(l.next, end); l.ended() {
		l.stop()
	}
	return nil
}

// accept takes over what a lane has read.
func (r *Reader[T]) accept(f fetched) error {
	l := f.lane
	if f.run != l.run {
		return nil
	}
	if f.err == nil {
		r.current = f
		return nil
	}
	l.stop()
	if l.trimmed(f.err) {
		l.start(r.out)
	} else {
		l.failed = f.err
	}
	return f.err
}

// lane calls f with a partition that stands still, and lets it go on. What was read
// of it and not given out is read again.
func (r *Reader[T]) lane(partition int, f func(*readerLane) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("the reader of topic %s: %w", r.topic.Name(), actor.ErrClosed)
	}
	for _, l := range r.lanes {
		if l.at.Partition != partition {
			continue
		}
		l.stop()
		if r.current.lane == l {
			r.current = fetched{}
		}
		err := f(l)
		l.start(r.out)
		close(r.changed)
		r.changed = make(chan struct{})
		return err
	}
	return fmt.Errorf("topic %s, partition %d: %w", r.topic.Name(), partition, ErrNoPartition)
}

// Seek has a partition go on elsewhere. Where the reader ends stays the same.
func (r *Reader[T]) Seek(ctx context.Context, partition int, to actor.From) error {
	at, err := r.topic.OpenReader(ctx, partition, to)
	if err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	defer at.Close()
	return r.lane(partition, func(l *readerLane) error {
		l.next, l.failed = at.Offset(), nil
		return nil
	})
}

// Pause gives out nothing of a partition until Resume; the others go on.
func (r *Reader[T]) Pause(partition int) error {
	return r.lane(partition, func(l *readerLane) error {
		l.paused = true
		return nil
	})
}

// Resume ends a pause.
func (r *Reader[T]) Resume(partition int) error {
	return r.lane(partition, func(l *readerLane) error {
		l.paused = false
		return nil
	})
}

// Offset returns the offset of the next record of a partition that Next gives.
func (r *Reader[T]) Offset(partition int) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		if l.at.Partition == partition {
			return l.next, nil
		}
	}
	return 0, fmt.Errorf("topic %s, partition %d: %w", r.topic.Name(), partition, ErrNoPartition)
}

// At reads the record at an offset, of any partition of the topic, and leaves the
// reader where it is. One that is not there, or that compaction has taken away, is
// an actor.ErrOffsetOutOfRange.
func (r *Reader[T]) At(ctx context.Context, partition int, offset uint64) (*Entry[T], error) {
	raw, err := r.topic.OpenReader(ctx, partition, actor.FromOffset(offset))
	if err != nil {
		return nil, fmt.Errorf("read one record: %w", err)
	}
	defer raw.Close()
	batch, err := raw.TryNext(ctx)
	switch {
	case errors.Is(err, actor.ErrEnd):
		return nil, r.missing(ctx, partition, offset)
	case err != nil:
		return nil, fmt.Errorf("read one record: %w", err)
	case batch.Left() == 0 || batch.Offset() != offset:
		return nil, r.missing(ctx, partition, offset)
	}
	var record actor.Record
	if !batch.Next(&record) {
		return nil, fmt.Errorf("topic %s, partition %d, offset %d: %w", r.topic.Name(), partition, offset, batch.Err())
	}
	return newEntry(r.decode, record, actor.TopicPartition{Topic: r.topic.Name(), Partition: partition}, offset, batch.Appended())
}

func (r *Reader[T]) missing(ctx context.Context, partition int, offset uint64) error {
	b, err := r.topic.Bounds(ctx, partition)
	if err != nil {
		return err
	}
	return fmt.Errorf("read one record: %w", &actor.OffsetError{Topic: r.topic.Name(), Partition: partition, Offset: offset, First: b.First, Next: b.Next})
}

// Close ends the reader. A Next that waits returns actor.ErrClosed.
func (r *Reader[T]) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	for _, l := range r.lanes {
		l.stop()
		l.raw.Close()
	}
	r.current = fetched{}
	close(r.changed)
	return nil
}
