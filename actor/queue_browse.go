package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// QueueMessage is a message that was looked at in its queue, and not taken.
type QueueMessage struct {
	// Position is the log that the message is in, and its offset there: its name.
	Position MessageRef
	// QueueOutcome is where it is: ready, delayed until At, in the hands of Consumer since At,
	// or being dead-lettered; of one that the queue does not have any more, what became of
	// it, as far as that is remembered.
	QueueOutcome
	// Message is what was published, without its times: see Published, Due and Expires.
	Message
	Exchange  string
	Published time.Time
	Due       time.Time // the zero time: at once
	Expires   time.Time // by itself; the zero time: never
	// Origin is the queue that it died in first, and Hops how often it was dead-lettered.
	Origin string
	Hops   int
	// Died is why it was dead-lettered last, in RabbitMQ's words; "": it was not.
	Died string
	// Error is what its handler returned then: see Death.
	Error string

	entry    queue.Entry
	envelope envelope.Envelope
	record   codec.Record
}

// lookedAt reads a record; without an envelope it is what was published to a topic.
func lookedAt(of queue.Entry, r codec.Record) (*QueueMessage, error) {
	m := &QueueMessage{Position: of.Ref, entry: of, record: r, Published: time.UnixMilli(of.Arrived)}
	e := &m.envelope
	if sealed := envelopeOf(&r); sealed != nil {
		if err := e.Decode(sealed); err != nil {
			return nil, fmt.Errorf("message %v: %w", of.Ref, err)
		}
	}
	m.Message = Message{RoutingKey: e.RoutingKey, Key: r.Key, Body: r.Value, Headers: messageHeaders(nil, r.Headers, e.Kinds),
		Priority: e.Priority, Transient: e.Transient, MessageID: e.MessageID, CorrelationID: e.CorrelationID, ReplyTo: e.ReplyTo,
		ContentType: e.ContentType, ContentEncoding: e.ContentEncoding, Type: e.Type, UserID: e.UserID, AppID: e.AppID,
		Timestamp: timeOf(e.Timestamp), CC: e.CC}
	m.Exchange, m.Due, m.Expires = e.Exchange, timeOf(e.Due), timeOf(e.Expires)
	m.Origin, m.Hops = e.Origin.Queue, e.Hops
	if len(e.Deaths) > 0 {
		m.Died, m.Error = queue.Reason(e.Deaths[0].Reason).String(), e.Deaths[0].Error
	}
	return m, nil
}

func timeOf(ms int64) (t time.Time) {
	if ms == 0 {
		return t
	}
	return time.UnixMilli(ms)
}

// browsing goes through messages of a queue, from log to log.
type browsing struct {
	q *Queue
	// within is what of a log is gone through.
	within func(ctx context.Context, log uint32) (offsets, error)
	// is says which of the messages of a log are meant, with what became of them. They are
	// in order.
	is func(*queue.Queue, []queue.Entry) []queue.Outcome
	f  func(*QueueMessage) error
}

// browseHeld goes through the messages that the queue has.
func (q *Queue) browseHeld(ctx context.Context, f func(*QueueMessage) error) error {
	w := browsing{q: q, within: q.here, is: held, f: f}
	moves, err := look(ctx, q, (*queue.Queue).Relocated)
	for turn := range slices.Chunk(moves, browseTurn) {
		if err == nil {
			err = w.copies(ctx, turn)
		}
	}
	if err != nil {
		return err
	}
	return w.run(ctx)
}

// errEnough ends the browsing of a log.
var errEnough = errors.New("enough")

// browseTurn is how many messages the queue is asked about at once.
const browseTurn = 256

// run calls f for the messages that are meant, log by log, in their order. A log whose
// beginning is trimmed is read from where it begins.
func (w *browsing) run(ctx context.Context) error {
	w.q.catchUp(ctx)
	logs, err := look(ctx, w.q, func(core *queue.Queue) []uint32 { return core.Logs() })
	for _, log := range logs {
		if err == nil {
			err = w.log(ctx, log)
		}
		if errors.Is(err, errEnough) || errors.Is(err, ErrNoTopic) {
			err = nil
		}
	}
	return err
}

// copies calls f for messages of the queue that were copied away from their logs, which may
// not have them any more.
func (w *browsing) copies(ctx context.Context, moves []queue.Move) error {
	refs := make([]queue.Ref, len(moves))
	for i, m := range moves {
		refs[i] = m.To.Ref
	}
	found := map[queue.Ref]*page{}
	w.q.sys.readPages(ctx, w.q.info.name, refs, func(ref queue.Ref, p *page) { found[ref] = p })
	outcomes, err := look(ctx, w.q, func(core *queue.Queue) []queue.Outcome { return copiesHeld(core, moves) })
	for i, m := range moves {
		p, at := found[m.To.Ref], m.To.Offset
		if err != nil || p == nil || outcomes[i].Status == queue.StatusUnknown {
			continue
		}
		m.To.Ref = m.From
		if err = w.message(p, at, m.To, outcomes[i]); errors.Is(err, errEnough) {
			err = nil
		}
	}
	return cmp.Or(err, ctx.Err())
}

func (w *browsing) log(ctx context.Context, log uint32) error {
	rest, err := w.within(ctx, log)
	if err != nil {
		return err
	}
	d, err := w.q.sys.directory(ctx)
	if err != nil {
		return err
	}
	in, _, _ := d.intakeOf(log, w.q.info.id)
	var s sorter
	for {
		err := w.q.sys.fetchPages(ctx, log, rest.first, rest.next, func(p *page) error {
			err := w.page(ctx, p, s.of(nil, &in, p, rest))
			rest.first = p.end
			return err
		})
		var gone *OffsetError
		if !errors.As(err, &gone) || gone.First <= rest.first {
			return err
		}
		rest.first = gone.First
	}
}

func (w *browsing) page(ctx context.Context, p *page, entries []queue.Entry) error {
	for turn := range slices.Chunk(entries, browseTurn) {
		outcomes, err := look(ctx, w.q, func(core *queue.Queue) []queue.Outcome { return w.is(core, turn) })
		if err != nil {
			return err
		}
		for i, e := range turn {
			if outcomes[i].Status == queue.StatusUnknown {
				continue
			}
			if err := w.message(p, e.Offset, e, outcomes[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// message calls f for a message whose record is on a page.
func (w *browsing) message(p *page, offset uint64, e queue.Entry, o queue.Outcome) error {
	var r codec.Record
	if !p.record(offset, &r) {
		return nil
	}
	m, err := lookedAt(e, r)
	if err != nil {
		return err
	}
	m.QueueOutcome = o
	return w.f(m)
}

// here is what of a log may still be in the queue.
func (q *Queue) here(ctx context.Context, log uint32) (offsets, error) {
	return look(ctx, q, func(core *queue.Queue) offsets { return offsets{core.Needed(log), core.Next(log)} })
}

// held says where those messages are that the queue has, and whose bodies are at their
// places.
func held(core *queue.Queue, entries []queue.Entry) []queue.Outcome {
	all := make([]queue.Outcome, len(entries))
	for i := range entries {
		if core.Needs(entries[i].Ref) {
			all[i] = heldOne(core, &entries[i])
		}
	}
	return all
}

// copiesHeld is held for messages whose bodies are elsewhere.
func copiesHeld(core *queue.Queue, moves []queue.Move) []queue.Outcome {
	all := make([]queue.Outcome, len(moves))
	for i := range moves {
		e := moves[i].To
		if e.Ref = moves[i].From; core.Holds(e.Ref) {
			all[i] = heldOne(core, &e)
		}
	}
	return all
}

func heldOne(core *queue.Queue, e *queue.Entry) queue.Outcome {
	o := core.Outcome(e.Ref)
	if o.Status > queue.StatusDying {
		return queue.Outcome{}
	}
	return dueBy(o, e)
}

// dueBy is the outcome of a message of which more is known than the queue may have in
// memory: when it is due.
func dueBy(o queue.Outcome, e *queue.Entry) queue.Outcome {
	if o.Status == queue.StatusReady && e.Due > time.Now().UnixMilli() {
		o.Status, o.AtMs = queue.StatusDelayed, e.Due
	}
	return o
}

// PeekMax is how many messages can be looked at at once.
const PeekMax = 10_000

// Peek looks at up to n messages of the queue, and changes nothing: those that wait, are
// delayed, or in the hands of consumers; the oldest first, whatever their priority.
func (q *Queue) Peek(ctx context.Context, n int) ([]*QueueMessage, error) {
	if n < 1 || n > PeekMax {
		return nil, fmt.Errorf("peek queue %s: %w: it can be 1 to %d messages (PeekMax), not %d", q.info.name, ErrInvalid, PeekMax, n)
	}
	var all []*QueueMessage
	logs := map[uint32]int{} // how many of each
	err := q.browseHeld(ctx, func(m *QueueMessage) error {
		if logs[m.Position.Log] == n {
			return errEnough
		}
		logs[m.Position.Log]++
		all = append(all, m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("peek queue %s: %w", q.info.name, err)
	}
	slices.SortStableFunc(all, func(a, b *QueueMessage) int { return a.Published.Compare(b.Published) })
	return all[:min(n, len(all))], nil
}

// Drop removes messages that wait, all or none. One that a consumer has, or that is being
// dead-lettered, is an ErrInFlight, and one that the queue does not have an ErrNoMessage.
func (q *Queue) Drop(ctx context.Context, positions ...MessageRef) error {
	return q.do(ctx, queue.Drop{Refs: positions})
}
