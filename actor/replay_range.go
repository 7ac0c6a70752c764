package actor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ReplayRange says which records Consumer.Replay delivers again. The zero value is
// all that the group is done with, in all partitions of the consumer's topics.
//
// A range is of offsets, from From to before To, and fixed when the replay begins:
// times and durations are turned into offsets then, and so is where the group stands.
// An offset that lies beyond the end of a partition becomes its end.
type ReplayRange struct {
	// Topics and Partitions choose partitions, of topics that the consumer reads;
	// whether they are assigned to it does not matter. Without either: all.
	Topics     []string
	Partitions []TopicPartition
	// From is where it begins: FromBeginning, the default, FromOffset or FromTime,
	// which is the time of arrival, batch by batch.
	From From
	// Ago begins with what has arrived within the last Ago, instead of at From.
	Ago time.Duration
	// To is where it ends, in front of FromOffset, FromTime or FromEnd. The zero
	// value: where the group stands, the first record in each partition that it has
	// not done. So nothing is replayed that the group has yet to handle; with
	// another To the range can reach beyond that, and records be delivered twice.
	To From
	// Match chooses records; nil: all. It must not change the record, nor keep it, and
	// is called for several partitions at once. See MatchKeys and MatchHeader.
	Match func(*Record) bool
}

// MatchKeys matches the records that have one of these keys.
func MatchKeys(keys ...[]byte) func(*Record) bool {
	chosen := map[string]struct{}{}
	for _, k := range keys {
		chosen[string(k)] = struct{}{}
	}
	return func(r *Record) bool {
		_, ok := chosen[string(r.Key)]
		return ok && r.Key != nil
	}
}

// MatchHeader matches the records that have a header of this name and value.
func MatchHeader(name string, value []byte) func(*Record) bool {
	value = bytes.Clone(value)
	return func(r *Record) bool {
		return slices.ContainsFunc(r.Headers, func(h Header) bool { return h.Key == name && bytes.Equal(h.Value, value) })
	}
}

// check says what is wrong with a range, whatever the topics hold.
func (r *ReplayRange) check() error {
	switch {
	case r.Ago < 0:
		return fmt.Errorf("its Ago is %v, which lies ahead: give a duration of 0 or more", r.Ago)
	case r.Ago > 0 && r.From != From{}:
		return errors.New("it has both From and Ago: leave one out")
	case r.From.kind == fromOffset && r.To.kind == fromOffset && r.To.offset < r.From.offset:
		return fmt.Errorf("it ends at offset %d and begins at %d: To must not be below From", r.To.offset, r.From.offset)
	case r.From.kind == fromTime && r.To.kind == fromTime && r.To.at.Before(r.From.at):
		return fmt.Errorf("it ends at %v and begins at %v: To must not be before From", r.To.at, r.From.at)
	}
	return nil
}

// begins is where the range begins.
func (r *ReplayRange) begins(now time.Time) From {
	if r.Ago > 0 {
		return FromTime(now.Add(-r.Ago))
	}
	return r.From
}

// bound is within, but for an offset that was trimmed: it stays what it is, and what
// there was from there on counts as gone.
func (f From) bound(ctx context.Context, t *Topic, partition int, b Bounds) (uint64, error) {
	if f.kind == fromOffset {
		return min(f.offset, b.Next), nil
	}
	return f.within(ctx, t, partition, b)
}
