package actor

import (
	"context"
	"fmt"
	"strconv"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage"
)

// shardQueue is a queue of a shard.
type shardQueue struct {
	info  *queueInfo
	pid   *pactor.PID
	start *queueJournal // what its actor begins with; nil once it has that
	size  int           // of its newest snapshot
	// raw: its state cannot be read, or its actor was given up. What the journal has of
	// it is kept as it is.
	raw bool
	err error // why
}

// askQueueState is answered with queueState: what the actor of a queue begins with.
type askQueueState struct {
	queue uint32
	run   uint64
	pid   *pactor.PID
}

// queueState is what the journal has of a queue.
type queueState struct {
	run   uint64
	state *queueJournal
	err   error
}

// queueUnreadable says that the journal of a queue does not make sense.
type queueUnreadable struct {
	queue uint32
	err   error
}

func (queueState) IgnoreDeadLetterLogging() {}

// start begins the actor of a queue, unless the queue is there.
func (s *shard) start(info *queueInfo, state *queueJournal) {
	if s.queues[info.id] != nil {
		return
	}
	if state == nil {
		state = &queueJournal{}
	}
	q := &shardQueue{info: info, start: state, size: len(state.snapshot)}
	s.size += q.size
	s.queues[info.id] = q
	sys := s.sys
	props := sys.Props(func() pactor.Actor { return newQueueActor(s, info) })
	pid, err := s.ctx.SpawnNamed(props, strconv.FormatUint(uint64(info.id), 10))
	if err != nil {
		q.raw, q.err = true, err
		q.info.admission.opens(queue.Counter{}, false)
		sys.log.Error("a queue cannot be started", "queue", info.name, "error", err)
		return
	}
	q.pid = pid
	s.byPID[pid.Id] = q
}

// changed follows the directory. What comes while the journal is not open is seen when it
// is.
func (s *shard) changed(c directoryChange) {
	switch c := c.(type) {
	case queueDeclared:
		if c.queue.shard == s.config.number {
			s.declare(c.queue)
		}
	case queueAltered:
		if q := s.queues[c.queue.id]; q != nil {
			s.tell(q.pid, c)
			s.alterFeeds()
		}
	case queueDeleted:
		delete(s.declared, c.queue.id)
		s.delete(c)
	case feedDeclared:
		s.addFeed(c.feed)
	case feedEnded:
		s.endFeed(c.feed)
	}
}

func (s *shard) declare(info *queueInfo) {
	s.declared[info.id] = info
	if s.journal != nil && !s.draining {
		s.start(info, nil)
	}
}

func (s *shard) delete(c queueDeleted) {
	q := s.queues[c.queue.id]
	if q == nil {
		return
	}
	s.size -= q.size
	delete(s.queues, c.queue.id)
	s.tell(q.pid, c)
	s.leaveRound(c.queue.id)
}

// askPID answers with the actor of a queue. The directory has told of it before anybody
// could know its number.
func (s *shard) askPID(r sentWith) {
	id := r.message.(askQueuePID).queue
	if s.journal == nil {
		if len(s.parked) >= shardParked {
			s.tell(r.sender, fmt.Errorf("%s: %w", s.config, ErrBackpressure))
			return
		}
		s.parked = append(s.parked, r)
		return
	}
	q := s.queues[id]
	switch {
	case q == nil:
		s.tell(r.sender, fmt.Errorf("%w: it has the number %d", ErrNoQueue, id))
	case q.err != nil:
		s.tell(r.sender, q.err)
	default:
		s.tell(r.sender, q.pid)
	}
}

// askState gives a queue what it begins with. If that is not its first start, the
// journal is read.
func (s *shard) askState(m askQueueState) {
	q := s.queues[m.queue]
	switch {
	case q == nil: // it was deleted, and is about to hear of it
	case s.draining:
		s.tell(m.pid, drain{})
	case q.start != nil:
		s.tell(m.pid, queueState{run: m.run, state: q.start})
		q.start = nil
		s.tellFeeds(q)
	default:
		s.reads = append(s.reads, queueRead{queue: m.queue, run: m.run, pid: m.pid})
	}
}

// unreadable keeps what there is of a queue, so that a newer release may read it.
func (s *shard) unreadable(m queueUnreadable) {
	if q := s.queues[m.queue]; q != nil {
		q.raw, q.err = true, m.err
		q.info.admission.opens(queue.Counter{}, false)
	}
}

// terminated: a queue was deleted, or was given up by its supervision, or all end.
func (s *shard) terminated(pid *pactor.PID) {
	q := s.byPID[pid.Id]
	if q == nil {
		return
	}
	delete(s.byPID, pid.Id)
	s.ended()
	if s.draining || s.journal == nil || s.queues[q.info.id] != q {
		return
	}
	q.raw, q.err = true, fmt.Errorf("%w too often, and was stopped: the log of this process says why; open the system anew to try again", ErrQueueFailed)
	q.info.admission.opens(queue.Counter{}, false)
	s.rewriteRaw(q.info.id)
}

// queueRead is to read what the journal has of a queue, for its actor, or for a round of
// snapshots.
type queueRead struct {
	queue uint32
	run   uint64
	pid   *pactor.PID // nil: for the round
	round uint64
}

type queueWasRead struct {
	queueRead
	of    uint64 // run of the shard
	state *queueJournal
	err   error
}

func (queueWasRead) IgnoreDeadLetterLogging() {}

// beginReads reads for those of which nothing waits for the journal any more: what an
// actor wrote before it failed belongs to its state.
func (s *shard) beginReads() {
	rest := s.reads[:0]
	for _, r := range s.reads {
		if s.outbox.has(r.queue) {
			rest = append(rest, r)
			continue
		}
		s.read(r)
	}
	clear(s.reads[len(rest):])
	s.reads = rest
}

func (s *shard) read(r queueRead) {
	run, log, last := s.run, s.journal.log, s.journal.last
	s.background(func(ctx context.Context) any {
		state, err := readQueue(ctx, log, last, r.queue)
		return queueWasRead{r, run, state, err}
	})
}

func (s *shard) wasRead(m queueWasRead) {
	if m.of != s.run {
		return
	}
	if m.pid != nil {
		s.tell(m.pid, queueState{m.run, m.state, m.err})
		if q := s.queues[m.queue]; q != nil {
			s.tellFeeds(q)
		}
		return
	}
	s.rewrite(m)
}

// readQueue reads a journal up to an entry. Entries that are trimmed meanwhile are not
// missed: there is a snapshot behind them.
func readQueue(ctx context.Context, log storage.Log, last uint64, id uint32) (*queueJournal, error) {
	r := &shardReader{queues: map[uint32]*queueJournal{}, only: &id}
	for next := uint64(1); next <= last; {
		entries, err := log.Read(ctx, next, journalReadBytes)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if e.Kind != storage.Data || e.Seq > last {
				continue
			}
			if err := r.replay(e.Data); err != nil {
				return nil, fmt.Errorf("entry %d of log %s: %w", e.Seq, log.Name(), err)
			}
		}
		next = entries[len(entries)-1].Seq + 1
	}
	if r.queues[id] == nil {
		return &queueJournal{}, nil
	}
	return r.queues[id], nil
}
