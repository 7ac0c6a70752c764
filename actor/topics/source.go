package topics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/topology"
)

type source[T any] struct{ topic Topic[T] }

// EndOf implements dataflow.TopicEnd.
func (s source[T]) EndOf() dataflow.TopicName { return dataflow.TopicName(s.topic.name) }

// Splits lists the partitions.
func (s source[T]) Splits(ctx context.Context) ([]string, error) {
	t, err := s.topic.open(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.topic.inGroup(ctx); err != nil {
		return nil, err
	}
	ids := make([]string, t.Partitions())
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	return ids, nil
}

// Open opens one partition.
func (s source[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	t, err := s.topic.open(ctx)
	if err != nil {
		return nil, err
	}
	partition, err := strconv.Atoi(r.Split)
	if err != nil || partition < 0 || partition >= t.Partitions() {
		return nil, fmt.Errorf("topic %s has no partition %q: it has %d, numbered from 0", t.Name(), r.Split, t.Partitions())
	}
	pr := &partitionReader[T]{topic: t, partition: partition, codec: s.topic.codec}
	if pr.until, err = end(ctx, t, partition, r.Until); err != nil {
		return nil, err
	}
	pr.until = min(pr.until, s.topic.end(partition))
	from, err := s.from(ctx, t, partition, r)
	if err != nil {
		return nil, fmt.Errorf("topic %s, partition %d: %w", t.Name(), partition, err)
	}
	pr.reader, err = t.OpenReader(ctx, partition, from)
	if errors.Is(err, actor.ErrOffsetOutOfRange) && r.Position != nil {
		return nil, fmt.Errorf("%w: the checkpoint's position is not in the topic any more; start the job afresh", err)
	}
	if err != nil {
		return nil, err
	}
	pr.offset = pr.reader.Offset()
	return pr, nil
}

// from is where a partition is read from: where the job was, else as was asked for,
// else where its group was, else as the topic says.
func (s source[T]) from(ctx context.Context, t *actor.Topic, partition int, r topology.OpenRequest) (actor.From, error) {
	if r.Position != nil {
		p, err := parsePosition(r.Position)
		if err == nil {
			err = p.in(t)
		}
		return actor.FromOffset(p.offset), err
	}
	if r.Start.Kind != dataflow.StartDefault {
		return begin(r.Start)
	}
	if from, ok, err := s.topic.committed(ctx, t, partition); ok || err != nil {
		return from, err
	}
	return begin(s.topic.start)
}

// end is where a partition ends by what the topic says.
func (t Topic[T]) end(partition int) uint64 {
	switch {
	case t.ends == nil:
		return math.MaxUint64
	case partition < len(t.ends):
		return t.ends[partition]
	}
	return 0
}

// begin is where a reader starts.
func begin(s topology.Start) (actor.From, error) {
	switch s.Kind {
	case dataflow.StartEnd:
		return actor.FromEnd(), nil
	case dataflow.StartOffset:
		if s.Offset < 0 {
			return actor.From{}, fmt.Errorf("reading cannot start at offset %d", s.Offset)
		}
		return actor.FromOffset(uint64(s.Offset)), nil
	case dataflow.StartTime:
		return actor.FromTime(time.UnixMilli(s.Time)), nil
	default:
		return actor.FromBeginning(), nil
	}
}

// end is the offset in front of which reading ends.
func end(ctx context.Context, t *actor.Topic, partition int, u topology.Until) (uint64, error) {
	until := uint64(math.MaxUint64)
	if u.Offset < 0 {
		return 0, fmt.Errorf("topic %s, partition %d: reading cannot end at offset %d", t.Name(), partition, u.Offset)
	}
	if u.Offset > 0 {
		until = uint64(u.Offset)
	}
	if u.Time != 0 {
		// What arrives later is past the time as well, so the offset is fixed
		// only if the time has come; until then the end is open.
		at, err := t.OffsetAt(ctx, partition, time.UnixMilli(u.Time))
		if err != nil {
			return 0, err
		}
		bounds, err := t.Bounds(ctx, partition)
		if err != nil {
			return 0, err
		}
		if at < bounds.Next || !time.Now().Before(time.UnixMilli(u.Time)) {
			until = min(until, at)
		} else {
			return 0, fmt.Errorf("topic %s, partition %d: reading cannot end at %s, which has not come yet; give an earlier time or an offset",
				t.Name(), partition, time.UnixMilli(u.Time).UTC().Format(time.RFC3339))
		}
	}
	if u.End {
		bounds, err := t.Bounds(ctx, partition)
		if err != nil {
			return 0, err
		}
		until = min(until, bounds.Next)
	}
	return until, nil
}

// partitionReader reads one partition.
type partitionReader[T any] struct {
	topic     *actor.Topic
	partition int
	codec     Codec[T]
	reader    *actor.Reader
	until     uint64

	offset uint64       // of the next record
	batch  *codec.Batch // that is being read; nil: none
	record codec.Record

	known   uint64    // end of the partition, when it was last asked
	knownAt time.Time // when that was
}

// Read decodes the records of one stored batch, or what is left of it.
func (r *partitionReader[T]) Read(ctx context.Context, b *topology.Batch[T], max int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.offset >= r.until {
		return io.EOF
	}
	if r.batch == nil {
		batch, err := r.reader.Next(ctx)
		if err != nil {
			return err
		}
		r.batch, r.offset = batch, batch.Offset() // what lies between was compacted away
	}
	for b.Len() < max && r.offset < r.until {
		at := r.offset
		if !r.batch.Next(&r.record) {
			return r.endOfBatch(ctx, b, max)
		}
		r.offset = r.batch.Offset()
		if err := r.decode(b, at); err != nil {
			return err
		}
	}
	return nil
}

// endOfBatch goes on to the next one only if nothing was read yet: what waits
// for more must not hold back what is there.
func (r *partitionReader[T]) endOfBatch(ctx context.Context, b *topology.Batch[T], max int) error {
	err := r.batch.Err()
	r.batch = nil
	if err != nil {
		return fmt.Errorf("topic %s, partition %d, offset %d: %w", r.topic.Name(), r.partition, r.offset, err)
	}
	if b.Len() > 0 {
		return nil
	}
	return r.Read(ctx, b, max)
}

func (r *partitionReader[T]) decode(b *topology.Batch[T], at uint64) error {
	v, err := r.value()
	if err != nil {
		return &dataflow.RecordError{
			Raw:   append([]byte{}, r.record.Value...),
			Where: fmt.Sprintf("topic %s, partition %d, offset %d", r.topic.Name(), r.partition, at),
			Err:   fmt.Errorf("the record cannot be decoded: %w", err),
			Stack: dataflow.StackOf(err),
		}
	}
	if len(r.record.Headers) > 0 {
		// Also one that is not sampled: whoever made it has decided that for the record.
		if c, ok := telemetry.Extract(r.record.Headers); ok {
			b.Traces = append(b.Traces, dataflow.Trace{Index: b.Len(), Context: c})
		}
	}
	b.Values = append(b.Values, v)
	if r.record.Time != codec.NoTime || len(b.Times) > 0 {
		for len(b.Times) < b.Len()-1 {
			b.Times = append(b.Times, dataflow.NoTime)
		}
		b.Times = append(b.Times, r.record.Time)
	}
	return nil
}

// value decodes the record at hand, by a codec that may be the user's.
func (r *partitionReader[T]) value() (v T, err error) {
	defer dataflow.Recovered(&err)
	v, err = r.codec.Decode(r.record.Value)
	return v, misread(r.codec, r.record.Value, err)
}

// Position is that of the next record.
func (r *partitionReader[T]) Position() []byte {
	return position{r.offset, r.topic.Incarnation()}.bytes()
}

// lagFresh is how long the end of the partition counts as known.
const lagFresh = time.Second

// Lag is how far the end of the partition, as it was within the last second, is
// ahead of the position.
func (r *partitionReader[T]) Lag() int64 {
	if now := time.Now(); now.Sub(r.knownAt) > lagFresh {
		ctx, cancel := context.WithTimeout(context.Background(), lagFresh)
		defer cancel()
		bounds, err := r.topic.Bounds(ctx, r.partition)
		if err != nil {
			return -1
		}
		r.known, r.knownAt = bounds.Next, now
	}
	known := min(r.known, r.until)
	if known <= r.offset {
		return 0
	}
	return int64(known - r.offset)
}

// Close ends the reader.
func (r *partitionReader[T]) Close() error {
	r.reader.Close()
	return nil
}
