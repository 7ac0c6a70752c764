package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
)

// ReaderOption configures a Reader.
type ReaderOption func(*readerOptions)

type readerOptions struct {
	from       actor.From
	ago        time.Duration
	past       bool // it is ago that counts, also if it is 0
	until      until
	partitions []int
}

// until says where a reader ends.
type until struct {
	kind   untilKind
	offset uint64
	at     time.Time
}

type untilKind uint8

const (
	untilNever untilKind = iota
	untilEnd
	untilOffset
	untilTime
)

// ReadFrom says where to begin, in each partition: actor.FromBeginning, FromEnd,
// FromOffset or FromTime. Without it, at the beginning. An offset that a partition
// does not hold is an actor.ErrOffsetOutOfRange.
func ReadFrom(from actor.From) ReaderOption {
	return func(o *readerOptions) { o.from, o.ago, o.past = from, 0, false }
}

// ReadAgo begins with what has arrived within the last d.
func ReadAgo(d time.Duration) ReaderOption {
	return func(o *readerOptions) { o.ago, o.past = d, true }
}

// ReadPartitions reads these partitions. Without it, all that there are when the
// reader is made.
func ReadPartitions(partitions ...int) ReaderOption {
	return func(o *readerOptions) { o.partitions = append([]int{}, partitions...) }
}

// UntilEnd ends each partition where it ends when the reader is made.
func UntilEnd() ReaderOption {
	return func(o *readerOptions) { o.until = until{kind: untilEnd} }
}

// UntilOffset ends each partition in front of an offset, which may have yet to come.
func UntilOffset(offset uint64) ReaderOption {
	return func(o *readerOptions) { o.until = until{kind: untilOffset, offset: offset} }
}

// UntilTime ends each partition in front of the first batch that arrived at or
// after a time, which must have passed.
func UntilTime(at time.Time) ReaderOption {
	return func(o *readerOptions) { o.until = until{kind: untilTime, at: at} }
}

func (o *readerOptions) check(now time.Time) error {
	switch {
	case o.ago < 0:
		return fmt.Errorf("ReadAgo: %v lies ahead: give a duration of 0 or more", o.ago)
	case o.until.kind == untilTime && o.until.at.After(now):
		return fmt.Errorf("UntilTime: %v has yet to come: give a time that has passed, or a context with a deadline", o.until.at)
	}
	if o.past {
		o.from = actor.FromTime(now.Add(-o.ago))
	}
	return nil
}

// limit returns the offset in front of which a partition ends.
func (u until) limit(ctx context.Context, t *actor.Topic, partition int) (limit uint64, bounded bool, err error) {
	switch u.kind {
	case untilNever:
		return 0, false, nil
	case untilOffset:
		return u.offset, true, nil
	case untilTime:
		limit, err = t.OffsetAt(ctx, partition, u.at)
		return limit, true, err
	}
	b, err := t.Bounds(ctx, partition)
	return b.Next, true, err
}

// chosen returns the partitions to read, each once.
func (o *readerOptions) chosen(all int) ([]int, error) {
	if o.partitions == nil {
		every := make([]int, all)
		for i := range every {
			every[i] = i
		}
		return every, nil
	}
	seen := map[int]bool{}
	for _, p := range o.partitions {
		if seen[p] {
			return nil, fmt.Errorf("ReadPartitions: partition %d is named twice", p)
		}
		seen[p] = true
	}
	if len(seen) == 0 {
		return nil, errors.New("ReadPartitions: it names none")
	}
	return o.partitions, nil
}
