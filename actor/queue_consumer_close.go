package actor

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/queue"
)

// Close stops handing out, gives back what waits, and waits for the handlers, at most
// DrainTimeout and within ctx, and until their settlements are durable. What is still
// not settled then is given back: of handlers that have not returned an attempt is
// charged, of messages that nobody works on none. It returns what Err does, and what
// went wrong on the way.
func (c *QueueConsumer) Close(ctx context.Context) error {
	c.sys.Send(c.pid, closeQueueConsumer{ctx})
	select {
	case <-c.ended:
		return c.Err()
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("close the consumer of queue %s: %w", c.queue, ctx.Err()), c.Err())
	}
}

func (a *queueConsumerActor) close(ctx context.Context) {
	c := a.consumer
	if a.closing && !c.lingers() {
		return
	}
	a.closing = true
	c.stopHandingOut()
	a.background(func(sys context.Context) any {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(sys, cancel)()
		return queueConsumerOver{c.drain(ctx)}
	})
}

// stopHandingOut gives back what waits for a handler.
func (c *QueueConsumer) stopHandingOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = consumerCloses
	c.giveBack()
	if c.run.over == nil && c.run.queue != nil {
		c.flush()
	}
	c.wakeNext()
}

// giveBack gives back what waits. The lock is held.
func (c *QueueConsumer) giveBack() {
	for d := c.hand.take(); d != nil; d = c.hand.take() {
		c.close(d, fate{kind: fateReturned})
	}
}

// drain brings the consumer to an end. A subscription that ends meanwhile has left
// nothing to do.
func (c *QueueConsumer) drain(ctx context.Context) error {
	c.mu.Lock()
	run := c.run
	leaves := run.over == nil && run.accepted
	c.mu.Unlock()
	if !leaves {
		return nil // and what is accepted from now on is left by who asked for it
	}
	if err := c.farewell(ctx, run, queue.Cancel{Consumer: run.id}); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, c.options.DrainTimeout)
	late := c.until(within, func() bool { return run.over != nil || len(c.workers) == 0 })
	cancel()
	err := c.until(ctx, func() bool { return run.over != nil || c.settling.count == 0 && c.settling.underWay == 0 })
	if late != nil {
		c.extend() // says what was begun
		err = errors.Join(err, c.farewell(ctx, run, queue.Gone{Consumer: run.id}))
		return errors.Join(err, fmt.Errorf("close the consumer of queue %s: handlers have not returned, their messages were given back: %w", c.queue, late))
	}
	return errors.Join(err, c.farewell(ctx, run, queue.Cancel{Consumer: run.id, Requeue: true}))
}

// farewell says a last word to the queue. That it knows the consumer no more is what
// was wanted, and so it is when its actor has ended, be it because this was the last
// consumer of an AutoDelete queue: that ends the subscription, and is told in its turn.
func (c *QueueConsumer) farewell(ctx context.Context, run *queueRun, command queue.Command) error {
	_, err := Ask[queueDone](ctx, c.sys, run.queue, queueRequest{command})
	c.mu.Lock()
	defer c.mu.Unlock()
	if run.over != nil || errors.Is(err, queue.ErrUnknownConsumer) || errors.Is(err, ErrNoQueue) || isInterruption(err) {
		return nil
	}
	return err
}

// deliver takes messages in.
func (c *QueueConsumer) deliver(m delivered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.run.is(m.consumer) {
		return // the queue has given them up as well
	}
	c.hand.add(c.run, m.deliveries)
	c.run.came += len(m.deliveries)
	if c.phase != consumerWorks { // they have crossed the farewell
		c.giveBack()
		c.flush()
		return
	}
	c.accepted(c.run)
	c.handOut()
	c.settleDown()
}

// recalled: the queue has taken messages back.
func (c *QueueConsumer) recalled(m queue.Recalled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.run.is(m.Consumer) {
		return
	}
	for _, tag := range m.Tags {
		c.goOn(tag)
		d := c.hand.recall(tag, m.Cause)
		if d == nil {
			continue // it was settled at the same time, and that will be refused
		}
		c.stats.Recalled++
		for _, w := range c.workers {
			if w.at == d {
				w.cancel()
				w.cancel = nil
			}
		}
	}
	c.settleDown()
}
