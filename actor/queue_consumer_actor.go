package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// queueConsumerActor is a consumer of a queue.
//
//	owns      the consumer's subscription: one after the other, should the queue fail
//	receives  deliveries, and what becomes of them, from the queue; requests, from the
//	          handle; what became of its own background work
//	sends     subscriptions, signs of life and farewells to the queue
//	keeps     nothing: what the consumer has in its hands is with the handle, under its
//	          lock, where the workers settle it
//	dies      when the consumer is closed, or its queue is deleted, or refuses it
type queueConsumerActor struct {
	consumer *QueueConsumer
	self     *pactor.PID
	run      *queueRun
	watched  *pactor.PID // the queue
	retry    time.Duration
	timer    *time.Timer // of the next sign of life
	again    *time.Timer // of the next attempt to subscribe
	closing  bool
	// forgotten: the queue has answered a Cancel with Cancelled.
	forgotten bool
}

const (
	queueConsumerAsk      = 10 * time.Second
	queueConsumerRetry    = 10 * time.Millisecond
	queueConsumerRetryMax = 5 * time.Second
	// defaultSettleTimeout is that of the queue.
	defaultSettleTimeout = 30 * time.Minute
	// settleTimeoutMin is what signs of life keep up with.
	settleTimeoutMin = 30 * time.Millisecond
)

// What the actor tells itself, and is told by the handle.
type (
	queueSubscribed struct { // the outcome of an attempt
		run *queueRun
		err error
	}
	subscribeDue        struct{ run *queueRun } // it is time for another one
	extendDue           struct{}                // it is time for a sign of life
	closeQueueConsumer  struct{ ctx context.Context }
	lingerQueueConsumer struct{}            // end when all is settled
	queueConsumerOver   struct{ err error } // all is given back
)

// Timers and background work outlive the consumer.
func (queueSubscribed) IgnoreDeadLetterLogging()     {}
func (subscribeDue) IgnoreDeadLetterLogging()        {}
func (extendDue) IgnoreDeadLetterLogging()           {}
func (closeQueueConsumer) IgnoreDeadLetterLogging()  {}
func (lingerQueueConsumer) IgnoreDeadLetterLogging() {}
func (queueConsumerOver) IgnoreDeadLetterLogging()   {}

// Receive implements pactor.Actor.
func (a *queueConsumerActor) Receive(ctx pactor.Context) {
	c := a.consumer
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		a.self = ctx.Self()
		a.subscribe()
		a.scheduleExtend()
	case delivered:
		c.deliver(m)
	case deliveriesSettled:
		a.refused(m)
		c.settled(m)
		a.lingered()
	case queue.Charged:
		c.charged(m)
	case queue.Recalled:
		c.recalled(m)
	case queue.Pulled:
		c.pullEnded(m)
	case queue.Active:
		a.active(m)
	case queue.Cancelled:
		a.cancelled(m)
	case consumerEnded:
		a.ended(m.consumer, m.err)
	case *pactor.Terminated:
		if a.run != nil && m.Who.Equal(a.watched) {
			a.watched = nil
			// This has come first; what the queue has said before, that it is deleted maybe, waits.
			c.sys.Send(a.self, consumerEnded{a.run.id, fmt.Errorf("%w: its actor has stopped", ErrQueueFailed)})
		}
	case queueSubscribed:
		a.subscribed(ctx, m)
	case subscribeDue:
		if m.run == a.run && !a.closing {
			a.subscribe()
		}
	case extendDue:
		c.extend()
		a.scheduleExtend()
	case closeQueueConsumer:
		a.close(m.ctx)
	case lingerQueueConsumer:
		a.closing = true
		c.linger()
	case queueConsumerOver:
		c.fail(m.err)
		c.sys.Stop(a.self)
	case *pactor.Stopping, *pactor.Restarting:
		a.stop()
	}
}

// subscribe begins an attempt. Every one has an id of its own: of one whose answer was
// lost, nobody knows whether it was accepted.
func (a *queueConsumerActor) subscribe() {
	c, o := a.consumer, &a.consumer.options
	run := c.beginRun()
	a.run = run
	a.background(func(ctx context.Context) any {
		c.awaitHandlers(ctx)
		ctx, cancel := context.WithTimeout(ctx, queueConsumerAsk)
		defer cancel()
		pid, err := c.source.address(ctx)
		if err == nil {
			c.mu.Lock()
			run.queue = pid // before anything can come from there
			c.mu.Unlock()
			_, err = Ask[queueDone](ctx, c.sys, pid, subscribe{queue.Subscribe{Consumer: run.id, Prefetch: o.Prefetch,
				Priority: o.Priority, Exclusive: o.Exclusive, Pull: c.pull, Holds: o.Hold}, c.pid})
		}
		return queueSubscribed{run, err}
	})
}

// awaitHandlers waits for those of the subscription before: what they work on comes
// again, and is not to be worked on twice at the same time.
func (c *QueueConsumer) awaitHandlers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.options.DrainTimeout)
	defer cancel()
	_ = c.until(ctx, func() bool { return len(c.workers) == 0 }) // those that do not end are told by their context
}

func (a *queueConsumerActor) subscribed(ctx pactor.Context, m queueSubscribed) {
	c := a.consumer
	switch {
	case m.run != a.run || m.run.over != nil || a.closing && !m.run.accepted:
		a.leave(m.run)
	case m.err == nil:
		a.retry = 0
		a.watched = m.run.queue
		ctx.Watch(a.watched)
		c.mu.Lock()
		c.accepted(m.run)
		c.mu.Unlock()
	default:
		a.leave(m.run) // it may have been accepted
		a.interrupted(fmt.Errorf("consume queue %s: %w", c.queue, m.err))
	}
}

// leave ends a subscription that nobody has a use for.
func (a *queueConsumerActor) leave(run *queueRun) {
	if run.queue != nil {
		a.consumer.sys.Send(run.queue, queueRequest{queue.Cancel{Consumer: run.id, Requeue: true}})
	}
}

// ended is the end of the subscription, by the queue.
func (a *queueConsumerActor) ended(consumer string, err error) {
	if a.run == nil || !a.run.is(consumer) {
		return
	}
	a.interrupted(fmt.Errorf("consumer of queue %s: %w", a.consumer.queue, err))
}

// interrupted goes on with a new subscription, if that can be. One that closes has lost
// nothing by it: an AutoDelete queue may end because of that.
func (a *queueConsumerActor) interrupted(err error) {
	c := a.consumer
	c.endRun(err)
	if a.closing {
		if c.lingers() {
			c.sys.Stop(a.self)
		}
		return // what it had is given back already
	}
	if isFinal(err) {
		a.end(err)
		return
	}
	if told := c.options.Listener.Interrupted; told != nil {
		c.tell(func() { told(err) })
	}
	a.retry = min(max(2*a.retry, queueConsumerRetry), queueConsumerRetryMax)
	c.sys.log.Warn("a consumer lost its queue, and subscribes anew", "queue", c.queue, "error", err, "in", a.retry)
	run, self := a.run, a.self
	a.again = time.AfterFunc(a.retry, func() { c.sys.Send(self, subscribeDue{run}) })
}

// isFinal says whether there is no use in subscribing again.
func isFinal(err error) bool {
	for _, f := range []error{ErrNoQueue, ErrLocked, ErrClosed, ErrInvalid, ErrExclusive, queue.ErrLimit, queue.ErrInvalid} {
		if errors.Is(err, f) {
			return true
		}
	}
	return false
}

// end ends the consumer, which cannot go on.
func (a *queueConsumerActor) end(err error) {
	c := a.consumer
	if told := c.options.Listener.Cancelled; told != nil && c.isReady() {
		c.tell(func() { told(err) })
	}
	c.fail(err)
	c.sys.Stop(a.self)
}

func (c *QueueConsumer) lingers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase == consumerLingers
}

// accepted: the queue has the consumer. What it sends says so too, and may be handled,
// and end the context of Consume, before its answer comes. The lock is held.
func (c *QueueConsumer) accepted(run *queueRun) {
	run.accepted = true
	if !c.isReady() {
		close(c.ready)
	}
}

func (c *QueueConsumer) isReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

func (a *queueConsumerActor) refused(m deliveriesSettled) {
	told := a.consumer.options.Listener.Refused
	for _, err := range m.refused {
		a.consumer.sys.log.Debug("a settlement was refused", "queue", a.consumer.queue, "consumer", m.consumer, "error", err)
		if told != nil {
			a.consumer.tell(func() { told(err) })
		}
	}
}

func (a *queueConsumerActor) active(m queue.Active) {
	c := a.consumer
	c.mu.Lock()
	is := c.run.is(m.Consumer)
	changed := is != c.stats.Active
	c.stats.Active = is
	c.mu.Unlock()
	if told := c.options.Listener.Active; told != nil && changed {
		c.tell(func() { told(is) })
	}
}

// cancelled: nothing is in flight any more after a Cancel. What was said last is still
// to be answered.
func (a *queueConsumerActor) cancelled(m queue.Cancelled) {
	if m.Consumer == a.run.id {
		a.forgotten = true
		a.lingered()
	}
}

// lingered ends a consumer that nobody has a use for any more.
func (a *queueConsumerActor) lingered() {
	c := a.consumer
	c.mu.Lock()
	over := a.forgotten && c.phase == consumerLingers && c.settling.underWay == 0
	c.mu.Unlock()
	if over {
		c.sys.Stop(a.self)
	}
}

// scheduleExtend has three signs of life fit into a settle timeout.
func (a *queueConsumerActor) scheduleExtend() {
	sys, self := a.consumer.sys, a.self
	t := a.consumer.source.settleTimeout()
	switch {
	case t == 0 || t < 0:
		t = defaultSettleTimeout
	case t < settleTimeoutMin:
		t = settleTimeoutMin
	}
	a.timer = time.AfterFunc(t/3, func() { sys.Send(self, extendDue{}) })
}

// stop is the end of the actor. What it still has is given back; as a rule that is
// nothing.
func (a *queueConsumerActor) stop() {
	for _, t := range []*time.Timer{a.timer, a.again} {
		if t != nil {
			t.Stop()
		}
	}
	if a.run != nil && a.run.over == nil {
		a.leave(a.run)
	}
}

// background runs what must not hold the actor up, and sends it what that returns.
func (a *queueConsumerActor) background(io func(context.Context) any) {
	sys, self := a.consumer.sys, a.self
	if !sys.Go(func(ctx context.Context) { sys.Send(self, io(ctx)) }) {
		a.consumer.fail(errSystemClosed)
		sys.Stop(self)
	}
}
