package actor

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/internal/group"
)

// Report sets the committed offsets of partitions of a topic, for somebody who works
// on them without being a member and keeps his offsets elsewhere: a job, in its
// checkpoints. With members it is an ErrGroupActive. Offsets may go backwards.
func (g *Group) Report(ctx context.Context, topic string, next map[int]uint64) error {
	if err := g.report(ctx, topic, next); err != nil {
		return fmt.Errorf("report to group %s: %w", g.name, err)
	}
	return nil
}

func (g *Group) report(ctx context.Context, topic string, next map[int]uint64) error {
	d, err := g.Describe(ctx)
	if err != nil {
		return err
	}
	t, err := g.sys.Topic(ctx, topic)
	if err != nil {
		return err
	}
	has := committedOf(d, topic)
	var news []group.Position
	for partition, offset := range next {
		if at, ok := has[partition]; !ok || at != offset {
			news = append(news, group.Position{Topic: topic, Partition: partition, Next: offset})
		}
	}
	if len(news) == 0 {
		return nil
	}
	if err := g.tell(ctx, group.Resize{Topics: []group.Topic{t.said()}}); err != nil {
		return err
	}
	return g.tell(ctx, group.Reset{Positions: news})
}

// Committed returns the offsets that are committed in a topic: of the next record to
// process, by partition. Partitions of which nothing is committed are left out.
func (g *Group) Committed(ctx context.Context, topic string) (map[int]uint64, error) {
	d, err := g.Describe(ctx)
	if err != nil {
		return nil, err
	}
	return committedOf(d, topic), nil
}

func committedOf(d group.Description, topic string) map[int]uint64 {
	all := map[int]uint64{}
	for _, p := range d.Partitions {
		if p.Topic == topic && p.Committed {
			all[p.Partition] = p.Next
		}
	}
	return all
}
