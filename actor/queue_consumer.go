package actor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/telemetry"
)

// QueueConsumer is one of those who share the messages of a queue. It is safe for
// concurrent use.
//
// It lives until it is closed or its queue is deleted. When the queue fails and starts
// again it subscribes anew by itself; what it had in its hands comes again then, to it
// or to others, and is flagged.
type QueueConsumer struct {
	sys     *System
	queue   string
	source  queueSource
	options ConsumeOptions
	handler QueueHandler // nil: messages are fetched by Next
	pull    bool         // gets only what it asks for
	pid     *pactor.PID
	site    *telemetry.Site

	ready chan struct{} // closed when it has subscribed for the first time
	ended chan struct{} // closed when it is over

	mu       sync.Mutex
	run      *queueRun
	hand     queueHand
	settling queueSettling
	workers  []*queueWorker
	phase    consumerPhase
	calm     chan struct{} // closed when a handler ends or something is settled; nil: nobody waits
	arrived  chan struct{} // closed when there is something for Next; nil: nobody waits
	pulled   chan int      // how many messages a Pull has left out
	stats    QueueConsumerStats
	err      error
}

type consumerPhase uint8

const (
	consumerWorks   consumerPhase = iota
	consumerCloses                // hands nothing out any more
	consumerLingers               // waits until what it has handed out is settled, and ends
)

// queueSource is how a consumer reaches its queue.
type queueSource interface {
	address(context.Context) (*pactor.PID, error)
	// settleTimeout is how long a delivery may be out without a word; negative: for ever.
	settleTimeout() time.Duration
}

// queueRun is one subscription. When it ends, its deliveries are void.
type queueRun struct {
	consumer *QueueConsumer
	id       string      // of the consumer, to the queue
	queue    *pactor.PID // nil: not known yet
	accepted bool        // by the queue, before the consumer began to close
	came     int         // deliveries
	over     error       // why it has ended; nil: it has not
	ctx      context.Context
	cancel   context.CancelFunc
}

// QueueConsumerStats are counts since the consumer was made, and what it has now.
type QueueConsumerStats struct {
	Delivered   uint64 // messages that were handed out
	Redelivered uint64 // of them
	Acked       uint64
	Failed      uint64 // attempts
	Rejected    uint64
	Returned    uint64
	Recalled    uint64 // taken back by the queue
	Refused     uint64 // settlements, that came too late or twice
	Lost        uint64 // messages whose log does not have their body any more
	Runs        uint64 // subscriptions: one, and one more after each failure of the queue

	InHand  int // now: waiting for a handler, at work or not settled
	Working int // handlers
	Active  bool
}

// newQueueConsumer subscribes to a queue. Without a handler, messages are for Next.
func (s *System) newQueueConsumer(ctx context.Context, name string, source queueSource, o ConsumeOptions, h QueueHandler, pull bool) (*QueueConsumer, error) {
	o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("consume queue %s: %w", name, err)
	}
	c := &QueueConsumer{sys: s, queue: name, source: source, options: o, handler: h, pull: pull,
		ready: make(chan struct{}), ended: make(chan struct{}), pulled: make(chan int, 1)}
	c.hand.batches = map[*queueBatch]struct{}{}
	c.settling.chunk = max(o.Prefetch/settleChunks, 1)
	c.site = s.tracer.Site(telemetry.Process, telemetry.Place{Topic: name, Partition: -1, Group: o.Name})
	actorName := "queue-consumer/" + name + "/" + rand.Text()
	c.pid = s.actors.NewLocalPID(actorName)
	if _, err := s.Spawn(actorName, func() pactor.Actor { return &queueConsumerActor{consumer: c} }); err != nil {
		return nil, fmt.Errorf("consume queue %s: %w", name, err)
	}
	s.queueConsumers.add(c)
	s.watches.then(c.pid, func() {
		s.queueConsumers.remove(c)
		c.endRun(fmt.Errorf("consumer of queue %s: %w", name, ErrClosed))
		close(c.ended)
	})
	return c.awaitReady(ctx)
}

func (c *QueueConsumer) awaitReady(ctx context.Context) (*QueueConsumer, error) {
	select {
	case <-c.ready:
		return c, nil
	case <-c.ended:
		return nil, cmp.Or(c.Err(), fmt.Errorf("consume queue %s: %w", c.queue, ErrStopped))
	case <-ctx.Done():
		if c.isReady() {
			return c, nil
		}
		c.sys.Stop(c.pid)
		return nil, fmt.Errorf("consume queue %s: %w", c.queue, ctx.Err())
	}
}

// Queue is the name of its queue.
func (c *QueueConsumer) Queue() string { return c.queue }

// ID is what the queue calls the consumer now.
func (c *QueueConsumer) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run.id
}

// Ended returns a channel that is closed when the consumer is over: it was closed, its
// queue was deleted, or it could not go on. Err says why.
func (c *QueueConsumer) Ended() <-chan struct{} { return c.ended }

// Err says why the consumer has ended; nil if it has not, or was closed.
func (c *QueueConsumer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stats returns what the consumer has done and has.
func (c *QueueConsumer) Stats() QueueConsumerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.InHand, s.Working = c.hand.open, c.working()
	return s
}

// beginRun starts a subscription, in memory.
func (c *QueueConsumer) beginRun() *queueRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	run := &queueRun{consumer: c, id: c.options.Name + "-" + rand.Text()[:12]}
	run.ctx, run.cancel = context.WithCancel(context.Background())
	c.run = run
	c.stats.Runs++
	return run
}

// endRun ends the subscription: what came with it is void, and nobody waits for what
// was to be settled.
func (c *QueueConsumer) endRun(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil || c.run.over != nil {
		return
	}
	c.run.over = err
	c.run.cancel()
	c.hand.drop()
	c.settling.end(fmt.Errorf("%w: the subscription has ended before it was durable: %w", queue.ErrSettled, err))
	c.stats.Active = false
	c.wakeNext()
	c.settleDown()
}

// fail notes why the consumer ends.
func (c *QueueConsumer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

// is says whether a message is for the subscription that there is.
func (r *queueRun) is(consumer string) bool { return r.id == consumer && r.over == nil }

// settleDown tells those who wait that something has changed. The lock is held.
func (c *QueueConsumer) settleDown() {
	if c.calm != nil {
		close(c.calm)
		c.calm = nil
	}
}

// until waits until something is true. It is looked at with the lock held.
func (c *QueueConsumer) until(ctx context.Context, is func() bool) error {
	for {
		c.mu.Lock()
		if is() {
			c.mu.Unlock()
			return nil
		}
		if c.calm == nil {
			c.calm = make(chan struct{})
		}
		calm := c.calm
		c.mu.Unlock()
		select {
		case <-calm:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
