package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/telemetry"
)

// From is where a reader begins.
type From struct {
	kind   fromKind
	offset uint64
	at     time.Time
}

type fromKind uint8

const (
	fromBeginning fromKind = iota
	fromEnd
	fromOffset
	fromTime
)

// FromBeginning begins at the oldest record there is.
func FromBeginning() From { return From{} }

// FromEnd begins behind the newest record: only what comes is read.
func FromEnd() From { return From{kind: fromEnd} }

// FromOffset begins at an offset. If it was trimmed, or lies beyond the end, that
// is an ErrOffsetOutOfRange.
func FromOffset(offset uint64) From { return From{kind: fromOffset, offset: offset} }

// FromTime begins with the first batch that was appended at or after a time. See
// Topic.OffsetAt.
func FromTime(at time.Time) From { return From{kind: fromTime, at: at} }

// readerBytes is how much a reader asks for at once: it holds at most twice as
// much, what it works on and what it has asked for ahead. Four batches of the
// usual size or more: with fewer the store waits for the next request too often.
const readerBytes = 4 << 20

// Reader reads one partition in order. It is not safe for concurrent use.
//
// It keeps one request with the partition all the time, so the next batches are
// on their way while the caller works on these; and at the end of the partition
// that request waits there for the next append.
type Reader struct {
	topic     *Topic
	partition int
	ref       *partitionRef

	offset uint64 // of the next record to deliver
	blocks []block
	seq    uint64         // entry after the blocks; 0: not known
	log    uint64         // and the log it is in
	answer chan readReply // of the request under way; nil: none
	closed bool
	meter  *telemetry.TopicMeter
}

// OpenReader returns a reader of one partition. Close it.
func (t *Topic) OpenReader(ctx context.Context, partition int, from From) (*Reader, error) {
	ref, err := t.partition(partition)
	if err != nil {
		return nil, err
	}
	r := &Reader{topic: t, partition: partition, ref: ref, meter: t.sys.meter(t.name)}
	if r.offset, err = r.resolve(ctx, from); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Reader) resolve(ctx context.Context, from From) (uint64, error) {
	if from.kind == fromTime {
		return r.topic.OffsetAt(ctx, r.partition, from.at)
	}
	b, err := r.topic.Bounds(ctx, r.partition)
	switch {
	case err != nil:
		return 0, err
	case from.kind == fromEnd:
		return b.Next, nil
	case from.kind == fromBeginning:
		return b.First, nil
	case from.offset < b.First || from.offset > b.Next:
		return 0, &OffsetError{r.topic.name, r.partition, from.offset, b.First, b.Next}
	}
	return from.offset, nil
}

// Offset returns the offset of the record that the next batch will begin with.
func (r *Reader) Offset() uint64 { return r.offset }

// Seek moves the reader to an offset. Whether it exists shows with Next.
func (r *Reader) Seek(offset uint64) {
	r.withdraw()
	r.offset, r.blocks, r.seq = offset, nil, 0
}

// Next returns the next batch, placed at the next record to read. At the end of
// the partition it waits for more, within ctx. The batch and its records stay
// valid.
//
// After an error the reader is where it was: a CorruptError comes again until
// the reader is moved (Seek) behind the damage.
func (r *Reader) Next(ctx context.Context) (*RecordBatch, error) {
	began := r.meter.Now()
	batch, err := r.next(ctx)
	r.received(ctx, batch, began, err)
	return batch, err
}

// received tells of what came, or why it did not. That nobody waits any more is
// no failure.
func (r *Reader) received(ctx context.Context, batch *codec.Batch, began time.Time, err error) {
	switch {
	case batch != nil:
		r.meter.Received(batch.Left(), began, nil)
	case ctx.Err() == nil:
		r.meter.Received(0, began, err)
	}
}

func (r *Reader) next(ctx context.Context) (*codec.Batch, error) {
	for {
		batch, err := r.fromBlocks()
		if batch != nil || err != nil {
			return batch, err
		}
		r.request()
		select {
		case reply := <-r.answer:
			if err := r.take(reply); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("read topic %s, partition %d: %w", r.topic.name, r.partition, ctx.Err())
		}
	}
}

// TryNext is Next, but at the end of the partition it returns ErrEnd instead of
// waiting for more.
func (r *Reader) TryNext(ctx context.Context) (*RecordBatch, error) {
	began := r.meter.Now()
	if batch, err := r.fromBlocks(); batch != nil || err != nil {
		r.received(ctx, batch, began, err)
		return batch, err
	}
	bounds, err := r.topic.Bounds(ctx, r.partition)
	if err != nil {
		return nil, err
	}
	if r.offset == bounds.Next {
		return nil, ErrEnd
	}
	return r.Next(ctx)
}

// fromBlocks opens the next batch of those at hand; nil when there is none.
func (r *Reader) fromBlocks() (*codec.Batch, error) {
	if r.closed {
		return nil, fmt.Errorf("the reader: %w", ErrClosed)
	}
	for len(r.blocks) > 0 {
		batch, err := codec.OpenBatch(r.blocks[0].data, codec.DefaultLimits())
		if err != nil {
			return nil, r.unreadable(r.blocks[0], err)
		}
		end := batch.Info.End()
		if batch.Info.BaseOffset > r.offset && !batch.Info.Sparse && !r.blocks[0].gap {
			return nil, r.gap(batch.Info.BaseOffset)
		}
		if end > r.offset {
			if err := batch.SkipTo(r.offset); err != nil {
				return nil, r.unreadable(r.blocks[0], err)
			}
			r.advance(end)
			return batch, nil
		}
		r.advance(r.offset)
	}
	return nil, nil
}

func (r *Reader) advance(offset uint64) {
	r.offset = offset
	r.blocks[0].data = nil
	r.blocks = r.blocks[1:]
}

func (r *Reader) unreadable(b block, err error) error {
	if !errors.Is(err, codec.ErrCorrupt) {
		return fmt.Errorf("topic %s, partition %d, offset %d (entry %d of its log): %w", r.topic.name, r.partition, r.offset, b.seq, err)
	}
	return &CorruptError{r.topic.name, r.partition, r.offset, b.seq, err}
}

// gap: the records in between were trimmed while the reader was on its way.
func (r *Reader) gap(first uint64) error {
	return &OffsetError{r.topic.name, r.partition, r.offset, first, first}
}

// request asks for what follows the blocks at hand, unless that is under way.
func (r *Reader) request() {
	if r.answer != nil {
		return
	}
	r.answer = make(chan readReply, 1)
	r.send(r.offset)
}

func (r *Reader) send(offset uint64) {
	message := read{offset: offset, seq: r.seq, log: r.log, bytesMax: readerBytes, answer: r.answer}
	r.topic.sys.Send(r.ref.pid.Load(), message)
}

// take accepts an answer, and asks for what follows it.
func (r *Reader) take(reply readReply) error {
	r.answer = nil
	if reply.err != nil {
		r.seq = 0
		return r.topic.gone(reply.err)
	}
	r.blocks = reply.blocks
	last := r.blocks[len(r.blocks)-1]
	info, err := codec.ReadInfo(last.data, codec.DefaultLimits())
	if err != nil {
		return nil // it will be reported in its turn
	}
	r.seq, r.log = last.seq+1, last.log
	r.answer = make(chan readReply, 1)
	r.send(info.End())
	return nil
}

// withdraw forgets the request under way. Its answer, if it still comes, goes
// into a channel that nobody reads.
func (r *Reader) withdraw() {
	if r.answer != nil {
		r.topic.sys.Send(r.ref.pid.Load(), unread{r.answer})
		r.answer = nil
	}
}

// Close ends the reader.
func (r *Reader) Close() {
	r.withdraw()
	r.closed, r.blocks = true, nil
}
