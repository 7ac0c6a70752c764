package actor

import (
	"context"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/group"
)

// Move says where the offsets of a group are to be, in each partition. An offset
// that a partition does not hold becomes the nearest that it does.
type Move struct {
	from  From
	ago   time.Duration
	by    int64
	named moveKind
}

type moveKind uint8

const (
	moveTo moveKind = iota
	moveAgo
	moveBy
)

// MoveTo moves to where a reader would begin: to the beginning, the end, an offset
// or a time of arrival.
func MoveTo(from From) Move { return Move{from: from} }

// MoveAgo moves to what has arrived within the last d.
func MoveAgo(d time.Duration) Move { return Move{ago: d, named: moveAgo} }

// MoveBy moves by so many offsets from where the group is, back if n is negative.
// Where nothing is committed, that is the oldest record.
func MoveBy(n int64) Move { return Move{by: n, named: moveBy} }

// MoveOptions choose partitions. The zero value is all of all topics that the group
// knows and that there still are, but for those that Troupe keeps for itself: what
// waits in a delay topic for another try stays as it is.
type MoveOptions struct {
	Topics     []string         // all partitions of these
	Partitions []TopicPartition // and these
	// DryRun changes nothing, and says what would change.
	DryRun bool
}

// OffsetChange is what becomes of the offset of a partition.
type OffsetChange struct {
	TopicPartition
	Owner     string // member id; "": nobody
	Committed bool   // something was
	// Old is the first record that was not processed, as far as is known; the
	// oldest there is, if nothing was committed or what was has been trimmed.
	Old uint64
	New uint64
	// Records is how many will be delivered again, if it is negative, or passed
	// over. In a compacted partition they can be fewer: offsets are counted.
	Records int64
	Bounds
}

// OffsetPlan is what a Reset or a Rewind does, or would do.
type OffsetPlan struct {
	Changes []OffsetChange // of all partitions that were asked for, by topic and number
	Again   uint64         // records that will be delivered again
	Skipped uint64         // records that will not be delivered
}

// Reset moves the committed offsets of a group that has no members, and says how.
// With members it is a *GroupActiveError, which is an ErrGroupActive. A group that
// has not worked on a topic yet can be given a place to begin at, by naming it.
//
// What is delivered again is delivered with the cause Replay. Parked keys stay.
func (g *Group) Reset(ctx context.Context, to Move, o MoveOptions) (OffsetPlan, error) {
	plan, err := g.reset(ctx, to, o)
	if err != nil {
		return plan, fmt.Errorf("reset group %s: %w", g.name, err)
	}
	return plan, nil
}

func (g *Group) reset(ctx context.Context, to Move, o MoveOptions) (OffsetPlan, error) {
	d, err := g.Describe(ctx)
	if err != nil {
		return OffsetPlan{}, err
	}
	if len(d.Members) > 0 {
		return OffsetPlan{}, active(d, "stop them, or use a rewind, which works while they run")
	}
	return g.move(ctx, d, nil, to, o, func(p []group.Position) group.Command { return group.Reset{Positions: p} })
}

// Rewind moves the offsets of a group, backwards or forwards, while its members are
// at work, and says how. Those that have the partitions go on there: handlers at
// work have their context ended and are waited for, and what they come to does not
// count. A commit from before is refused. Other partitions and other groups notice
// nothing.
//
// What is delivered again is delivered with the cause Replay. Parked keys stay. The
// members work on while the plan is made, so it can be off by what they do
// meanwhile.
func (g *Group) Rewind(ctx context.Context, to Move, o MoveOptions) (OffsetPlan, error) {
	plan, err := g.rewind(ctx, to, o)
	if err != nil {
		return plan, fmt.Errorf("rewind group %s: %w", g.name, err)
	}
	return plan, nil
}

func (g *Group) rewind(ctx context.Context, to Move, o MoveOptions) (OffsetPlan, error) {
	d, err := g.Describe(ctx)
	if err != nil {
		return OffsetPlan{}, err
	}
	stands, err := g.stands(ctx)
	if err != nil {
		return OffsetPlan{}, err
	}
	return g.move(ctx, d, stands, to, o, func(p []group.Position) group.Command { return group.Rewind{Positions: p} })
}

// move makes a plan and, unless it is to run dry, has the group carry it out.
func (g *Group) move(ctx context.Context, d group.Description, stands map[TopicPartition]laneStand, to Move, o MoveOptions, command func([]group.Position) group.Command) (OffsetPlan, error) {
	if to.named == moveAgo && to.ago < 0 {
		return OffsetPlan{}, fmt.Errorf("MoveAgo: %v lies ahead: give a duration of 0 or more", to.ago)
	}
	p := planner{group: g, move: to, stands: stands, known: map[TopicPartition]group.PartitionDescription{}, now: time.Now()}
	for _, one := range d.Partitions {
		p.known[TopicPartition{one.Topic, one.Partition}] = one
	}
	if err := p.choose(ctx, d, o); err != nil {
		return OffsetPlan{}, err
	}
	if err := p.fill(ctx); err != nil || o.DryRun || len(p.positions) == 0 {
		return p.plan, err
	}
	if err := g.tell(ctx, group.Resize{Topics: p.resize()}); err != nil {
		return p.plan, err
	}
	return p.plan, g.tell(ctx, command(p.positions))
}
