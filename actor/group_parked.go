package actor

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/group"
)

// Errors of parked keys. Test for them with errors.Is.
var (
	// ErrParkingFull: no more records can be parked.
	ErrParkingFull = group.ErrParkingFull
	// ErrNotParked: the key, or the record, is not parked (any more).
	ErrNotParked = group.ErrNotParked
	// ErrReplaying: the key was released, and is being replayed.
	ErrReplaying = group.ErrReplaying
)

// groupCommands are commands that are applied in order until one fails. It is
// answered with a groupProgress.
type groupCommands struct{ commands []group.Command }

// groupProgress says how many went well, and why the next did not.
type groupProgress struct {
	done int
	err  error
}

// applyAll carries commands out, and holds the answer back until they are durable.
func (g *groupActor) applyAll(m groupCommands, r sentWith) {
	var p groupProgress
	for _, c := range m.commands {
		if p.err = g.carryOut(c); p.err != nil {
			break
		}
		p.done++
	}
	g.hold(outgoing{to: r.sender, message: p})
}

// Parked lists the keys that are parked, by topic and partition, and the records
// without a key. It needs no members.
func (g *Group) Parked(ctx context.Context) ([]ParkedKey, error) {
	if _, err := g.Describe(ctx); err != nil { // which drops those of topics that were made anew
		return nil, err
	}
	return Ask[[]ParkedKey](ctx, g.sys, g.pid, askGroup{func(c *group.Group) any { return c.AllParked() }})
}

// parkedIn lists the keys that are parked in a partition.
func (g *Group) parkedIn(ctx context.Context, at TopicPartition) ([]ParkedKey, error) {
	return Ask[[]ParkedKey](ctx, g.sys, g.pid, askGroup{func(c *group.Group) any {
		keys, err := c.Parked(at.Topic, at.Partition)
		if err != nil {
			return err
		}
		return keys
	}})
}

// ParkedRecord returns record i of a parked key, 0 for the one that failed.
func (g *Group) ParkedRecord(ctx context.Context, k ParkedKey, i int) (Record, error) {
	if i < 0 || i >= len(k.Records) {
		return Record{}, fmt.Errorf("record %d of key %.40q: %w: it has %d", i, k.Key, ErrNotParked, len(k.Records))
	}
	r, err := g.sys.parkedBody(ctx, g.name, k.Records[i].Parking)
	takeArrival(&r)
	return r, err
}

// Release has a key replayed: the record that failed first, then those behind it, in
// order; then the key is free. If one fails again the policy of the consumer
// decides. Without members it takes effect when there is one. To release a key that is
// being replayed is nothing.
func (g *Group) Release(ctx context.Context, k ParkedKey) error {
	return g.tell(ctx, group.ReleaseKey{Key: k.KeyRef})
}

// Skip drops the first record of a key, as k has it, and has the others replayed. It
// is an ErrNotParked if somebody was faster.
func (g *Group) Skip(ctx context.Context, k ParkedKey) error {
	first, err := firstOf(k)
	if err != nil {
		return err
	}
	return g.tell(ctx, group.Skip{Key: k.KeyRef, Offset: first.Offset, Release: true})
}

// Edit gives the first record of a key, as k has it, another value, and has the key
// replayed. Key, headers and time stay; nil makes it a tombstone. The record in its
// own topic stays what it was.
func (g *Group) Edit(ctx context.Context, k ParkedKey, value []byte) error {
	first, err := firstOf(k)
	if err != nil {
		return err
	}
	r, err := g.sys.parkedBody(ctx, g.name, first.Parking)
	if err != nil {
		if !errors.Is(err, ErrOffsetOutOfRange) {
			return err
		}
		r = Record{Time: NoTime} // its body is gone, and this is the way to mend that
		if !k.Keyless {
			r.Key = []byte(k.Key)
		}
	}
	r.Value = value
	at, err := g.sys.park(ctx, g.name, &r)
	if err != nil {
		return fmt.Errorf("edit a parked record of group %s: %w", g.name, err)
	}
	return g.tell(ctx, group.Edit{Key: k.KeyRef, Offset: first.Offset, Parking: at, Bytes: recordSize(&r), Release: true})
}

func firstOf(k ParkedKey) (group.ParkedRecord, error) {
	if len(k.Records) == 0 {
		return group.ParkedRecord{}, fmt.Errorf("key %.40q: %w", k.Key, ErrNotParked)
	}
	return k.Records[0], nil
}

// park stores one body.
func (s *System) park(ctx context.Context, group string, r *Record) (uint64, error) {
	t, err := s.ensure(ctx, parkedTopic(group), topicFor(parkedTopic(group)))
	if err != nil {
		return 0, err
	}
	p, err := t.NewPublisher(ctx, PublisherOptions{})
	if err != nil {
		return 0, err
	}
	at, err := sendTo(ctx, p, 0, []*Record{r})
	if err = errors.Join(err, p.Close(ctx)); err != nil {
		return 0, err
	}
	return at[0], nil
}

// parkedBody reads a body from the parking topic.
func (s *System) parkedBody(ctx context.Context, group string, at uint64) (Record, error) {
	t, err := s.Topic(ctx, parkedTopic(group))
	if err != nil {
		return Record{}, fmt.Errorf("read a parked record of group %s: %w", group, err)
	}
	return t.recordAt(ctx, 0, at)
}

// recordAt reads one record. It asks for no more than its batch.
func (t *Topic) recordAt(ctx context.Context, partition int, offset uint64) (r Record, err error) {
	ref, err := t.partition(partition)
	if err != nil {
		return r, err
	}
	b, err := t.Bounds(ctx, partition)
	if err == nil && (offset < b.First || offset >= b.Next) {
		err = &OffsetError{t.name, partition, offset, b.First, b.Next}
	}
	if err != nil {
		return r, err
	}
	data, err := t.batchAt(ctx, ref, offset)
	if err != nil {
		return r, err
	}
	batch, err := codec.OpenBatch(data, codec.DefaultLimits())
	if err != nil {
		return r, fmt.Errorf("topic %s, partition %d, offset %d: %w", t.name, partition, offset, err)
	}
	if err := batch.SkipTo(offset); err != nil {
		return r, err
	}
	if at := batch.Offset(); at != offset {
		return r, &OffsetError{t.name, partition, offset, at, b.Next}
	}
	if !batch.Next(&r) {
		return r, fmt.Errorf("topic %s, partition %d, offset %d: %w", t.name, partition, offset, errors.Join(batch.Err(), codec.ErrCorrupt))
	}
	return r, nil
}
