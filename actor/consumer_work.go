package actor

import (
	"context"
	"errors"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/inflight"
	"github.com/troupestream/troupe/internal/telemetry"
)

// handOut starts the workers that have something to do.
func (l *consumerLane) handOut() {
	if !l.handing() {
		return
	}
	l.startTends()
	for want := l.window.Wanted(); l.workers < want; l.workers++ {
		if !l.consumer.sys.Go(func(context.Context) { l.work() }) {
			return
		}
	}
}

func (l *consumerLane) handing() bool { return l.open && !l.paused && l.failed == nil }

func (l *consumerLane) work() {
	for {
		d, ctx := l.take()
		if d == nil {
			return
		}
		if err := l.consumer.call(ctx, l.site, d); err != nil {
			l.fail(ctx, d, err)
		} else {
			l.handled(d)
		}
	}
}

// take returns the next record for a worker; nil when there is none, and the
// worker ends.
func (l *consumerLane) take() (*Delivery, context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.handing() {
		t, d, ok := l.window.Take()
		if !ok {
			break
		}
		if d.ticket = t; !l.divert(d) {
			if d.here == 1 && l.delay == 0 {
				l.consumer.gate.fresh.Add(1)
			}
			return d, l.ctx
		}
	}
	l.workers--
	return nil, nil
}

// call calls the handler. site is where spans of the partition are begun.
func (c *Consumer) call(ctx context.Context, site *telemetry.Site, d *Delivery) (err error) {
	meter := c.sys.meter(d.Topic)
	if meter == nil && site == nil {
		return c.handle(ctx, d)
	}
	began := meter.Now()
	span := spanOf(site, d)
	err = c.handle(span.Into(ctx), d)
	span.End(err)
	meter.Processed(began, err)
	return err
}

func (c *Consumer) handle(ctx context.Context, d *Delivery) (err error) {
	defer dataflow.Recovered(&err)
	return c.handler(ctx, d)
}

// spanOf begins the span of a record that is sampled.
func spanOf(site *telemetry.Site, d *Delivery) telemetry.BatchSpan {
	if site == nil || len(d.Headers) == 0 {
		return telemetry.BatchSpan{}
	}
	c, ok := telemetry.Extract(d.Headers)
	if !ok {
		return telemetry.BatchSpan{}
	}
	return site.Start(1, []dataflow.Trace{{Context: c}})
}

func (l *consumerLane) settled(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done(d.ticket)
	l.handOut()
}

// handled is what happens when a handler returns without an error.
func (l *consumerLane) handled(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.consumer.options.ManualAck {
		l.window.Return(d.ticket) // false if it was acknowledged already
		l.settleDown()
	} else {
		l.done(d.ticket)
	}
	l.handOut()
}

func (l *consumerLane) ack(d *Delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.consumer.options.ManualAck || !l.done(d.ticket) {
		return false
	}
	l.handOut()
	return true
}

func (l *consumerLane) done(t inflight.Ticket) bool {
	if !l.window.Done(t) {
		return false
	}
	l.count++
	l.consumer.progress.Add(1)
	l.settleDown()
	if l.starved != nil && l.roomy() {
		close(l.starved)
		l.starved = nil
	}
	return true
}

// fail is what happens when a handler fails.
func (l *consumerLane) fail(ctx context.Context, d *Delivery, err error) {
	l.mu.Lock()
	unwanted := l.dropped || l.leaving
	l.mu.Unlock()
	if unwanted {
		l.putBack(d, d)
		return
	}
	switch v := l.consumer.dispose(ctx, d, err); v.action {
	case verdictDone:
		l.settled(d)
	case verdictRetry:
		l.retry(d, err, v.after)
	case verdictPark:
		l.park(d, err)
	case verdictUnwanted:
		l.putBack(d, d)
	default:
		l.stop(d, v.err)
	}
}

// dispose asks the policy, and does what takes the record alone: what is to be put
// elsewhere is durable there before it counts as done.
func (c *Consumer) dispose(ctx context.Context, d *Delivery, err error) Verdict {
	v := c.judge(ctx, d, err)
	switch v.action {
	case verdictDone:
		c.counts.skipped.Add(1)
	case verdictLetter:
		v = c.mail.put(ctx, v.topic, letter(&c.options, d, err))
		if v.action == verdictDone {
			c.counts.letters.Add(1)
		}
	case verdictLater:
		v = c.mail.put(ctx, laterTopic(c.options.Group, v.after), forLater(d, err))
		if v.action == verdictDone {
			c.counts.later.Add(1)
		}
	}
	return v
}

// judge asks the policy. One that panics stops the partition.
func (c *Consumer) judge(ctx context.Context, d *Delivery, err error) (v Verdict) {
	panicked := dataflow.Protect(func() error {
		v = c.options.OnFailure.Failed(ctx, d, err)
		return nil
	})
	if panicked != nil {
		return Stop(errors.Join(err, panicked))
	}
	if v.action == verdictStop && v.err == nil {
		v.err = err
	}
	return v
}

// putBack takes a record from its handler without its being done.
func (l *consumerLane) putBack(d, instead *Delivery) (inflight.Ticket, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.window.Postpone(d.ticket, instead)
	l.settleDown()
	return t, ok
}

// retry delivers a record again, as another Delivery: the handler may have kept the
// one it had.
func (l *consumerLane) retry(d *Delivery, err error, after time.Duration) {
	again := d.again(err)
	t, ok := l.putBack(d, again)
	if !ok {
		return
	}
	resume := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.window.Resume(t) {
			l.handOut()
		}
	}
	time.AfterFunc(after, func() { l.consumer.gate.pass(resume) })
}

// again is the delivery that follows one that failed.
func (d *Delivery) again(err error) *Delivery {
	next := *d
	next.Attempt++
	next.here++
	next.LastError = briefly(err)
	switch {
	case d.replay != nil: // it stays a replay
	case errors.Is(err, context.DeadlineExceeded):
		next.Cause = Timeout
	default:
		next.Cause = Nack
	}
	d.consumer().counts.retries.Add(1)
	return &next
}

// stop ends work on the partition. The consumer keeps it: it is for people to
// decide what becomes of it.
func (l *consumerLane) stop(d *Delivery, err error) {
	if _, ok := l.putBack(d, d); ok {
		l.giveUp(&HandlerError{d.TopicPartition, d.Offset, d.Attempt, err})
	}
}

func (l *consumerLane) giveUp(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil && !l.leaving {
		l.failed = err
		l.settleDown()
		l.report(err)
	}
}

// unreadable says that nothing more can be taken in. What was is still handed out.
func (l *consumerLane) unreadable(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leaving {
		l.report(err)
	}
}

func (l *consumerLane) report(err error) { l.consumer.sys.Send(l.consumer.pid, laneStopped{l, err}) }
