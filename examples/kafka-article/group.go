package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
)

// group is a consumer group of two members, and what they have seen.
type group struct {
	name    string
	topic   *actor.Topic
	from    [partitions]uint64 // where it begins
	members []*topics.Consumer[Order]
	changed chan struct{} // has room for one: something below has changed

	mu    sync.Mutex
	owner [partitions]string            // "" for none
	seen  [partitions]map[uint64]string // lines, by offset
	err   error
}

// join has both members join, and returns when each has a partition.
func join(ctx context.Context, engine *runtime.Engine, name string, members []string) (*group, error) {
	g := &group{name: name, changed: make(chan struct{}, 1)}
	for i := range g.seen {
		g.seen[i] = map[uint64]string{}
	}
	if err := g.find(ctx, engine); err != nil {
		return g, err
	}
	for _, member := range members {
		c, err := orders.NewConsumer(ctx, engine, name, g.handler(member),
			topics.Instance(member),
			topics.Assignor(actor.Range),
			topics.StartAt(actor.StartFrom(actor.FromBeginning())), // if nothing is committed; that is the default
			topics.Undecodable(actor.StopOnFailure{}),
			topics.Listen(g.listener(member)))
		if err != nil {
			return g, err
		}
		g.members = append(g.members, c)
	}
	return g, g.await(ctx, func() bool { return g.owner[0] != "" && g.owner[1] != "" && g.owner[0] != g.owner[1] })
}

// find finds out where the group will begin: where it has committed, or at the
// oldest record.
func (g *group) find(ctx context.Context, engine *runtime.Engine) (err error) {
	if g.topic, err = engine.Topic(ctx, orders.TopicName()); err != nil {
		return err
	}
	for i := range g.from {
		b, err := g.topic.Bounds(ctx, i)
		if err != nil {
			return err
		}
		g.from[i] = b.First
	}
	handle, err := engine.System().Group(g.name, actor.GroupConfig{})
	if err != nil {
		return err
	}
	d, err := handle.Describe(ctx)
	for _, p := range d.Partitions {
		if p.Topic == orders.TopicName() && p.Committed {
			g.from[p.Partition] = max(g.from[p.Partition], p.Next)
		}
	}
	return err
}

// handler is the loop's body. A record is done when it returns, and no commit
// comes before that.
func (g *group) handler(member string) topics.Handler[Order] {
	return func(_ context.Context, d *topics.Delivery[Order]) error {
		line := fmt.Sprintf("%s: Partition %d, Offset %d: %s", member, d.Partition, d.Offset, d.Record.Value)
		g.change(func() { g.seen[d.Partition][d.Offset] = line })
		return nil
	}
}

func (g *group) listener(member string) actor.Listener {
	own := func(name string) func(context.Context, []actor.TopicPartition) {
		return func(_ context.Context, all []actor.TopicPartition) {
			g.change(func() {
				for _, p := range all {
					g.owner[p.Partition] = name
				}
			})
		}
	}
	return actor.Listener{Assigned: own(member), Revoked: own(""), Lost: own(""),
		Stopped: func(_ actor.TopicPartition, err error) { g.change(func() { g.err = err }) }}
}

func (g *group) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// await waits until something is so.
func (g *group) await(ctx context.Context, so func() bool) error {
	for {
		g.mu.Lock()
		done, err := so(), g.err
		g.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-g.changed:
		case <-ctx.Done():
			return fmt.Errorf("group %s: %w", g.name, ctx.Err())
		}
	}
}

// report waits until the group has seen all there is, and prints it.
func (g *group) report(ctx context.Context, out io.Writer) error {
	var end [partitions]uint64
	for i := range end {
		b, err := g.topic.Bounds(ctx, i)
		if err != nil {
			return err
		}
		end[i] = b.Next
	}
	if err := g.await(ctx, func() bool { return g.has(end) }); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(out, "Consumer group %s:\n", g.name)
	for i, member := range g.owner {
		fmt.Fprintf(out, "  Consumer %s -> Partition %d\n", member, i)
	}
	for i := range g.seen {
		for offset := g.from[i]; offset < end[i]; offset++ {
			fmt.Fprintf(out, "  %s\n", g.seen[i][offset])
		}
	}
	return nil
}

func (g *group) has(end [partitions]uint64) bool {
	for i := range end {
		for offset := g.from[i]; offset < end[i]; offset++ {
			if _, seen := g.seen[i][offset]; !seen {
				return false
			}
		}
	}
	return true
}

// close commits what was seen, and leaves.
func (g *group) close(ctx context.Context) (err error) {
	for _, c := range slices.Backward(g.members) {
		err = errors.Join(err, c.Close(ctx))
	}
	return err
}
