package queue

import (
	"fmt"

	"github.com/troupestream/troupe/internal/wire"
)

// Apply carries out a command. It returns the events to journal, which are nil
// when the durable state did not change, and the effects to let go: see the
// package's description. now is in Unix ms; it should not go backwards.
//
// A command that fails changed nothing, and its effects are empty. The exceptions
// are Ack, Nack and Extend, which do what they can.
//
// The events are valid until the next Apply.
func (q *Queue) Apply(now int64, c Command) (events []byte, effects []Effect, err error) {
	if err := q.mayApply(c); err != nil {
		return nil, nil, err
	}
	if _, late := c.(Loaded); late && q.clean {
		return nil, nil, nil
	}
	q.events, q.effects, q.started, q.atOnceNow = q.events[:0], nil, true, false
	if _, loads := c.(Loaded); !loads { // nor does loading ever start all over
		q.pinned, q.stalled = q.pinned[:0], false
	}
	err = q.carryOut(now, c)
	if err == nil || partial(c) {
		q.settleDown(now)
	}
	if len(q.events) > 0 {
		q.sequence++
		return q.events, q.effects, err
	}
	return nil, q.effects, err
}

// Sequence is how many commands had events. A Deliver with an After up to that of
// the last command that is durable can go.
func (q *Queue) Sequence() uint64 { return q.sequence }

// current is the number of the last command that had events, this one included.
func (q *Queue) current() uint64 {
	if len(q.events) > 0 {
		return q.sequence + 1
	}
	return q.sequence
}

func partial(c Command) bool {
	switch c.(type) {
	case Ack, Nack, Extend:
		return true
	}
	return false
}

// mayApply sees to it that Recover is the first command after a restart, and that
// none but it follows Stop.
func (q *Queue) mayApply(c Command) error {
	_, recovers := c.(Recover)
	_, late := c.(Loaded)
	switch {
	case recovers, late && q.clean:
		return nil
	case q.restored:
		return fmt.Errorf("%w: %T comes before Recover, and the queue was restored", ErrInvalid, c)
	case q.clean:
		return fmt.Errorf("%w: %T comes after Stop", ErrInvalid, c)
	}
	return nil
}

func (q *Queue) carryOut(now int64, c Command) error {
	switch c := c.(type) {
	case Take:
		q.atOnceNow = true
		return q.take(now, c)
	case Ack:
		return q.ack(now, c)
	case Nack:
		return q.nack(now, c)
	case Loaded:
		return q.loaded(now, c)
	case Started:
		return q.start(now, c)
	case Extend:
		return q.extend(now, c)
	case Pull:
		return q.pull(now, c)
	case Tick:
		return nil
	case DeadLettered:
		return q.deadLettered(now, c)
	case NotDeadLettered:
		return q.notDeadLettered(now, c)
	}
	return q.carryOutRarely(now, c)
}

func (q *Queue) carryOutRarely(now int64, c Command) error {
	switch c := c.(type) {
	case Subscribe:
		return q.subscribe(now, c)
	case Cancel:
		return q.cancel(now, c)
	case Gone:
		return q.gone(now, c)
	case Recover:
		return q.recover(now)
	case Stop:
		return q.stop(now)
	case Purge:
		return q.purge()
	case Pause:
		if c != (Pause{}) {
			c.Delivery, c.Publishing = c.Delivery || q.paused.Delivery, c.Publishing || q.paused.Publishing
		}
		q.emit(paused(c))
		return nil
	case Drop:
		return q.dropThem(now, c)
	case Relocate:
		return q.relocate(c)
	case Replay:
		return q.replay(now, c)
	case Touch:
		q.touch(now)
		return nil
	case Configure:
		return q.configure(c)
	}
	return fmt.Errorf("%w: %T is not a command of a queue", ErrInvalid, c)
}

// settleDown does what a change of the state, or the time, gives occasion for.
func (q *Queue) settleDown(now int64) {
	if !q.clean {
		q.pass(now)
		q.deliver(now)
		if q.atOnceNow = false; len(q.once) > 0 { // what was to be delivered at once was, or expires
			q.endOnce(now)
			q.deliver(now)
		}
		if q.shorten(now) { // what others waited for may be gone, or room in memory
			q.deliver(now)
		}
		q.endPulls(now)
		q.idle(now)
		q.post(now)
		q.wakeUp(now)
	}
}

// tell adds an effect.
func (q *Queue) tell(e Effect) { q.effects = append(q.effects, e) }

// emit makes an event happen: it is journalled and applied.
func (q *Queue) emit(e event) {
	w := writer{wire.Writer{B: append(q.events, e.kind())}}
	e.put(&w)
	q.events = w.B
	e.apply(q)
}

// Replay applies the events that Apply returned, in their order; those of several
// commands may be joined. It comes after Restore and before Recover. After an
// error, which is an ErrCorrupt or an ErrVersion, the queue must not be used.
func (q *Queue) Replay(events []byte) error {
	if q.started {
		return fmt.Errorf("%w: Replay comes before Recover and all other commands", ErrInvalid)
	}
	q.replaying, q.restored = true, true
	defer func() { q.replaying = false }()
	r := reader{wire.NewReader(events, ErrCorrupt), q}
	for r.Len() > 0 {
		e := readEvent(&r)
		if r.Err() != nil {
			return r.Err()
		}
		e.apply(q)
	}
	return nil
}
