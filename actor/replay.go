package actor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ReplayFailuresMax is how many failures a Replayed lists.
	ReplayFailuresMax = 100
	// replayPartitions is how many partitions one replay works on at a time: each
	// holds as much as ConsumerOptions.Limits allow.
	replayPartitions = 8
)

// Replayed says what a replay came to.
type Replayed struct {
	ReplayCounts                     // of all partitions
	Partitions   []ReplayedPartition // by topic and number
	Failures     []*ReplayError      // the first ReplayFailuresMax
}

// ReplayedPartition says what a replay came to in one partition.
type ReplayedPartition struct {
	TopicPartition
	From, To uint64 // the range: from From to before To
	// Next is the first record that is not dealt with: To, unless the replay was cut
	// short. A replay from there completes it.
	Next uint64
	ReplayCounts
}

// ReplayCounts count the records of a replay. When it was not cut short, Read and Gone
// are all offsets of the range, and Handled and Failed all that were Delivered.
type ReplayCounts struct {
	Read      uint64 // whether they matched or not
	Gone      uint64 // offsets that hold no record any more: trimmed, or compacted
	Parked    uint64 // records that were left out because the group has them parked
	Delivered uint64 // records handed to the handler, each counted once
	Handled   uint64 // of these, those that it has handled in the end
	Failed    uint64 // of these, those that a policy passed over or put elsewhere
}

func (c *ReplayCounts) add(o ReplayCounts) {
	c.Read += o.Read
	c.Gone += o.Gone
	c.Parked += o.Parked
	c.Delivered += o.Delivered
	c.Handled += o.Handled
	c.Failed += o.Failed
}

// ReplayError is a record whose replay has failed.
type ReplayError struct {
	TopicPartition
	Offset  uint64
	Attempt int
	Err     error
}

func (e *ReplayError) Error() string {
	return fmt.Sprintf("topic %s, partition %d, offset %d: the handler failed at attempt %d of a replay: %v",
		e.Topic, e.Partition, e.Offset, e.Attempt, e.Err)
}

// Unwrap returns the error of the handler.
func (e *ReplayError) Unwrap() error { return e.Err }

// replaying delivers a range of records to one consumer again. It has readers, windows
// and workers of its own, and tells the group nothing: so nobody else notices it.
type replaying struct {
	consumer *Consumer
	match    func(*Record) bool
	ctx      context.Context // of its handlers
	cancel   context.CancelCauseFunc
	gate     *retryGate // of its own: its retries are not at the expense of others
	lanes    []*replayLane

	mu       sync.Mutex
	failures []*ReplayError
}

// Replay delivers records to this consumer's handler again: those of a range, if they
// match, with the cause Replay and an attempt that counts from 1. It returns when all
// are dealt with, and says how many there were. The group does not notice: no commit
// moves, no partition changes hands, and what is delivered to its other members, and
// to this one, goes on. Several replays can be under way at once.
//
// It does not matter whether the partitions are assigned to the consumer, or move
// meanwhile, nor whether they are paused. Records that the group has parked are left
// out, and delay topics are not read. What retention or compaction takes meanwhile is
// counted as Gone.
//
// Within a replay each key keeps its order, at most Concurrency records of a partition
// are at work, and what is held is bounded by Limits, for 8 partitions at a time. A
// replay and what is delivered live are in no order. ManualAck applies; a record that
// is never acknowledged keeps the replay from ending.
//
// Of OnFailure, RetryInPlace, DeadLetter and Skip apply, with a retry budget of the
// replay's own; RetryLater is passed over for what follows it, and a record that would
// be parked counts as Failed: both would hand it to the group. With StopOnFailure, the
// default, the replay ends with a ReplayError; the partition goes on.
//
// When ctx ends, or the consumer is closed, the handlers at work have their context
// ended and are waited for, no longer than DrainTimeout. Replayed is complete in any
// case, and says with Next where to go on.
func (c *Consumer) Replay(ctx context.Context, r ReplayRange) (Replayed, error) {
	done, err := c.replay(ctx, r)
	if err != nil {
		return done, fmt.Errorf("replay to a consumer of group %s: %w", c.options.Group, err)
	}
	return done, nil
}

func (c *Consumer) replay(ctx context.Context, r ReplayRange) (Replayed, error) {
	if err := r.check(); err != nil {
		return Replayed{}, err
	}
	if err := c.replays.enter(); err != nil {
		return Replayed{}, err
	}
	defer c.replays.leave()
	p := &replaying{consumer: c, match: r.Match, gate: newRetryGate(c.options.RetryBudget)}
	defer p.gate.close()
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	defer p.cancel(nil)
	defer context.AfterFunc(c.replays.ctx, func() { p.cancel(context.Cause(c.replays.ctx)) })()
	if err := p.plan(&r); err != nil {
		return Replayed{}, cmp.Or(context.Cause(p.ctx), err)
	}
	err := p.carryOut()
	return p.outcome(), err
}

// carryOut works on all partitions, some at a time.
func (p *replaying) carryOut() error {
	var all sync.WaitGroup
	var cut atomic.Bool
	turns := make(chan struct{}, replayPartitions)
	for _, l := range p.lanes {
		turns <- struct{}{}
		all.Go(func() {
			if l.run() != nil {
				cut.Store(true)
			}
			<-turns
		})
	}
	all.Wait()
	if cut.Load() {
		return context.Cause(p.ctx) // the first error
	}
	return nil
}

func (p *replaying) outcome() (done Replayed) {
	for _, l := range p.lanes {
		one := l.outcome()
		done.add(one.ReplayCounts)
		done.Partitions = append(done.Partitions, one)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	done.Failures = slices.Clone(p.failures)
	return done
}

// failed notes a record that a policy has passed over.
func (p *replaying) failed(e *ReplayError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.failures) < ReplayFailuresMax {
		p.failures = append(p.failures, e)
	}
}

// plan makes a lane for each partition that is meant.
func (p *replaying) plan(r *ReplayRange) error {
	topics, chosen, err := p.consumer.replayed(p.ctx, r)
	if err != nil {
		return err
	}
	g, err := p.consumer.sys.Group(p.consumer.options.Group, p.consumer.options.GroupConfig)
	if err != nil {
		return err
	}
	standing, err := g.standing(p.ctx, topics)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, at := range chosen {
		l, err := p.lane(g, topics[at.Topic], at, r, standing[at], now)
		if err != nil {
			return err
		}
		p.lanes = append(p.lanes, l)
	}
	return nil
}

// lane fixes the range of a partition.
func (p *replaying) lane(g *Group, t *Topic, at TopicPartition, r *ReplayRange, to uint64, now time.Time) (*replayLane, error) {
	b, err := t.Bounds(p.ctx, at.Partition)
	if err != nil {
		return nil, err
	}
	from, err := r.begins(now).bound(p.ctx, t, at.Partition, b)
	if err != nil {
		return nil, err
	}
	if r.To != (From{}) {
		if to, err = r.To.bound(p.ctx, t, at.Partition, b); err != nil {
			return nil, err
		}
	}
	parked, err := g.parkedIn(p.ctx, at)
	if err != nil {
		return nil, err
	}
	return newReplayLane(p, t, at.Partition, from, max(from, min(to, b.Next)), parked), nil
}

// replayed opens the topics that a range is of, and lists its partitions, by topic and
// number.
func (c *Consumer) replayed(ctx context.Context, r *ReplayRange) (topics map[string]*Topic, all []TopicPartition, err error) {
	topics = map[string]*Topic{}
	open := func(name string) (*Topic, error) {
		if _, later := delayOf(c.options.Group, name); later || !slices.Contains(c.options.Topics, name) {
			return nil, fmt.Errorf("topic %s is none of the consumer's topics: its handler may not know what to make of its records", name)
		}
		if topics[name] == nil {
			topics[name], err = c.sys.Topic(ctx, name)
		}
		return topics[name], err
	}
	for _, name := range c.whole(r) {
		t, err := open(name)
		if err != nil {
			return nil, nil, err
		}
		for i := range t.Partitions() {
			all = append(all, TopicPartition{name, i})
		}
	}
	for _, at := range r.Partitions {
		t, err := open(at.Topic)
		if err == nil {
			_, err = t.partition(at.Partition)
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, at)
	}
	slices.SortFunc(all, comparePartitions)
	return topics, slices.Compact(all), nil
}

// whole are the topics of which a range is of all partitions.
func (c *Consumer) whole(r *ReplayRange) []string {
	if len(r.Topics)+len(r.Partitions) > 0 {
		return r.Topics
	}
	return slices.DeleteFunc(slices.Clone(c.options.Topics), func(name string) bool {
		_, later := delayOf(c.options.Group, name)
		return later
	})
}

// standing is the first record that the group has not done, in each partition of topics
// that it knows: what its members say, where they do, or else what is committed.
func (g *Group) standing(ctx context.Context, topics map[string]*Topic) (map[TopicPartition]uint64, error) {
	d, err := g.Describe(ctx)
	if err != nil {
		return nil, err
	}
	stands, err := g.stands(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{} // and not as another topic of the same name, which is gone
	for _, t := range d.Topics {
		known[t.Name] = topics[t.Name] != nil && topics[t.Name].Incarnation() == t.Incarnation
	}
	all := map[TopicPartition]uint64{}
	for _, p := range d.Partitions {
		at := TopicPartition{p.Topic, p.Partition}
		if s, ok := stands[at]; ok && s.epoch == p.Epoch && known[p.Topic] {
			all[at] = s.next
		} else if p.Committed && known[p.Topic] {
			all[at] = p.Next
		}
	}
	return all, nil
}
