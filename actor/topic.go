package actor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/group"
)

// Topic is a handle on a topic. It is safe for concurrent use, and ends with
// its system.
type Topic struct {
	sys         *System
	name        string
	incarnation uint64
	settings    *atomic.Pointer[TopicConfig] // shared with the partitions
	deleted     *atomic.Bool                 // shared with the handles on it
	held        *atomic.Bool                 // queues read it: see System.heldFrom
	partitions  []*partitionRef
}

// partitionRef is how handles reach a partition.
type partitionRef struct {
	pid  atomic.Pointer[pactor.PID]
	dead atomic.Bool
	// gate bounds what all producers of this process have under way together, so
	// that neither the mailbox nor the queue of the partition ever overflows.
	gate *gate
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.name }

// Incarnation tells the topic from those of the same name that were deleted before:
// it is higher. Who keeps offsets of a topic himself keeps it with them, because they
// mean nothing in another incarnation. It is 0 if the topic was declared by a release
// that did not note it.
func (t *Topic) Incarnation() uint64 { return t.incarnation }

// said is what groups are told of the topic.
func (t *Topic) said() group.Topic {
	return group.Topic{Name: t.name, Partitions: len(t.partitions), Incarnation: t.incarnation}
}

// Config returns what the topic was declared with, or altered to since.
func (t *Topic) Config() TopicConfig {
	c := *t.settings.Load()
	c.Partitions = len(t.partitions)
	return c
}

// gone makes an error of a topic that was deleted one that says so.
func (t *Topic) gone(err error) error {
	if err == nil || !t.deleted.Load() || errors.Is(err, ErrNoTopic) {
		return err
	}
	return fmt.Errorf("%w: topic %s was deleted: %w", ErrNoTopic, t.name, err)
}

// Partitions returns the number of partitions, numbered from 0. A handle goes on
// with those it began with when some are added.
func (t *Topic) Partitions() int { return len(t.partitions) }

func (t *Topic) partition(i int) (*partitionRef, error) {
	if i < 0 || i >= len(t.partitions) {
		return nil, fmt.Errorf("topic %s has no partition %d: it has %d, numbered from 0", t.name, i, len(t.partitions))
	}
	return t.partitions[i], nil
}

// Bounds returns the offsets that a partition holds.
func (t *Topic) Bounds(ctx context.Context, partition int) (Bounds, error) {
	return askPartition[Bounds](ctx, t, partition, askBounds{})
}

// OffsetAt returns the offset of the first batch that was appended at or after
// a time, in milliseconds; the end when there is none. It is the time of
// arrival, which never runs backwards within a partition, not the event time.
func (t *Topic) OffsetAt(ctx context.Context, partition int, at time.Time) (uint64, error) {
	return askPartition[uint64](ctx, t, partition, askOffsetAt{at.UnixMilli()})
}

// Trim drops the batches that lie entirely below an offset, for good, and
// returns what is left. The batch that holds the offset stays whole, and so does what a
// queue that reads the topic still needs.
func (t *Topic) Trim(ctx context.Context, partition int, before uint64) (Bounds, error) {
	return askPartition[Bounds](ctx, t, partition, askTrim{before})
}

// Purge drops all records there are, for good, but for what queues that read the topic
// still need. Offsets go on from where they are.
func (t *Topic) Purge(ctx context.Context) error {
	for i := range t.partitions {
		b, err := t.Bounds(ctx, i)
		if err == nil {
			_, err = t.Trim(ctx, i, b.Next)
		}
		if err != nil {
			return fmt.Errorf("purge topic %s: %w", t.name, err)
		}
	}
	return nil
}

// Compact compacts a partition now, whether or not that is worth it, and says what
// came of it. The head stays as it is: see Compaction.
func (t *Topic) Compact(ctx context.Context, partition int) (CompactionInfo, error) {
	return askPartition[CompactionInfo](ctx, t, partition, askCompact{})
}

// PartitionInfo describes a partition.
type PartitionInfo struct {
	Partition int
	Bounds
	Bytes      uint64 // stored, with the store's overhead
	Compaction CompactionInfo
}

// Describe returns what the partitions hold.
func (t *Topic) Describe(ctx context.Context) ([]PartitionInfo, error) {
	all := make([]PartitionInfo, len(t.partitions))
	for i := range all {
		info, err := askPartition[PartitionInfo](ctx, t, i, askInfo{})
		if err != nil {
			return nil, fmt.Errorf("describe topic %s: %w", t.name, err)
		}
		all[i] = info
	}
	return all, nil
}

func askPartition[T any](ctx context.Context, t *Topic, partition int, message any) (T, error) {
	ref, err := t.partition(partition)
	if err != nil {
		var zero T
		return zero, err
	}
	answer, err := Ask[T](ctx, t.sys, ref.pid.Load(), message)
	return answer, t.gone(err)
}
