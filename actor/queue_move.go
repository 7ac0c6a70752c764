package actor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// QueueMove says which messages are moved, and how.
type QueueMove struct {
	Filter func(*QueueMessage) bool // nil: all
	Limit  int                      // how many at most; 0: no limit
	Rate   float64                  // a second; 0: as fast as it goes
	DryRun bool                     // only count
	// Edit changes what is published. nil: nothing. RoutingKey, Delay, TTL, CC and BCC have
	// no effect.
	// It is called where Move is, as Filter.
	Edit func(*Message)
}

// QueueMoved is what came of it.
type QueueMoved struct {
	Matched int
	Moved   int
}

// moveTurn is how many messages are moved at once; deliveries of the queue wait as long
// as that takes.
const moveTurn = 256

// Move moves messages that wait, or are delayed, to another queue; those in the hands of
// consumers stay. A message is in the other queue before this one lets it go: if the
// process ends in between it is in both. It is the same message there: its exchange and
// routing keys are those that it was published with, and its history of deaths goes with
// it. Move waits for a queue that is behind, and meanwhile this one delivers what is not
// moved yet.
func (q *Queue) Move(ctx context.Context, to string, o QueueMove) (QueueMoved, error) {
	if to == q.info.name {
		return QueueMoved{}, fmt.Errorf("move messages of queue %s: %w: it is the same queue", to, ErrInvalid)
	}
	return q.move(ctx, o, func(*envelope.Envelope) string { return to })
}

// Redrive moves dead letters back to the queues in which they died first, to be tried
// again: it is said to the queue that has them. They have the exchange and the routing keys
// again that they had there, and may be dead-lettered MaxHops times once more. Messages
// that never died stay, and so do those of queues that are no more: that is an ErrNoQueue,
// and the others are moved.
func (q *Queue) Redrive(ctx context.Context, o QueueMove) (QueueMoved, error) {
	d, err := q.sys.directory(ctx)
	if err != nil {
		return QueueMoved{}, err
	}
	gone := map[string]bool{}
	filter := o.Filter
	o.Filter = func(m *QueueMessage) bool {
		if m.Origin == "" || m.Origin == q.info.name || filter != nil && !filter(m) {
			return false
		}
		_, there := d.queue(m.Origin)
		if !there {
			gone[m.Origin] = true
		}
		return there
	}
	moved, err := q.move(ctx, o, redriven)
	if len(gone) > 0 {
		names := slices.Sorted(maps.Keys(gone))
		err = errors.Join(err, fmt.Errorf("redrive messages of queue %s: some have died in queues that are no more, and stay: %w: %q", q.info.name, ErrNoQueue, names))
	}
	return moved, err
}

// redriven makes a dead letter the message again that it was, and says in which queue.
func redriven(e *envelope.Envelope) string {
	o := &e.Origin
	e.Hops, e.Exchange, e.RoutingKey, e.CC = 0, o.Exchange, o.RoutingKey, nil
	for _, d := range e.Deaths {
		if d.Queue == o.Queue && len(d.RoutingKeys) > 1 && d.RoutingKeys[0] == o.RoutingKey {
			e.CC = d.RoutingKeys[1:]
			break
		}
	}
	return o.Queue
}

// mover moves messages, some at a time.
type mover struct {
	q       *Queue
	options QueueMove
	to      func(*envelope.Envelope) (queue string)
	waiting map[queue.Ref]toMove
	refs    []queue.Ref // of what waits, in order
	done    QueueMoved
}

// toMove is what is published of a message, and where.
type toMove struct {
	queue    string
	envelope envelope.Envelope
	record   codec.Record
}

func (q *Queue) move(ctx context.Context, o QueueMove, to func(*envelope.Envelope) string) (QueueMoved, error) {
	v := mover{q: q, options: o, to: to, waiting: map[queue.Ref]toMove{}}
	err := q.browseHeld(ctx, func(m *QueueMessage) error { return v.add(ctx, m) })
	if err == nil {
		err = v.flush(ctx)
	}
	if err != nil {
		return v.done, fmt.Errorf("move messages of queue %s: %w", q.info.name, err)
	}
	return v.done, nil
}

func (v *mover) add(ctx context.Context, m *QueueMessage) error {
	o := &v.options
	if m.Status != queue.StatusReady && m.Status != queue.StatusDelayed || o.Filter != nil && !o.Filter(m) {
		return nil
	}
	if o.Limit > 0 && v.done.Matched == o.Limit {
		return errEnough
	}
	v.done.Matched++
	if o.DryRun {
		return nil
	}
	e, record := m.edited(o.Edit)
	v.waiting[m.Position] = toMove{v.to(&e), e, record}
	if v.refs = append(v.refs, m.Position); len(v.refs) < v.turn() {
		return nil
	}
	return v.flush(ctx)
}

// turn is how many are moved at once: not more than a second's at a Rate.
func (v *mover) turn() int {
	if v.options.Rate > 0 {
		return int(min(max(v.options.Rate, 1), moveTurn))
	}
	return moveTurn
}

// flush moves what waits. What the other queue is too busy for is tried again, and may
// be delivered meanwhile.
func (v *mover) flush(ctx context.Context) error {
	n := len(v.refs)
	for try := 0; len(v.refs) > 0; try++ {
		err := v.try(ctx)
		if err != nil && !errors.Is(err, ErrBackpressure) {
			return err
		}
		if err != nil {
			if ended := pause(ctx, try); ended != nil {
				return fmt.Errorf("%w: %w", err, ended)
			}
		}
	}
	clear(v.waiting)
	if n > 0 && v.options.Rate > 0 {
		return sleep(ctx, time.Duration(float64(n)/v.options.Rate*float64(time.Second)))
	}
	return nil
}

// try leaves those messages that it has come too early for.
func (v *mover) try(ctx context.Context) error {
	pid, err := v.q.address(ctx)
	if err != nil {
		return err
	}
	moved, err := Ask[messagesMoved](ctx, v.q.sys, pid, moveMessages{v.refs, v.publish})
	if err != nil {
		return err
	}
	v.done.Moved += moved.n
	v.refs = moved.early
	return moved.err
}

// publish publishes those of the messages that the queue still has.
func (v *mover) publish(ctx context.Context, refs []queue.Ref) []error {
	errs := make([]error, len(refs))
	receipts := make([]Receipt, len(refs))
	to, err := v.q.sys.toQueues(ctx)
	for i, ref := range refs {
		if errs[i] = err; err == nil {
			m := v.waiting[ref]
			receipts[i], errs[i] = to.publishTo(ctx, m.queue, &m.envelope, &m.record)
		}
	}
	for i, r := range receipts {
		if errs[i] == nil {
			_, errs[i] = r.Wait(ctx)
		}
	}
	return errs
}

// toQueues is the publisher to the default exchange.
func (s *System) toQueues(ctx context.Context) (*ExchangePublisher, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	return d.inside(ctx, "")
}

// edited is what is published of a message.
func (m *QueueMessage) edited(edit func(*Message)) (envelope.Envelope, codec.Record) {
	e, r := m.envelope, m.record
	if edit == nil {
		return e, r
	}
	n := m.Message
	n.Headers = slices.Clone(n.Headers)
	edit(&n)
	e.Priority, e.MessageID, e.CorrelationID, e.ReplyTo = n.Priority, n.MessageID, n.CorrelationID, n.ReplyTo
	e.ContentType, e.ContentEncoding, e.Type, e.UserID, e.AppID = n.ContentType, n.ContentEncoding, n.Type, n.UserID, n.AppID
	r.Key, r.Value, r.Headers, e.Kinds = n.Key, n.Body, nil, nil
	for i := range n.Headers {
		h := &n.Headers[i]
		r.Headers = append(r.Headers, codec.Header{Key: h.Name, Value: appendValue(nil, &h.Value)})
		e.Kinds = append(e.Kinds, byte(h.Value.Kind))
	}
	return e, r
}

// moveMessages has a queue move those of the messages that wait: publish puts them where
// they are to be, and says which could not be. It is answered with messagesMoved.
type moveMessages struct {
	refs    []queue.Ref
	publish func(context.Context, []queue.Ref) []error
}

type messagesMoved struct {
	n     int
	early []queue.Ref // that are to be tried again, if err is an ErrBackpressure
	err   error       // of the first that could not be
}

// moveEnded: what was to be moved is published.
type moveEnded struct {
	run    uint64
	sender *pactor.PID
	refs   []queue.Ref
	errs   []error
}

func (moveEnded) IgnoreDeadLetterLogging() {}

// move holds deliveries until the messages are where they are to be: none of them gets
// into the hands of a consumer in between. One move is under way at a time.
func (q *queueActor) move(m moveMessages, sender *pactor.PID) {
	if q.moving {
		q.tell(sender, fmt.Errorf("queue %s: %w: other messages are being moved", q.info.name, ErrBackpressure))
		return
	}
	var refs []queue.Ref
	for _, ref := range m.refs {
		if s := q.core.Outcome(ref).Status; s == queue.StatusReady || s == queue.StatusDelayed {
			refs = append(refs, ref)
		}
	}
	q.moving = true
	q.core.Hold(true)
	run := q.run
	q.asked = sender
	q.background(func(ctx context.Context) any { return moveEnded{run, sender, refs, m.publish(ctx, refs)} })
}

func (q *queueActor) moveEnded(m moveEnded) {
	if m.run != q.run {
		return
	}
	q.moving, q.asked = false, nil
	var done messagesMoved
	for i, ref := range m.refs {
		err := m.errs[i]
		if err == nil { // it may have expired meanwhile: then it is there as well
			if err = q.apply(queue.Drop{Refs: []queue.Ref{ref}, Moved: true}); err == nil {
				done.n++
			}
		}
		if errors.Is(err, ErrBackpressure) {
			done.early = append(done.early, ref)
		}
		if err != nil && (done.err == nil || errors.Is(done.err, ErrBackpressure)) {
			done.err = err
		}
	}
	q.core.Hold(false)
	q.apply(queue.Tick{})
	q.hold(heldBack{to: m.sender, message: done})
}
