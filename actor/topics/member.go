package topics

import (
	"context"
	"fmt"
	"strconv"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
)

// InGroup has a job that reads the topic keep a consumer group up to date: whenever
// a checkpoint is complete, its offsets become the group's commits. So the group
// tells how far the job is behind, in records and in seconds, and a job without a
// position of its own, because it is new or begins with fresh state, goes on where
// the group has been.
//
// The commits are a report: the job itself goes on from its checkpoints, and its
// guarantees are those of its checkpoints. It is no member of the group, has all
// partitions, and shares them with nobody. While the group has members there are no
// reports, but warnings in the log; of two jobs in one group each overwrites what
// the other reports.
func (t Topic[T]) InGroup(name string) Topic[T] {
	t.group = name
	return t
}

// reporter is a source that keeps a group up to date.
type reporter[T any] struct{ source[T] }

// Report implements dataflow.Reporter.
func (r reporter[T]) Report(ctx context.Context, positions dataflow.Positions) error {
	g, err := r.topic.inGroup(ctx)
	if err != nil {
		return err
	}
	sys, err := r.topic.system(ctx)
	if err != nil {
		return err
	}
	t, err := sys.Topic(ctx, r.topic.name)
	if err != nil {
		return err
	}
	next := map[int]uint64{}
	for split, text := range positions {
		partition, err := strconv.Atoi(split)
		if err != nil {
			return fmt.Errorf("topic %s has no partition %q", r.topic.name, split)
		}
		p, err := parsePosition(text)
		if err == nil {
			err = p.in(t)
		}
		if err != nil {
			return fmt.Errorf("topic %s, partition %d: %w", r.topic.name, partition, err)
		}
		next[partition] = p.offset
	}
	return g.Report(ctx, r.topic.name, next)
}

// inGroup returns the group; nil if there is none.
func (t Topic[T]) inGroup(ctx context.Context) (*actor.Group, error) {
	if t.group == "" {
		return nil, nil
	}
	sys, err := t.system(ctx)
	if err != nil {
		return nil, err
	}
	return sys.Group(t.group, actor.GroupConfig{})
}

// committed is where the group has been in a partition, or the oldest offset there is,
// if that was dropped. ok is false if it has not been there, or seems to have been
// beyond the end: then the topic was deleted since and made anew, and none of what it
// holds has been read.
func (t Topic[T]) committed(ctx context.Context, topic *actor.Topic, partition int) (from actor.From, ok bool, err error) {
	g, err := t.inGroup(ctx)
	if err != nil || g == nil {
		return from, false, err
	}
	all, err := g.Committed(ctx, t.name)
	if err != nil {
		return from, false, err
	}
	next, ok := all[partition]
	if !ok {
		return from, false, nil
	}
	b, err := topic.Bounds(ctx, partition)
	return actor.FromOffset(max(next, b.First)), next <= b.Next, err
}
