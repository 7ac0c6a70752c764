package actor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/queue"
)

// Next returns the next message, of a consumer that was made by Subscribe. It is to be
// settled. Next waits for one, within ctx; when the consumer has ended the error is an
// ErrClosed, or that of Err.
func (c *QueueConsumer) Next(ctx context.Context) (*QueueDelivery, error) {
	var one [1]*QueueDelivery
	if _, err := c.NextBatch(ctx, one[:]); err != nil {
		return nil, err
	}
	return one[0], nil
}

// NextBatch is Next for as many messages as there are, at most len(into), and waits
// only for the first.
func (c *QueueConsumer) NextBatch(ctx context.Context, into []*QueueDelivery) (n int, err error) {
	if c.handler != nil {
		return 0, fmt.Errorf("consumer of queue %s: its messages go to a handler: to fetch them, subscribe", c.queue)
	}
	for len(into) > 0 {
		n, arrived, over := c.fetch(into)
		switch {
		case n > 0 && (n > 1 || !into[0].Probation || c.chargeNext(ctx, into[0])):
			return n, nil
		case n > 0: // it was taken back
			continue
		case over:
			return 0, cmp.Or(c.Err(), fmt.Errorf("consumer of queue %s: %w", c.queue, ErrClosed))
		}
		select {
		case <-arrived:
		case <-c.ended:
		case <-ctx.Done():
			return 0, fmt.Errorf("next message of queue %s: %w", c.queue, ctx.Err())
		}
	}
	return 0, nil
}

// Drained says whether there is nothing to fetch, neither here nor in the queue, nor on
// the way between them. Messages that are delayed, or in the hands of others, do not count.
func (c *QueueConsumer) Drained(ctx context.Context) (bool, error) {
	c.mu.Lock()
	run := c.run
	c.mu.Unlock()
	if run.queue == nil || run.over != nil {
		return false, nil
	}
	type found struct{ ready, inHand int }
	there, err := Ask[found](ctx, c.sys, run.queue, askQueue{func(core *queue.Queue) any {
		return found{core.Counts().Ready, core.InHand(run.id)}
	}})
	c.mu.Lock()
	defer c.mu.Unlock()
	if run.over != nil || c.run != run {
		return false, nil
	}
	return err == nil && there.ready == 0 && c.hand.fresh == 0 && there.inHand == c.hand.open, err
}

// fetch takes what is there. A message on probation comes alone.
func (c *QueueConsumer) fetch(into []*QueueDelivery) (n int, arrived chan struct{}, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(into) {
		if n > 0 && c.hand.probationNext() {
			break
		}
		d := c.next()
		if d == nil {
			break
		}
		into[n] = d
		n++
		if d.Probation {
			break
		}
	}
	select {
	case <-c.ended:
		over = true
	default:
		over = c.phase != consumerWorks
	}
	if n == 0 && c.arrived == nil {
		c.arrived = make(chan struct{})
	}
	return n, c.arrived, over
}

// chargeNext charges the attempt. A message that nobody waits for any more is given
// back.
func (c *QueueConsumer) chargeNext(ctx context.Context, d *QueueDelivery) bool {
	if c.options.AtMostOnce {
		return true
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.batch.run.ctx, cancel)()
	if c.charge(within, d) {
		return true
	}
	_ = d.Requeue() // refused if the queue has taken it back, and it is not ours then
	return false
}

// wakeNext tells those who wait for messages to look again. The lock is held.
func (c *QueueConsumer) wakeNext() {
	if c.arrived != nil {
		close(c.arrived)
		c.arrived = nil
	}
}

// get pulls messages, and leaves the consumer to those that settle them.
func (c *QueueConsumer) get(ctx context.Context, n int, until time.Time) ([]*QueueDelivery, error) {
	defer c.sys.Send(c.pid, lingerQueueConsumer{})
	c.mu.Lock()
	run := c.run
	c.mu.Unlock()
	if _, err := Ask[queueDone](ctx, c.sys, run.queue, queueRequest{queue.Pull{Consumer: run.id, N: n, Until: until.UnixMilli()}}); err != nil {
		return nil, err
	}
	select {
	case missing := <-c.pulled:
		n -= missing
	case <-run.ctx.Done():
		return nil, fmt.Errorf("queue %s: %w", c.queue, run.over)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return c.gather(ctx, run, n)
}

// gather waits for the messages that a Pull has brought: they may come after its end, and
// may be taken back before the last of them has come.
func (c *QueueConsumer) gather(ctx context.Context, run *queueRun, n int) ([]*QueueDelivery, error) {
	if err := c.until(ctx, func() bool { return run.over != nil || run.came >= n }); err != nil {
		return nil, fmt.Errorf("get messages of queue %s: %w", c.queue, err)
	}
	all := make([]*QueueDelivery, n)
	got := 0
	for got < n {
		more, _, _ := c.fetch(all[got:])
		if more == 0 {
			break // some were taken back
		}
		if d := all[got]; !d.Probation || c.chargeNext(ctx, d) {
			got += more
		}
	}
	return all[:got], nil
}

// linger has the consumer get nothing more, and end when all is settled that was handed
// out, by its user or by the queue's settle timeout.
func (c *QueueConsumer) linger() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = consumerLingers
	c.giveBack()
	if c.run.over != nil || c.run.queue == nil {
		return
	}
	c.flush()
	c.sys.Send(c.run.queue, queueRequest{queue.Cancel{Consumer: c.run.id}})
}

// pullEnded says how many messages the queue did not have.
func (c *QueueConsumer) pullEnded(m queue.Pulled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run.is(m.Consumer) {
		select {
		case c.pulled <- m.Missing:
		default: // of a Pull that nobody waits for any more
		}
	}
}
