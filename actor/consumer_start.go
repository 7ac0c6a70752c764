package actor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNoOffset: nothing is committed for a partition, or what is was trimmed away,
// and the start policy says to fail then.
var ErrNoOffset = errors.New("there is no offset to begin at")

// StartPolicy says where a consumer begins in a partition for which nothing is
// committed, or whose committed offset is no longer there. The zero value begins
// at the oldest record, so that nothing is missed.
type StartPolicy struct {
	from From
	ago  time.Duration
	past bool // it is ago that counts, also if it is 0
	fail bool
}

// StartFrom begins where a reader would. An offset that is not there becomes the
// nearest that is.
func StartFrom(from From) StartPolicy { return StartPolicy{from: from} }

// StartAgo begins with what arrived within the last d.
func StartAgo(d time.Duration) StartPolicy { return StartPolicy{ago: d, past: true} }

// StartOrFail does not begin: work on the partition stops with ErrNoOffset.
func StartOrFail() StartPolicy { return StartPolicy{fail: true} }

// resolve returns the offset to begin at.
func (s StartPolicy) resolve(ctx context.Context, t *Topic, partition int, b Bounds) (uint64, error) {
	from := s.from
	switch {
	case s.fail:
		return 0, fmt.Errorf("topic %s, partition %d: %w; it holds offsets from %d to before %d: reset the group, or choose a start policy",
			t.name, partition, ErrNoOffset, b.First, b.Next)
	case s.past:
		from = FromTime(time.Now().Add(-s.ago))
	}
	return from.within(ctx, t, partition, b)
}

// within returns the offset that from means, or the nearest there is.
func (f From) within(ctx context.Context, t *Topic, partition int, b Bounds) (uint64, error) {
	switch f.kind {
	case fromEnd:
		return b.Next, nil
	case fromOffset:
		return min(max(f.offset, b.First), b.Next), nil
	case fromTime:
		return t.OffsetAt(ctx, partition, f.at)
	}
	return b.First, nil
}
