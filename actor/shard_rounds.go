package actor

import (
	"context"
	"errors"

	"github.com/troupestream/troupe/internal/storage"
)

const (
	shardRoundBytes = 1 << 20 // see shardConfig.roundBytes
	// shardRoundWidth is of how many queues snapshots are under way at the same time.
	shardRoundWidth = 32
)

// shardRound is a rewriting of the journal: when each queue has a snapshot in it that was
// begun after the round, what is before the round is dropped.
type shardRound struct {
	number  uint64
	from    uint64 // the first entry of the round
	waiting map[uint32]bool
	toAsk   []uint32
}

// snapshotQueue asks a queue for a snapshot.
type snapshotQueue struct{ round uint64 }

func (snapshotQueue) IgnoreDeadLetterLogging() {}

// write takes what a queue has for the journal.
func (s *shard) write(m journalWrite) {
	if s.journal == nil || s.queues[m.queue] == nil {
		return // its actor hears that it is to end
	}
	sys := s.sys
	if m.sequence != 0 {
		s.outbox.add(shardWrite{queue: m.queue, data: m.events, durable: func() {
			sys.Send(m.pid, journalDurable{run: m.run, sequence: m.sequence})
		}})
	}
	if m.snapshot != nil {
		s.outbox.add(shardWrite{queue: m.queue, data: m.snapshot, snapshot: true, durable: func() {
			sys.Send(m.pid, journalDurable{run: m.run, snapshot: true})
			s.snapshotted(m.queue, m.round, len(m.snapshot))
		}})
	}
}

// snapshotted notes a durable snapshot. It counts for the round if it was made for it.
func (s *shard) snapshotted(id uint32, round uint64, size int) {
	if q := s.queues[id]; q != nil {
		s.size += size - q.size
		q.size = size
	}
	if s.round != nil && s.round.number == round {
		s.leaveRound(id)
	}
}

// beginRound begins to rewrite the journal if that is worth it.
func (s *shard) beginRound() {
	if s.round != nil || s.draining || s.grown <= max(s.config.roundBytes, s.size) {
		return
	}
	s.rounds++
	s.grown = 0
	s.round = &shardRound{number: s.rounds, from: s.journal.last + 1, waiting: map[uint32]bool{}}
	for id := range s.queues {
		s.round.waiting[id] = true
		s.round.toAsk = append(s.round.toAsk, id)
	}
	for range shardRoundWidth {
		s.askNext()
	}
	s.endRound()
}

// askNext asks one more queue for its snapshot.
func (s *shard) askNext() {
	r := s.round
	for len(r.toAsk) > 0 {
		id := r.toAsk[0]
		r.toAsk = r.toAsk[1:]
		q := s.queues[id]
		switch {
		case q == nil:
			continue
		case q.raw:
			s.rewriteRaw(id)
		default:
			s.tell(q.pid, snapshotQueue{r.number})
		}
		return
	}
}

// leaveRound is for a queue that has its snapshot in the journal, or is gone.
func (s *shard) leaveRound(id uint32) {
	if s.round == nil || !s.round.waiting[id] {
		return
	}
	delete(s.round.waiting, id)
	s.askNext()
	s.endRound()
}

// endRound drops what is before the round. If that fails, the next one does.
func (s *shard) endRound() {
	if len(s.round.waiting) > 0 {
		return
	}
	from, log, sys := s.round.from, s.journal.log, s.sys
	s.round = nil
	sys.Go(func(ctx context.Context) {
		if err := log.Trim(ctx, from); err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrClosed) {
			sys.log.Warn("the journal of a queue shard cannot be trimmed; it is tried again later", "log", log.Name(), "error", err)
		}
	})
}

// rewriteRaw puts what the journal has of a queue into it again, as it is, if a round
// waits for that.
func (s *shard) rewriteRaw(id uint32) {
	if s.round != nil && s.round.waiting[id] {
		s.reads = append(s.reads, queueRead{queue: id, round: s.round.number})
	}
}

func (s *shard) rewrite(m queueWasRead) {
	if s.queues[m.queue] == nil || s.round == nil || s.round.number != m.round {
		return
	}
	if m.err != nil { // the round does not end, and nothing is trimmed
		s.sys.log.Error("what the journal of a queue shard has of a queue cannot be read", "shard", s.config.number, "error", m.err)
		return
	}
	s.outbox.add(shardWrite{queue: m.queue, data: m.state.snapshot, snapshot: true})
	s.outbox.add(shardWrite{queue: m.queue, data: m.state.events, durable: func() {
		s.snapshotted(m.queue, m.round, len(m.state.snapshot))
	}})
}
