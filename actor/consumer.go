package actor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/group"
)

// Errors of consumers. Test for them with errors.Is.
var (
	// ErrNotAssigned: the consumer does not have the partition (any more).
	ErrNotAssigned = errors.New("the partition is not assigned to this consumer")
	// ErrReplaced: another consumer has come with the same Instance.
	ErrReplaced = errors.New("replaced by a younger consumer with the same Instance")
)

// Consumer is a member of a consumer group: it has some of the partitions of its
// topics, and hands their records to its handler. Every record is delivered at
// least once to one of the group's members. It is safe for concurrent use.
//
// It keeps its partitions as long as it lives, however slow its handler is. When
// it is shut out all the same, it joins again by itself, under a new id.
type Consumer struct {
	sys     *System
	options ConsumerOptions
	handler Handler
	pid     *pactor.PID

	mail        *mail
	gate        *retryGate
	replays     *replays
	counts      consumerCounts
	lanes       atomic.Pointer[[]*consumerLane] // that it has
	concurrency atomic.Int64
	progress    atomic.Uint64 // changes when work goes on
	ready       chan struct{} // closed when it has joined
	once        sync.Once     // closes it
	ended       chan struct{} // closed when it is over

	mu      sync.Mutex
	id      string
	errs    []error                  // that stay
	stopped map[TopicPartition]error // partitions where work has stopped
	topics  map[string]*Topic
}

// NewConsumer joins a group, which then gives the consumer partitions of the
// topics, and returns when it is a member. ctx is for joining; the consumer works until
// it is closed. Close it.
func (s *System) NewConsumer(ctx context.Context, o ConsumerOptions, h Handler) (*Consumer, error) {
	o.withDefaults()
	if err := o.check(h); err != nil {
		return nil, fmt.Errorf("consumer of group %s: %w", o.Group, err)
	}
	if _, err := s.Group(o.Group, o.GroupConfig); err != nil {
		return nil, err
	}
	c := &Consumer{sys: s, options: o, handler: h, ready: make(chan struct{}), ended: make(chan struct{}), topics: map[string]*Topic{}}
	c.mail = &mail{consumer: c, boxes: map[string]*Publisher{}}
	c.gate, c.replays = newRetryGate(o.RetryBudget), newReplays()
	c.lanes.Store(new([]*consumerLane))
	if err := c.prepare(ctx); err != nil {
		return nil, fmt.Errorf("consumer of group %s: %w", o.Group, err)
	}
	c.concurrency.Store(int64(o.Concurrency))
	name := "consumer/" + o.Group + "/" + rand.Text()
	c.pid = s.actors.NewLocalPID(name)
	if _, err := s.Spawn(name, func() pactor.Actor { return &consumerActor{consumer: c} }); err != nil {
		return nil, err
	}
	s.consumers.add(c)
	s.watches.then(c.pid, func() {
		s.consumers.ended(c)
		c.replays.end()
		c.mail.close()
		c.gate.close()
		close(c.ended)
	})
	return c.awaitReady(ctx)
}

// prepare opens the topics that it reads, and those that its policy writes to.
func (c *Consumer) prepare(ctx context.Context) error {
	for _, t := range topicsOf(c.options.OnFailure) {
		if _, err := c.mail.declare(ctx, t); err != nil {
			return err
		}
	}
	later, err := c.laterTopics(ctx)
	if err != nil {
		return err
	}
	c.options.Topics = append(slices.Clone(c.options.Topics), later...)
	_, err = c.openTopics(ctx, false)
	return err
}

func (c *Consumer) awaitReady(ctx context.Context) (*Consumer, error) {
	select {
	case <-c.ready:
		return c, nil
	case <-c.ended:
		return nil, fmt.Errorf("consumer of group %s: %w", c.options.Group, cmp.Or(c.Err(), ErrStopped))
	case <-ctx.Done():
		c.sys.Send(c.pid, closeConsumer{ctx})
		return nil, fmt.Errorf("consumer of group %s: join: %w", c.options.Group, ctx.Err())
	}
}

// ID is the id under which the consumer is a member now.
func (c *Consumer) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

func (c *Consumer) setID(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id = id
}

// openTopics opens the topics anew and returns what they are. With known, one that is
// no more is as it was, if it was seen before: it may come back, and the others are
// not to suffer.
func (c *Consumer) openTopics(ctx context.Context, known bool) ([]group.Topic, error) {
	var all []group.Topic
	for _, name := range c.options.Topics {
		t, err := c.sys.Topic(ctx, name)
		c.mu.Lock()
		if before := c.topics[name]; known && before != nil && errors.Is(err, ErrNoTopic) {
			t, err = before, nil
		}
		if err == nil {
			c.topics[name] = t
			all = append(all, t.said())
		}
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// topic returns a handle on the topic of a partition, unless anew the one that it
// has.
func (c *Consumer) topic(ctx context.Context, p TopicPartition, anew bool) (*Topic, error) {
	c.mu.Lock()
	t := c.topics[p.Topic]
	c.mu.Unlock()
	if t != nil && !anew && p.Partition < t.Partitions() {
		return t, nil
	}
	return c.sys.Topic(ctx, p.Topic)
}

// Err says which partitions have stopped and why, and why the consumer has ended;
// nil when all is well. A partition that goes on, after a Seek or a rewind, or that
// another member has now, is no longer among them.
func (c *Consumer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.errs)
	for _, p := range slices.SortedFunc(maps.Keys(c.stopped), comparePartitions) {
		all = append(all, c.stopped[p])
	}
	return errors.Join(all...)
}

func (c *Consumer) stop(p TopicPartition, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped == nil {
		c.stopped = map[TopicPartition]error{}
	}
	c.stopped[p] = err
}

// goesOn takes back that work on partitions has stopped.
func (c *Consumer) goesOn(partitions ...TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range partitions {
		delete(c.stopped, p)
	}
}

// consumerErrors is how many errors are kept for Err.
const consumerErrors = 100

func (c *Consumer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && len(c.errs) < consumerErrors {
		c.errs = append(c.errs, err)
	}
}

// Ended returns a channel that is closed when the consumer is over: it was closed,
// or could not go on. Err says why.
func (c *Consumer) Ended() <-chan struct{} { return c.ended }

// Assigned returns the partitions that the consumer has now.
func (c *Consumer) Assigned(ctx context.Context) ([]TopicPartition, error) {
	all, err := Ask[[]TopicPartition](ctx, c.sys, c.pid, askAssigned{})
	return all, c.closed(err)
}

// Pause stops handing out records of partitions until Resume. It says nothing to
// the group, and is forgotten when a partition moves.
func (c *Consumer) Pause(ctx context.Context, p ...TopicPartition) error {
	return c.tell(ctx, pauseLanes{p, true})
}

// Resume ends a pause.
func (c *Consumer) Resume(ctx context.Context, p ...TopicPartition) error {
	return c.tell(ctx, pauseLanes{p, false})
}

// Seek has the consumer go on elsewhere in a partition. It does so when the
// handlers at work on the partition have returned, whose context it ends and whose
// results it ignores; it waits for them no longer than DrainTimeout. An offset that
// is not there becomes the nearest that is.
//
// What is committed does not move back by this, and is not committed again before
// the consumer comes past it. To move a group, rewind it.
func (c *Consumer) Seek(ctx context.Context, p TopicPartition, to From) error {
	return c.tell(ctx, seekLane{p, to})
}

// SetConcurrency changes how many records of each partition are worked on at a
// time, 1 to ConcurrencyMax. If more are, they are let finish.
func (c *Consumer) SetConcurrency(ctx context.Context, n int) error {
	if n < 1 || n > ConcurrencyMax {
		return fmt.Errorf("consumer of group %s: a concurrency of %d: it must be 1 to %d (ConcurrencyMax)", c.options.Group, n, ConcurrencyMax)
	}
	c.concurrency.Store(int64(n))
	return c.tell(ctx, changeConcurrency{})
}

// Commit stores how far the consumer has come, in all its partitions: each up to
// the first record that is not done. It tries again what may work later, within
// ctx, and returns when the commit is durable.
func (c *Consumer) Commit(ctx context.Context) error {
	for {
		err := c.tell(ctx, commitNow{})
		if err == nil || errors.Is(err, ErrMemberFenced) || errors.Is(err, ErrStopped) {
			return err
		}
		if sleep(ctx, consumerRetry) != nil {
			return err
		}
	}
}

// CommitAsync begins to commit as Commit does, and tries once. done, which may be
// nil, is told what became of it; it must not block.
func (c *Consumer) CommitAsync(done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	c.sys.Send(c.pid, commitNow{done})
}

// Close stops handing out records, waits for those at work, at most DrainTimeout
// and within ctx, commits unless that is manual, and leaves the group. Replays are
// cut short. It returns what Err does, and what went wrong on the way. Given a ctx that
// has ended, as that of a signal has by then, it does not wait for the handlers, nor for
// the commit: see context.WithoutCancel.
func (c *Consumer) Close(ctx context.Context) error {
	c.replays.end()
	c.sys.Send(c.pid, closeConsumer{ctx})
	for _, over := range []<-chan struct{}{c.ended, c.replays.idle} {
		select {
		case <-over:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("close the consumer of group %s: %w", c.options.Group, ctx.Err()), c.Err())
		}
	}
	return c.Err()
}

// tell sends the actor a message that it answers with a consumerDone or an error.
func (c *Consumer) tell(ctx context.Context, message any) error {
	_, err := Ask[consumerDone](ctx, c.sys, c.pid, message)
	return c.closed(err)
}

// closed says of an error of the actor's end what that means to a caller.
func (c *Consumer) closed(err error) error {
	if !errors.Is(err, ErrStopped) {
		return err
	}
	return fmt.Errorf("consumer of group %s: %w (%w)", c.options.Group, ErrClosed, ErrStopped)
}
