package actor

import (
	"context"
	"sync"
	"time"

	"github.com/troupestream/troupe/internal/inflight"
	"github.com/troupestream/troupe/internal/telemetry"
)

// replayLane is one partition of a replay. One goroutine, which runs it, reads the
// range into the window, and waits there for room and for the end; workers hand the
// records to the handler. As in a consumerLane, whoever makes a record ready starts
// the workers that this takes, under the lock.
type replayLane struct {
	replay *replaying
	topic  *Topic
	TopicPartition
	from, to uint64
	parked   map[uint64]struct{} // offsets that are left out
	site     *telemetry.Site
	changed  chan struct{} // there may be room, or no worker any more
	at       uint64        // offset of the next record to read

	mu      sync.Mutex
	window  *inflight.Window[*Delivery]
	workers int
	counts  ReplayCounts
}

func newReplayLane(p *replaying, t *Topic, partition int, from, to uint64, parked []ParkedKey) *replayLane {
	c, at := p.consumer, TopicPartition{t.name, partition}
	l := &replayLane{replay: p, topic: t, TopicPartition: at, from: from, to: to, at: from, changed: make(chan struct{}, 1), parked: map[uint64]struct{}{}}
	l.site = c.sys.tracer.Site(telemetry.Process, telemetry.Place{Topic: at.Topic, Partition: at.Partition, Group: c.options.Group})
	l.window = inflight.New[*Delivery](c.options.Limits, int(c.concurrency.Load()), from)
	for _, key := range parked {
		for _, r := range key.Records {
			l.parked[r.Offset] = struct{}{}
		}
	}
	return l
}

// run reads the range and returns when all of it is dealt with, or the replay is cut
// short: then when no handler is at work any more, or after DrainTimeout.
func (l *replayLane) run() error {
	err := l.fetch()
	if err == nil {
		err = l.await(l.replay.ctx, func() bool { return l.window.Len() == 0 })
	}
	if err != nil {
		l.replay.cancel(err) // for the handlers; if they were told already, that stands
		patience, cancel := context.WithTimeout(context.Background(), l.replay.consumer.options.DrainTimeout)
		defer cancel()
		_ = l.await(patience, func() bool { return l.workers == 0 })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window.Close() // what still comes is ignored
	return err
}

// await waits until ready says so, which is asked under the lock.
func (l *replayLane) await(ctx context.Context, ready func() bool) error {
	for {
		l.mu.Lock()
		is := ready()
		l.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-l.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// change has the goroutine that runs the lane look.
func (l *replayLane) change() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *replayLane) outcome() ReplayedPartition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ReplayedPartition{l.TopicPartition, l.from, l.to, l.window.Position(), l.counts}
}

// handOut starts the workers that have something to do.
func (l *replayLane) handOut() {
	c := l.replay.consumer
	l.window.SetWorkers(int(c.concurrency.Load()))
	for want := l.window.Wanted(); l.workers < want && l.replay.ctx.Err() == nil; l.workers++ {
		if !c.sys.Go(func(context.Context) { l.work() }) {
			l.replay.cancel(ErrStopped)
			return
		}
	}
}

func (l *replayLane) work() {
	for d := l.take(); d != nil; d = l.take() {
		if err := l.replay.consumer.call(l.replay.ctx, l.site, d); err != nil {
			l.fail(d, err)
		} else {
			l.handled(d)
		}
	}
}

// take returns the next record for a worker; nil when there is none, and the worker
// ends.
func (l *replayLane) take() *Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replay.ctx.Err() == nil {
		if t, d, ok := l.window.Take(); ok {
			d.ticket = t
			if d.here == 1 {
				l.counts.Delivered++
				l.replay.gate.fresh.Add(1)
			}
			return d
		}
	}
	l.workers--
	l.change()
	return nil
}

// handled is what happens when a handler returns without an error.
func (l *replayLane) handled(d *Delivery) {
	if !l.replay.consumer.options.ManualAck {
		l.done(d, &l.counts.Handled)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window.Return(d.ticket) // false if it was acknowledged already
	l.handOut()
}

func (l *replayLane) ack(d *Delivery) bool {
	return l.replay.consumer.options.ManualAck && l.done(d, &l.counts.Handled)
}

// done is the end of a record, in one way or another. It returns false if that has
// come already.
func (l *replayLane) done(d *Delivery, count *uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.window.Done(d.ticket) {
		return false
	}
	*count++
	l.replay.consumer.counts.replayed.Add(1)
	l.change()
	l.handOut()
	return true
}

// fail is what happens when a handler fails. What is retried or put elsewhere when the
// replay is over already comes again with the next.
func (l *replayLane) fail(d *Delivery, err error) {
	p := l.replay
	if p.ctx.Err() != nil {
		l.putBack(d, d)
		return
	}
	switch v := p.consumer.dispose(p.ctx, d, err); v.action {
	case verdictDone, verdictPark:
		if l.done(d, &l.counts.Failed) {
			p.failed(&ReplayError{d.TopicPartition, d.Offset, d.Attempt, err})
		}
	case verdictRetry:
		l.retry(d, err, v.after)
	case verdictUnwanted:
		l.putBack(d, d)
	default:
		if _, ok := l.putBack(d, d); ok {
			p.cancel(&ReplayError{d.TopicPartition, d.Offset, d.Attempt, v.err})
		}
	}
}

func (l *replayLane) putBack(d, instead *Delivery) (inflight.Ticket, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.window.Postpone(d.ticket, instead)
}

func (l *replayLane) retry(d *Delivery, err error, after time.Duration) {
	t, ok := l.putBack(d, d.again(err))
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
	time.AfterFunc(after, func() { l.replay.gate.pass(resume) })
}
