package actor

import (
	"context"
	"errors"
	"slices"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
)

// queueWorker calls the handler for one message after the other. It ends when there is
// none; whoever brings messages starts the workers that they take. Both is decided
// under the consumer's lock, so no message is left lying.
type queueWorker struct {
	at     *QueueDelivery // what the handler has; nil: nothing
	ctx    context.Context
	cancel context.CancelFunc // nil: the next message needs a new context
	run    *queueRun          // that the context is of
}

// errHandlerGone: there is nobody who could return an error.
var errHandlerGone = errors.New("the handler has ended its goroutine: runtime.Goexit, or FailNow of a test, is not for handlers")

// working is how many handlers run. The lock is held.
func (c *QueueConsumer) working() int { return len(c.workers) }

// handOut starts the workers that have something to do. The lock is held.
func (c *QueueConsumer) handOut() {
	if c.handler == nil {
		c.wakeNext()
		return
	}
	for want := min(c.options.Concurrency, len(c.workers)+c.hand.fresh); len(c.workers) < want && c.phase == consumerWorks; {
		w := new(queueWorker)
		c.workers = append(c.workers, w)
		if !c.sys.Go(func(context.Context) { c.work(w) }) {
			c.dismiss(w)
			return
		}
	}
}

func (c *QueueConsumer) work(w *queueWorker) {
	defer c.deserted(w)
	for d := c.advance(w, fate{}); d != nil; {
		err := c.call(w, d)
		v := fateOf(err)
		if err != nil {
			c.failed(d, v.kind, err)
		}
		if err == nil && c.options.ManualAck {
			v.kind = fateNone
		}
		d = c.advance(w, v)
	}
}

// failed says that a handler has failed.
func (c *QueueConsumer) failed(d *QueueDelivery, kind fateKind, err error) {
	if c.options.Listener.Failed != nil {
		c.tell(func() { c.options.Listener.Failed(d, err) })
	}
	switch kind {
	case fateRejected:
		c.sys.notice(noticeRejects, c.queue, 1, err)
	case fateFailed, fateRetry:
		c.sys.notice(noticeFails, c.queue, 1, err)
	}
}

// What is said of handlers, and of those who fetch.
const (
	noticeFails   = "the handler of a queue fails: its messages come again, as often as DeliveryLimit allows"
	noticeRejects = "a consumer of a queue rejects messages"
)

// advance settles the message that the worker has, and takes the next one; without one
// the worker is to end.
func (c *QueueConsumer) advance(w *queueWorker, v fate) *QueueDelivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := w.at; d != nil {
		w.at = nil
		if v.kind != fateNone && d.isSettled() == nil {
			c.close(d, v)
			c.flush()
		}
		c.settleDown()
	}
	d := c.next()
	if d == nil {
		c.dismiss(w)
		return nil
	}
	if w.at = d; w.cancel == nil || w.run != d.batch.run {
		w.renew(d.batch.run)
	}
	return d
}

// renew makes a context. Messages share it until one of them is taken back.
func (w *queueWorker) renew(run *queueRun) {
	if w.cancel != nil {
		w.cancel()
	}
	w.run = run
	w.ctx, w.cancel = context.WithCancel(run.ctx)
}

// next takes the next message to hand out. The lock is held.
func (c *QueueConsumer) next() *QueueDelivery {
	for c.phase == consumerWorks {
		d := c.hand.take()
		if d == nil {
			return nil
		}
		if !d.isThere() {
			c.lost(d)
			continue
		}
		c.stats.Delivered++
		if d.arrival.Redelivered {
			c.stats.Redelivered++
		}
		if c.options.AtMostOnce {
			c.close(d, fate{kind: fateAck})
			c.flush()
		}
		return d
	}
	return nil
}

// lost rejects a message whose body is nowhere any more.
func (c *QueueConsumer) lost(d *QueueDelivery) {
	c.stats.Lost++
	c.sys.log.Error("a message of a queue is lost: its log was trimmed by force, or compacted", "queue", c.queue, "message", d.Ref)
	c.close(d, fate{kind: fateRejected, why: "its log has lost it"})
	c.flush()
}

// dismiss ends a worker. The lock is held.
func (c *QueueConsumer) dismiss(w *queueWorker) {
	if w.cancel != nil {
		w.cancel()
	}
	c.workers = slices.DeleteFunc(c.workers, func(o *queueWorker) bool { return o == w })
	c.settleDown()
}

// deserted is the end of a worker's goroutine. It comes without warning when a handler
// ends it; then the attempt has failed, and another worker goes on.
func (c *QueueConsumer) deserted(w *queueWorker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := w.at
	if d == nil {
		return
	}
	w.at = nil
	c.sys.log.Error("the handler of a queue failed", "queue", c.queue, "message", d.Ref, "error", errHandlerGone)
	if d.isSettled() == nil {
		c.close(d, fate{kind: fateFailed, why: errHandlerGone.Error()})
		c.flush()
	}
	c.dismiss(w)
	c.handOut()
}

// call calls the handler, when the attempt may begin.
func (c *QueueConsumer) call(w *queueWorker, d *QueueDelivery) error {
	if d.Probation && !c.options.AtMostOnce && !c.charge(w.ctx, d) {
		return nil // it is somebody else's
	}
	if c.options.HandlerTimeout == 0 && c.site == nil {
		return c.handle(w.ctx, d)
	}
	return c.observe(w.ctx, d)
}

func (c *QueueConsumer) handle(ctx context.Context, d *QueueDelivery) (err error) {
	defer dataflow.Recovered(&err)
	return c.handler(ctx, d)
}

// observe calls the handler within its timeout, and in the span of a message that is
// sampled.
func (c *QueueConsumer) observe(ctx context.Context, d *QueueDelivery) error {
	if t := c.options.HandlerTimeout; t > 0 {
		within, cancel := context.WithTimeout(ctx, t)
		defer cancel()
		ctx = within
	}
	span := c.spanOf(d)
	err := c.handle(span.Into(ctx), d)
	span.End(err)
	return err
}

func (c *QueueConsumer) spanOf(d *QueueDelivery) telemetry.BatchSpan {
	if c.site == nil {
		return telemetry.BatchSpan{}
	}
	r := d.record()
	t, ok := telemetry.Extract(r.Headers)
	if !ok {
		return telemetry.BatchSpan{}
	}
	return c.site.Start(1, []dataflow.Trace{{Context: t}})
}

// tell calls a function of the user's.
func (c *QueueConsumer) tell(f func()) {
	err := dataflow.Protect(func() error { f(); return nil })
	if err != nil {
		c.sys.log.Error("a listener of a queue's consumer failed", "queue", c.queue, "error", err)
	}
}
