package actor

import (
	"context"
	"errors"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// heldBack is what may go out when what it rests on is durable.
type heldBack struct {
	after   uint64 // of the core's Sequence
	effect  queue.Effect
	to      *pactor.PID // of a message that is no effect
	message any
	patient bool // nobody waits for it
}

// effect lets an effect of the core go, now or when its time has come.
func (q *queueActor) effect(e queue.Effect) {
	switch e := e.(type) {
	case queue.Deliver:
		q.holdUntil(heldBack{effect: e, after: e.After})
	case queue.Load, queue.Wake, queue.Active:
		q.letGo(e)
	default:
		q.hold(heldBack{effect: e})
	}
}

// hold waits for all that has happened up to now.
func (q *queueActor) hold(h heldBack) {
	h.after = q.core.Sequence()
	q.holdUntil(h)
}

func (q *queueActor) holdUntil(h heldBack) {
	if h.after <= q.durable {
		q.release(h)
		return
	}
	q.held = append(q.held, h)
	q.linger.urgent = q.linger.urgent || !h.patient
}

// written lets go what has become durable.
func (q *queueActor) written(m journalDurable) {
	switch {
	case m.run != q.run:
		return
	case m.snapshot:
		q.snapshotDurable()
		return
	}
	q.flying = false
	q.durable = m.sequence
	held := q.held
	q.held = held[:0]
	for _, h := range held {
		if h.after <= q.durable {
			q.release(h)
		} else {
			q.held = append(q.held, h)
		}
	}
	clear(held[len(q.held):])
}

func (q *queueActor) release(h heldBack) {
	if h.effect != nil {
		q.letGo(h.effect)
		return
	}
	q.tell(h.to, h.message)
}

// letGo does what the core wants done.
func (q *queueActor) letGo(e queue.Effect) {
	switch e := e.(type) {
	case queue.Deliver:
		q.deliver(e)
	case queue.Load:
		q.load(e)
	case queue.Wake:
		q.wake(e.At)
	case queue.DeadLetter:
		q.deadLetter(e.Letters)
	case queue.Expired:
		q.expired(e)
	case queue.Charged:
		q.tellConsumer(e.Consumer, e)
	case queue.Recalled:
		q.tellConsumer(e.Consumer, e)
	case queue.Pulled:
		q.tellConsumer(e.Consumer, e)
	case queue.Active:
		for name := range q.consumers { // the one before is it no longer
			q.tellConsumer(name, e)
		}
	case queue.Cancelled:
		q.tellConsumer(e.Consumer, e)
		q.forgetConsumer(e.Consumer)
	}
}

// wake has the core look at the clock at a time.
func (q *queueActor) wake(at int64) {
	after := max(time.Until(time.UnixMilli(at)), 0)
	if q.timer != nil {
		q.timer.Reset(after)
		return
	}
	sys, self, run := q.sys, q.self, q.run
	q.timer = time.AfterFunc(after, func() { sys.Send(self, queueTick{run}) })
}

// expired deletes the queue: it is not used any more. If that fails, it stays until it was
// used once more.
func (q *queueActor) expired(e queue.Expired) {
	sys, info, why := q.sys, q.info, "its last consumer has left"
	if e.Unused {
		why = "nobody used it"
	}
	sys.log.Info("a queue is deleted", "queue", info.name, "reason", why)
	sys.Go(func(ctx context.Context) {
		if err := sys.deleteQueue(ctx, info.name, info.id); err != nil && !errors.Is(err, ErrNoQueue) && ctx.Err() == nil {
			sys.log.Warn("a queue that has ended cannot be deleted", "queue", info.name, "error", err)
		}
	})
}

// door says to publishers what waits.
func (q *queueActor) door() {
	if waiting := q.core.Waiting(); waiting != q.waiting {
		q.waiting = waiting
		q.info.admission.waits(waiting)
	}
	if paused := q.core.Paused().Publishing; paused != q.paused {
		q.paused = paused
		q.info.admission.pause(paused)
	}
	q.letters.door(q)
}

// whyDropped says what becomes of messages where there is no dead-letter exchange. That they
// expire is what was asked for.
var whyDropped = [queue.Reasons]string{
	queue.ReasonRejected:      "messages of a queue were rejected, and are dropped: a DeadLetterExchange or DeadLetterRoutingKey would keep them",
	queue.ReasonMaxLength:     "a queue is full, and drops its oldest messages: add consumers, raise MaxLength or MaxBytes, or set Overflow or a DeadLetterExchange",
	queue.ReasonDeliveryLimit: "messages of a queue have failed as often as DeliveryLimit allows, and are dropped: a DeadLetterExchange or DeadLetterRoutingKey would keep them",
}

// sayDropped warns of what was dropped since it was looked at last.
func (q *queueActor) sayDropped() {
	now := q.core.Dropped()
	if now == q.dropped {
		return
	}
	for why, text := range whyDropped {
		if n := now[why] - q.dropped[why]; n > 0 && text != "" {
			q.sys.notice(text, q.info.name, n, nil)
		}
	}
	q.dropped = now
}

// advance hands over what is to be journalled, unless the last is still under way.
func (q *queueActor) advance() {
	if q.core == nil {
		return
	}
	q.door()
	q.sayDropped()
	q.info.figures.tell(q)
	if q.flying {
		return
	}
	snapshot, round := q.takeSnapshot()
	if snapshot == nil && q.lingers() {
		q.awaitMore()
		return
	}
	if len(q.events) == 0 && snapshot == nil {
		if q.draining && q.letters.underWay == 0 && !q.snapshot.flying {
			q.sys.Stop(q.self)
		}
		return
	}
	w := journalWrite{queue: q.info.id, run: q.run, pid: q.self, snapshot: snapshot, round: round}
	if len(q.events) > 0 {
		w.events, w.sequence, q.flying = q.events, q.core.Sequence(), true
		q.events, q.spare = q.spare[:0], q.events
		q.linger.urgent = false
	}
	q.sys.Send(q.shard, w)
}
