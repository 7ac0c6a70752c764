package main

import (
	"context"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
)

// consumeDrain is how long a handler that has nothing to print any more is waited
// for at the end. Those that print take no time.
const consumeDrain = 200 * time.Millisecond

// consumeWatch is how often it is looked whether a group has come to the end.
const consumeWatch = 250 * time.Millisecond

// groupRun is a consumption as a group. The handler holds back what is beyond the
// end, so that it is not committed: it waits there until the consumer is closed.
type groupRun struct {
	*consumption
	mu   sync.Mutex
	ends map[int]uint64 // what is left to print of each partition ends here; nil: nothing does
	left map[int]bool   // partitions with something left
	stop sync.Once
	done chan struct{}
	err  error // of printing
}

// asGroup consumes as a member of a group.
func (c *consumption) asGroup(ctx context.Context, from actor.From) error {
	r := &groupRun{consumption: c, done: make(chan struct{})}
	if c.untilEnd {
		if err := r.findEnds(ctx, from); err != nil || len(r.left) == 0 {
			return err
		}
	}
	consumer, err := c.session.sys.NewConsumer(ctx, actor.ConsumerOptions{Group: c.group, Topics: c.session.args,
		Start: actor.StartFrom(from), DrainTimeout: consumeDrain}, r.handle)
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	if c.untilEnd {
		watching.Go(func() { r.watch(ctx) })
	}
	select {
	case <-ctx.Done():
	case <-r.done:
	case <-consumer.Ended():
	}
	r.finish()
	watching.Wait()
	err = consumer.Close(context.WithoutCancel(ctx))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	return err
}

// findEnds notes where the partitions end, and in which of them the group has
// something left to do.
func (r *groupRun) findEnds(ctx context.Context, from actor.From) error {
	g, err := r.session.sys.Group(r.group, actor.GroupConfig{})
	if err != nil {
		return err
	}
	plan, err := r.begin(ctx, g, from)
	if err != nil {
		return err
	}
	r.ends, r.left = map[int]uint64{}, map[int]bool{}
	for _, p := range plan.Changes {
		if r.ends[p.Partition] = p.Next; p.Old < p.Next {
			r.left[p.Partition] = true
		}
	}
	return nil
}

// begin has the group begin at a place wherever nothing is committed: also if there is
// nothing to read, so that it goes on from there the next time. It says where the
// group is.
func (r *groupRun) begin(ctx context.Context, g *actor.Group, from actor.From) (actor.OffsetPlan, error) {
	o := actor.MoveOptions{Topics: r.session.args, DryRun: true}
	plan, err := g.Rewind(ctx, actor.MoveTo(from), o)
	if err != nil {
		return plan, err
	}
	var anew actor.MoveOptions
	for _, p := range plan.Changes {
		if !p.Committed {
			anew.Partitions = append(anew.Partitions, p.TopicPartition)
		}
	}
	if len(anew.Partitions) == 0 {
		return plan, nil
	}
	if _, err := g.Rewind(ctx, actor.MoveTo(from), anew); err != nil {
		return plan, err
	}
	return g.Rewind(ctx, actor.MoveTo(from), o)
}

func (r *groupRun) handle(ctx context.Context, d *actor.Delivery) error {
	if r.over(d) {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// over prints a record, unless it is beyond the end.
func (r *groupRun) over(d *actor.Delivery) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	end, bounded := r.ends[d.Partition]
	if r.err != nil || r.most > 0 && r.printed >= r.most || r.ends != nil && (!bounded || d.Offset >= end) {
		return true
	}
	done, err := r.print(&d.Record, d.TopicPartition, d.Offset, d.AppendTime, d.Cause.String())
	again := d.Via != "" || d.Cause == actor.Released // it is not where the group is
	if r.err = err; bounded && !again && d.Offset+1 >= end {
		delete(r.left, d.Partition)
	}
	if done || err != nil || r.ends != nil && len(r.left) == 0 {
		r.finish()
	}
	return err != nil
}

func (r *groupRun) finish() { r.stop.Do(func() { close(r.done) }) }

// watch ends the run when the group has come to the end without a record of which it
// could be seen: the last ones are behind a parked key, say.
func (r *groupRun) watch(ctx context.Context) {
	g, err := r.session.sys.Group(r.group, actor.GroupConfig{})
	for err == nil && !r.atEnd(ctx, g) {
		select {
		case <-time.After(consumeWatch):
		case <-r.done:
			return
		case <-ctx.Done():
			return
		}
	}
	r.finish()
}

func (r *groupRun) atEnd(ctx context.Context, g *actor.Group) bool {
	lag, err := g.Lag(ctx)
	if err != nil {
		return false
	}
	for _, p := range lag.Partitions {
		if p.Topic == r.session.args[0] && p.Next < r.ends[p.Partition] {
			return false
		}
	}
	return true
}
