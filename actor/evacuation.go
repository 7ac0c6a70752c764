package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

const (
	// EvacuateMessages is how many messages at most are copied away from what a log is to
	// drop, so that a few that are stuck do not keep all of it. More are a backlog: that
	// stays where it is.
	EvacuateMessages = 10_000

	evacuateAtOnce = 1024 // messages
	evacuateBytes  = 1 << 20
	evacuateTries  = 8 // while they are being settled
)

// evacuations copies messages away that keep logs from being trimmed.
type evacuations struct {
	mu   sync.Mutex
	logs map[uint32]bool // under way
}

// pinned has a look, in the background, at what keeps a partition from dropping what is
// in front of an offset. The partition says so again as long as it is so.
func (s *System) pinned(at logKey, before uint64) {
	d := s.exchanges.open.Load()
	if d == nil {
		return
	}
	log, ok := d.logIDs.get(at)
	if !ok || !s.evacuations.begin(log) {
		return
	}
	ok = s.Go(func(ctx context.Context) {
		defer s.evacuations.end(log)
		e := evacuation{d: d, log: log, before: before}
		if err := e.run(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("messages that keep a log from being trimmed could not be copied; it is tried again", "topic", at.topic, "error", err)
		}
	})
	if !ok {
		s.evacuations.end(log)
	}
}

func (e *evacuations) begin(log uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.logs[log] {
		return false
	}
	if e.logs == nil {
		e.logs = map[uint32]bool{}
	}
	e.logs[log] = true
	return true
}

func (e *evacuations) end(log uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.logs, log)
}

// evacuation copies the messages of a log in front of an offset to the logs of the shards
// of their queues.
type evacuation struct {
	d      *queueDirectory
	log    uint32
	before uint64
}

// pinning is what one queue needs of it.
type pinning struct {
	queue *queueInfo
	pins  []queue.Pin
	moved []queue.Move // was copied there before
}

func (p *pinning) messages() int {
	n := len(p.moved)
	for _, r := range p.pins {
		n += r.Messages
	}
	return n
}

// run has all queues that need nothing of it make a snapshot that says so, and copies what
// the others need, if it is not much.
func (e *evacuation) run(ctx context.Context) error {
	var all []*pinning
	messages := 0
	for _, q := range e.d.holding(e.log, e.before) {
		p, err := e.ask(ctx, q)
		if err != nil {
			return err
		}
		all = append(all, p)
		messages += p.messages()
	}
	if messages > EvacuateMessages {
		return nil
	}
	for _, p := range all {
		if err := e.move(ctx, p); err != nil {
			return fmt.Errorf("queue %s: %w", p.queue.name, err)
		}
		pid, err := e.d.sys.queueActor(ctx, p.queue)
		if err != nil {
			return err
		}
		e.d.sys.Send(pid, snapshotQueue{})
	}
	return nil
}

// holding returns the queues that need something of a log in front of an offset.
func (d *queueDirectory) holding(log uint32, before uint64) (all []*queueInfo) {
	for _, q := range d.queuesOf(log) {
		if d.sys.holds.before(log, q.id) < before {
			all = append(all, q)
		}
	}
	return all
}

func (e *evacuation) ask(ctx context.Context, q *queueInfo) (*pinning, error) {
	return askOf(ctx, e.d.sys, q, func(core *queue.Queue) *pinning {
		p := &pinning{queue: q, pins: core.Pins(e.log, e.before)}
		for _, m := range core.Relocated() {
			if m.To.Log == e.log && m.To.Offset < e.before {
				p.moved = append(p.moved, m)
			}
		}
		return p
	})
}

// askOf has the actor of a queue look at it.
func askOf[T any](ctx context.Context, s *System, q *queueInfo, look func(*queue.Queue) T) (answer T, err error) {
	return askQueueActor[T](ctx, s, q, askQueue{func(core *queue.Queue) any { return look(core) }})
}

// move copies what a queue needs.
func (e *evacuation) move(ctx context.Context, p *pinning) error {
	moves, err := e.needed(ctx, p)
	if err != nil || len(moves) == 0 {
		return err
	}
	to, err := e.d.shardLog(ctx, p.queue.shard)
	if err != nil {
		return err
	}
	defer to.producer.Close(ctx)
	for len(moves) > 0 {
		n := min(len(moves), evacuateAtOnce)
		if err := e.copy(ctx, p.queue, to, moves[:n]); err != nil {
			return err
		}
		moves = moves[n:]
	}
	return nil
}

// needed finds the messages; To is where each is now.
func (e *evacuation) needed(ctx context.Context, p *pinning) (moves []queue.Move, err error) {
	in, _, _ := e.d.intakeOf(e.log, p.queue.id)
	var s sorter
	var entries []queue.Entry
	for _, pin := range p.pins {
		err := e.d.sys.fetchPages(ctx, e.log, pin.First, pin.Next, func(page *page) error {
			entries = s.of(entries, &in, page, offsets{pin.First, pin.Next})
			return nil
		})
		if err != nil {
			return nil, err
		}
		if entries, err = e.stillNeeded(ctx, p.queue, entries); err != nil {
			return nil, err
		}
		for _, entry := range entries {
			moves = append(moves, queue.Move{From: entry.Ref, To: entry})
		}
		entries = entries[:0]
	}
	return append(moves, p.moved...), nil
}

func (e *evacuation) stillNeeded(ctx context.Context, q *queueInfo, entries []queue.Entry) ([]queue.Entry, error) {
	return askOf(ctx, e.d.sys, q, func(core *queue.Queue) []queue.Entry {
		kept := entries[:0]
		for _, entry := range entries {
			if core.Needs(entry.Ref) {
				kept = append(kept, entry)
			}
		}
		return kept
	})
}

// copy appends the messages to a log, and tells the queue. What was settled meanwhile is
// left out.
func (e *evacuation) copy(ctx context.Context, q *queueInfo, to *shardLog, moves []queue.Move) error {
	records := make([]codec.Record, len(moves))
	for i := range moves {
		if err := e.record(ctx, moves[i].To, &records[i]); err != nil {
			return err
		}
	}
	copied, err := to.append(ctx, q.id, records, moves)
	for try := 0; err == nil && len(copied) > 0; try++ {
		err = e.relocate(ctx, q, copied)
		if !errors.Is(err, queue.ErrUnknownMessage) || try == evacuateTries {
			return err
		}
		copied, err = askOf(ctx, e.d.sys, q, func(core *queue.Queue) (left []queue.Move) {
			for _, m := range copied {
				if core.Holds(m.From) {
					left = append(left, m)
				}
			}
			return left
		})
	}
	return err
}

func (e *evacuation) relocate(ctx context.Context, q *queueInfo, moves []queue.Move) error {
	_, err := askQueueActor[queueDone](ctx, e.d.sys, q, queueRequest{queue.Relocate{Moves: moves}})
	return err
}

// record makes the copy of a message: it is for no queue, and says when it was published.
func (e *evacuation) record(ctx context.Context, at queue.Entry, r *codec.Record) error {
	found := false
	err := e.d.sys.fetchPages(ctx, at.Log, at.Offset, at.Offset+1, func(p *page) error {
		found = p.record(at.Offset, r)
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("message %v: %w", at.Ref, ErrCorrupt)
	}
	if b := envelopeOf(r); err == nil && b != nil {
		var v envelope.Envelope
		if err = v.Decode(b); err == nil {
			v.Queues = nil
			if v.Published == 0 {
				v.Published = at.Arrived
			}
			r.Headers = append([]codec.Header{{Key: envelope.Key, Value: envelope.Append(nil, &v)}}, r.Headers[1:]...)
		}
	}
	return err
}

// shardLog is the log of a shard, to append to.
type shardLog struct {
	d        *queueDirectory
	info     *logInfo
	producer *Producer
}

// shardLog opens the log of a shard, and sees to it that the shard follows it: so it is
// held.
func (d *queueDirectory) shardLog(ctx context.Context, shard int) (*shardLog, error) {
	name := ownTopic(shardPrefix, shard, false)
	t, err := d.sys.Topic(ctx, name)
	if errors.Is(err, ErrNoTopic) {
		c := ExchangeConfig{Type: Direct}.withDefaults()
		t, err = d.sys.Declare(ctx, name, TopicConfig{Partitions: c.Partitions, Retention: c.Retention})
	}
	if err != nil {
		return nil, err
	}
	l := &shardLog{d: d}
	if l.info, err = d.logOf(ctx, t, 0); err == nil {
		err = d.follows(ctx, t, l.info, shard)
	}
	if err == nil {
		l.producer, err = t.NewProducer(ProducerOptions{})
	}
	return l, err
}

// append appends the copies of messages for a queue, in batches that fit, and returns
// where they are.
func (l *shardLog) append(ctx context.Context, queue uint32, records []codec.Record, moves []queue.Move) (copied []queue.Move, err error) {
	for len(records) > 0 {
		n, bytes := 0, 0
		for n < len(records) && (n == 0 || bytes+recordSize(&records[n]) <= evacuateBytes) {
			bytes += recordSize(&records[n])
			n++
		}
		ack, err := l.producer.Append(ctx, 0, records[:n])
		if err != nil {
			return nil, err
		}
		l.d.sys.holds.keeps(l.info.id, queue, ack.Offset)
		for i, m := range moves[:n] {
			m.To.Log, m.To.Offset = l.info.id, ack.Offset+uint64(i)
			copied = append(copied, m)
		}
		records, moves = records[n:], moves[n:]
	}
	return copied, nil
}
