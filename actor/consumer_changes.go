package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/group"
)

// change is something that happens to some of a consumer's partitions: they are
// given to it, taken back, moved. Changes happen one after the other, because the
// user is told of them in order; work is what happens in the background, meanwhile
// the actor goes on.
type change struct {
	run   uint64 // if the membership is another by then, it is void
	final bool   // it is not
	begin func() // by the actor, before work; may be nil
	work  func(ctx context.Context)
	done  func() // by the actor, after it
}

func (a *consumerActor) enqueue(c *change) {
	c.run = a.run
	a.changes = append(a.changes, c)
	a.nextChange()
}

func (a *consumerActor) nextChange() {
	if a.changing || len(a.changes) == 0 {
		return
	}
	c := a.changes[0]
	a.changes = a.changes[1:]
	a.changing = true
	if c.begin != nil {
		c.begin()
	}
	a.background(func(ctx context.Context) any {
		c.work(ctx)
		return changeEnded{c}
	})
}

func (a *consumerActor) changeEnded(c *change) {
	a.changing = false
	if c.run == a.run || c.final {
		c.done()
	}
	a.nextChange()
}

// assigned takes partitions over. They begin when the user was told.
func (a *consumerActor) assigned(given []group.Assignment) {
	var lanes []*consumerLane
	for _, p := range given {
		at := TopicPartition{p.Topic, p.Partition}
		old := a.lanes[at]
		if a.closing || old != nil && old.is(p.Claim) {
			continue // it is only said again
		}
		if old != nil {
			old.abandon()
		}
		a.consumer.goesOn(at)
		l := newConsumerLane(a.consumer, a.group, a.id, p)
		a.lanes[at] = l
		lanes = append(lanes, l)
	}
	if len(lanes) == 0 {
		return
	}
	a.show()
	a.enqueue(&change{
		work: func(ctx context.Context) {
			a.consumer.inform(ctx, a.consumer.options.Listener.Assigned, lanes)
			for _, l := range lanes {
				l.begin()
			}
		},
		done: func() {},
	})
}

// revoke gives partitions back: their handlers are let finish, for a while; then
// the user is told, what is done is committed, and the group may give them to
// others. Their neighbours notice nothing.
func (a *consumerActor) revoke(claims []group.Claim) {
	var lanes []*consumerLane
	for _, c := range claims {
		if l := a.lanes[TopicPartition{c.Topic, c.Partition}]; l != nil && !a.closing {
			lanes = append(lanes, l)
		}
	}
	a.enqueue(&change{
		work: func(ctx context.Context) { a.consumer.wind(ctx, lanes) },
		done: func() {
			a.consumer.goesOn(a.drop(lanes)...)
			a.say(group.Release{Member: a.id, Partitions: claims})
		},
	})
}

// wind brings lanes to an orderly end: what was handed out is finished, and what
// lies between it, so that in a commit of what is contiguous nothing that was done is
// left out. When ctx ends it waits for handlers no
// longer, but it commits all the same.
func (c *Consumer) wind(ctx context.Context, lanes []*consumerLane) {
	if len(lanes) == 0 {
		return
	}
	for _, l := range lanes {
		l.finish()
	}
	patience, cancel := context.WithTimeout(ctx, c.options.DrainTimeout)
	defer cancel()
	for _, l := range lanes {
		l.drained(patience, false)
		l.hold(false)
	}
	c.inform(ctx, c.options.Listener.Revoked, lanes)
	for _, l := range lanes {
		l.drained(patience, true)
		l.abandon()
	}
	if !c.options.ManualCommit {
		c.commitLast(context.WithoutCancel(ctx), lanes)
	}
}

func (c *Consumer) commitLast(ctx context.Context, lanes []*consumerLane) {
	ctx, cancel := context.WithTimeout(ctx, consumerAsk)
	defer cancel()
	if err := c.Commit(ctx); err != nil {
		c.sys.log.Warn("a consumer could not commit what it gives back: some of that will be delivered again",
			"group", c.options.Group, "partitions", fmt.Sprint(partitionsOf(lanes)), "error", err)
	}
}

// lost ends partitions that the group has taken away.
func (a *consumerActor) lost(claims []group.Claim) {
	var lanes []*consumerLane
	for _, c := range claims {
		if l := a.lanes[TopicPartition{c.Topic, c.Partition}]; l != nil && l.is(c) {
			lanes = append(lanes, l)
		}
	}
	a.tellLost(a.drop(lanes), func() {})
}

func (a *consumerActor) tellLost(lost []TopicPartition, then func()) {
	if !a.closing { // whoever closes it is told what has stopped
		a.consumer.goesOn(lost...)
	}
	a.enqueue(&change{
		work: func(ctx context.Context) { a.consumer.tellListener(ctx, a.consumer.options.Listener.Lost, lost) },
		done: then,
	})
}

// rewound follows the group to other offsets.
func (a *consumerActor) rewound(given []group.Assignment) {
	for _, p := range given {
		l := a.lanes[TopicPartition{p.Topic, p.Partition}]
		if l == nil {
			continue
		}
		a.move(l, func() { l.give(p) })
	}
}

func (a *consumerActor) seek(m seekLane) any {
	l := a.lanes[m.partition]
	if l == nil || l.isLeaving() {
		return fmt.Errorf("seek in topic %s, partition %d: %w", m.partition.Topic, m.partition.Partition, ErrNotAssigned)
	}
	if !l.seekEarly(m.to) {
		a.move(l, func() { l.origin = origin{seek: &m.to} })
	}
	return nil
}

// move has a lane go on elsewhere, once its handlers have returned.
func (a *consumerActor) move(l *consumerLane, f func()) {
	a.enqueue(&change{
		work: func(ctx context.Context) {
			l.hold(true)
			patience, cancel := context.WithTimeout(ctx, a.consumer.options.DrainTimeout)
			defer cancel()
			l.drained(patience, false)
			a.consumer.goesOn(l.TopicPartition)
			l.restart(f)
		},
		done: func() {},
	})
}

func (a *consumerActor) pause(m pauseLanes) any {
	for _, p := range m.partitions {
		if a.lanes[p] == nil {
			return fmt.Errorf("pause or resume topic %s, partition %d: %w", p.Topic, p.Partition, ErrNotAssigned)
		}
	}
	for _, p := range m.partitions {
		a.lanes[p].setPaused(m.on)
	}
	return nil
}

// close gives all partitions back and leaves.
func (a *consumerActor) close(within context.Context) {
	if a.closing {
		return
	}
	a.closing = true
	var lanes []*consumerLane
	var leave group.Command
	var g *Group
	a.enqueue(&change{
		final: true,
		begin: func() {
			lanes, g, leave = a.all(), a.group, group.Leave{Member: a.id, Epoch: a.epoch}
			if a.epoch == 0 {
				leave = group.Evict{Member: a.id, Reason: "it was closed while it joined"}
			}
		},
		work: func(ctx context.Context) { a.consumer.leave(ctx, within, lanes, g, leave) },
		done: func() { a.consumer.sys.Stop(a.self) },
	})
}

// leave ends a membership in good order. The handlers are not waited for after the
// end of within; what comes then takes no longer than the group does.
func (c *Consumer) leave(ctx, within context.Context, lanes []*consumerLane, g *Group, leave group.Command) {
	patience, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(within, cancel)()
	c.wind(patience, lanes)
	ctx, cancel = context.WithTimeout(ctx, consumerAsk)
	defer cancel()
	if err := g.tell(ctx, leave); err != nil && !errors.Is(err, ErrMemberFenced) {
		c.fail(fmt.Errorf("leave group %s: %w", g.name, err))
	}
}

// inform tells the listener of partitions.
func (c *Consumer) inform(ctx context.Context, told func(context.Context, []TopicPartition), lanes []*consumerLane) {
	c.tellListener(ctx, told, partitionsOf(lanes))
}

func (c *Consumer) tellListener(ctx context.Context, told func(context.Context, []TopicPartition), p []TopicPartition) {
	if told == nil || len(p) == 0 {
		return
	}
	c.guard(func() { told(ctx, p) })
}

// guard calls a function of the user's that only wants to know. If it panics, that
// is reported.
func (c *Consumer) guard(f func()) {
	if err := dataflow.Protect(func() error { f(); return nil }); err != nil {
		c.fail(fmt.Errorf("consumer of group %s: a function that was to be told something: %w", c.options.Group, err))
		c.sys.log.Error("a function that a consumer tells something panicked", "group", c.options.Group, "error", err, "stack", dataflow.StackOf(err))
	}
}

func partitionsOf(lanes []*consumerLane) []TopicPartition {
	all := make([]TopicPartition, len(lanes))
	for i, l := range lanes {
		all[i] = l.TopicPartition
	}
	slices.SortFunc(all, comparePartitions)
	return all
}

func comparePartitions(x, y TopicPartition) int {
	return cmp.Or(strings.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
}
