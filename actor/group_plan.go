package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/troupestream/troupe/internal/group"
)

// planner makes an OffsetPlan.
type planner struct {
	group  *Group
	move   Move
	known  map[TopicPartition]group.PartitionDescription
	stands map[TopicPartition]laneStand
	now    time.Time // one for all partitions

	topics    []*Topic // by name
	chosen    map[TopicPartition]bool
	plan      OffsetPlan
	positions []group.Position
}

// choose opens the topics and notes which partitions are meant.
func (p *planner) choose(ctx context.Context, d group.Description, o MoveOptions) error {
	names, named := p.names(d, o)
	whole := map[string]bool{}
	for _, name := range names {
		whole[name] = !named || slices.Contains(o.Topics, name)
	}
	p.chosen = map[TopicPartition]bool{}
	for _, name := range names {
		t, err := p.group.sys.Topic(ctx, name)
		if !named && errors.Is(err, ErrNoTopic) {
			continue // the group has outlived it
		}
		if err != nil {
			return err
		}
		p.topics = append(p.topics, t)
		for i := range t.Partitions() {
			if whole[name] {
				p.chosen[TopicPartition{name, i}] = true
			}
		}
	}
	return p.choosePartitions(o.Partitions)
}

// names returns the topics that are concerned, and whether somebody has named them.
func (p *planner) names(d group.Description, o MoveOptions) (names []string, named bool) {
	names = slices.Clone(o.Topics)
	for _, one := range o.Partitions {
		names = append(names, one.Topic)
	}
	if named = len(names) > 0; !named {
		for _, one := range d.Partitions {
			if !Internal(one.Topic) {
				names = append(names, one.Topic)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), named
}

func (p *planner) choosePartitions(partitions []TopicPartition) error {
	for _, one := range partitions {
		i, _ := slices.BinarySearchFunc(p.topics, one.Topic, func(t *Topic, name string) int { return strings.Compare(t.name, name) })
		if _, err := p.topics[i].partition(one.Partition); err != nil {
			return err
		}
		p.chosen[one] = true
	}
	return nil
}

// fill plans every partition that was chosen.
func (p *planner) fill(ctx context.Context) error {
	for _, t := range p.topics {
		for i := range t.Partitions() {
			if !p.chosen[TopicPartition{t.name, i}] {
				continue
			}
			c, err := p.change(ctx, t, i)
			if err != nil {
				return fmt.Errorf("topic %s, partition %d: %w", t.name, i, err)
			}
			p.add(c)
		}
	}
	return nil
}

// change plans a partition.
func (p *planner) change(ctx context.Context, t *Topic, i int) (c OffsetChange, err error) {
	c.TopicPartition = TopicPartition{t.name, i}
	if c.Bounds, err = t.Bounds(ctx, i); err != nil {
		return c, err
	}
	was := p.known[c.TopicPartition]
	c.Owner, c.Committed, c.Old = was.Owner, was.Committed, was.Next
	if s, ok := p.stands[c.TopicPartition]; ok && s.epoch == was.Epoch {
		c.Old = s.next
	}
	c.Old = min(max(c.Old, c.First), c.Next)
	if c.New, err = p.move.resolve(ctx, t, c, p.now); err != nil {
		return c, err
	}
	c.Records = int64(c.New) - int64(c.Old)
	return c, nil
}

// resolve returns the offset that a move comes to.
func (m Move) resolve(ctx context.Context, t *Topic, c OffsetChange, now time.Time) (uint64, error) {
	switch m.named {
	case moveAgo:
		return FromTime(now.Add(-m.ago)).within(ctx, t, c.Partition, c.Bounds)
	case moveBy:
		return shift(c.Old, m.by, c.Bounds), nil
	}
	return m.from.within(ctx, t, c.Partition, c.Bounds)
}

// shift moves an offset, as far as there is room.
func shift(offset uint64, by int64, b Bounds) uint64 {
	if by < 0 {
		return offset - min(-uint64(by), offset-b.First)
	}
	return offset + min(uint64(by), b.Next-offset)
}

// add notes a change, with what the next owner needs to know: up to where records
// were handed out already.
func (p *planner) add(c OffsetChange) {
	p.plan.Changes = append(p.plan.Changes, c)
	if c.Records < 0 {
		p.plan.Again += uint64(-c.Records)
	} else {
		p.plan.Skipped += uint64(c.Records)
	}
	handed := parseNote(p.known[c.TopicPartition].Metadata).handed
	if c.Committed || c.Owner != "" {
		handed = max(handed, c.Old)
	}
	note := consumerNote{}
	if handed > c.New {
		note = consumerNote{Replay, handed}
	}
	p.positions = append(p.positions, group.Position{Topic: c.Topic, Partition: c.Partition, Next: c.New, Metadata: note.String()})
}

// resize names the topics as long as they are, for a group that may know less.
func (p *planner) resize() []group.Topic {
	var all []group.Topic
	for _, t := range p.topics {
		all = append(all, t.said())
	}
	slices.SortFunc(all, func(a, b group.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
