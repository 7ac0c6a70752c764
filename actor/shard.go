package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
)

// shard is the queues that share a journal.
//
//	owns      the journal; the actors of its queues, and the feeds of their logs
//	receives  journalWrite and askQueueState, from its queues; askQueuePID, from
//	          handles; what has changed, from the directory
//	sends     journalDurable, to its queues
//	keeps     what waits for the append under way: one journalWrite of each queue
//	has under way at most one append, of all that came while the one before was
//	dies      after drain; when its journal fails, its queues end and it reads
//	          everything anew
//
// A queue that fails is restarted alone, from the journal: its neighbours go on.
type shard struct {
	sys    *System
	config shardConfig
	ctx    pactor.Context
	self   *pactor.PID

	declared map[uint32]*queueInfo // what the directory has for it
	unwatch  func()
	feeds    map[uint32]*shardFeed // by log
	fed      int                   // counts starts of feeds

	run     uint64 // counts openings: what comes from an earlier one is ignored
	opening bool
	tries   int // to open it, since it was open last
	journal *journal
	queues  map[uint32]*shardQueue
	byPID   map[string]*shardQueue // those whose actors live
	parked  []sentWith             // come before it was open

	outbox   shardOutbox
	flying   []func() // to be called when the append under way is durable
	inFlight bool
	reads    []queueRead // wait until what came before them is durable
	round    *shardRound // under way
	rounds   uint64
	grown    int // bytes appended since the last round began
	size     int // of the newest snapshots of all queues

	ending   bool // its journal has failed: its queues are to end
	draining bool
}

// shardConfig says which shard it is, and what there is of it.
type shardConfig struct {
	number int
	// roundBytes is how much the journal grows before it is rewritten, at least; it is as
	// much as all snapshots, if that is more.
	roundBytes int
	// watch has a function told of what there is in the directory, and of changes.
	watch func(func(directoryChange)) (end func())
	// intake says what a queue takes of a log, and from where on.
	intake func(log, queue uint32) (in intake, from uint64, ok bool)
	// renew is called for a log that ends in front of where a queue has read it.
	renew func(log uint32)
}

func (c shardConfig) log() string { return fmt.Sprintf("shard_%d_journal", c.number) }

func (c shardConfig) String() string { return fmt.Sprintf("queue shard %d", c.number) }

// askQueuePID is answered with the actor of a queue, once it has started.
type askQueuePID struct{ queue uint32 }

type shardOpened struct {
	run     uint64
	journal *journal
	queues  map[uint32]*queueJournal
	err     error
}

type shardStored struct {
	run uint64
	err error
}

// shardRetry has a shard try to open its journal again.
type shardRetry struct{ run uint64 }

func (shardOpened) IgnoreDeadLetterLogging() {}
func (shardStored) IgnoreDeadLetterLogging() {}
func (shardRetry) IgnoreDeadLetterLogging()  {}

// shardParked is how many questions wait for a shard to open.
const shardParked = 65_536

// Receive implements pactor.Actor.
func (s *shard) Receive(ctx pactor.Context) {
	s.ctx = ctx
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		s.begin()
	case journalWrite:
		s.write(m)
	case askQueueState:
		s.askState(m)
	case askQueuePID:
		s.askPID(sentWith{m, ctx.Sender()})
	case directoryChange:
		s.changed(m)
	case feedStarted:
		s.feedStarted(m)
	case queueUnreadable:
		s.unreadable(m)
	case shardOpened:
		s.opened(m)
	case shardStored:
		s.stored(m)
	case queueWasRead:
		s.wasRead(m)
	case shardRetry:
		if m.run == s.run {
			s.open()
		}
	case *pactor.Terminated:
		s.terminated(m.Who)
	case drain:
		s.drain()
	case *pactor.Stopping, *pactor.Restarting:
		s.abandon()
		return
	default:
		return
	}
	s.advance()
}

func (s *shard) begin() {
	s.self, s.declared, s.feeds = s.ctx.Self(), map[uint32]*queueInfo{}, map[uint32]*shardFeed{}
	sys, self := s.sys, s.self
	s.unwatch = s.config.watch(func(c directoryChange) { sys.Send(self, c) })
	s.open()
}

func (s *shard) open() {
	if s.opening || s.draining {
		return
	}
	s.opening = true
	s.run++
	run, nonce := s.run, fmt.Appendf(nil, "%s/shard/%d", s.sys.actors.ID, partitionRuns.Add(1))
	log := s.config.log()
	s.background(func(ctx context.Context) any {
		r := &shardReader{}
		j, err := openJournal(ctx, s.sys.store, log, nonce, r)
		return shardOpened{run, j, r.queues, err}
	})
}

func (s *shard) opened(m shardOpened) {
	if m.run != s.run {
		return
	}
	s.opening = false
	if m.err != nil {
		s.couldNotOpen(m.err)
		return
	}
	s.tries, s.journal, s.grown = 0, m.journal, m.journal.bytes
	s.queues, s.byPID = map[uint32]*shardQueue{}, map[string]*shardQueue{}
	if s.draining {
		return
	}
	for id, info := range s.declared {
		s.start(info, m.queues[id])
	}
	s.startFeeds()
	parked := s.parked
	s.parked = nil
	for _, p := range parked {
		s.askPID(p)
	}
}

func (s *shard) couldNotOpen(err error) {
	s.sys.log.Error("a queue shard cannot be opened, and tries again", "shard", s.config.number, "error", err)
	err = fmt.Errorf("open %s: %w", s.config, err)
	if errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: restore the data directory from a backup", err)
	}
	for _, info := range s.declared {
		info.admission.fails(err)
	}
	s.refuseParked(err)
	s.retry()
}

func (s *shard) refuseParked(err error) {
	for _, p := range s.parked {
		s.tell(p.sender, err)
	}
	s.parked = nil
}

// retry opens the journal again after a pause that grows.
func (s *shard) retry() {
	sys, self, run := s.sys, s.self, s.run
	after := min(retryPauseFirst<<min(s.tries, 16), retryPauseMax)
	s.tries++
	time.AfterFunc(after, func() { sys.Send(self, shardRetry{run}) })
}

// advance does what can be done: reads that waited, and the next append.
func (s *shard) advance() {
	if s.journal == nil {
		if s.draining && !s.opening && len(s.byPID) == 0 {
			s.sys.Stop(s.self)
		}
		return
	}
	if s.inFlight {
		return
	}
	s.beginReads()
	switch {
	case !s.outbox.isEmpty():
		s.append()
	case s.draining && len(s.byPID) == 0:
		s.sys.Stop(s.self)
	}
}

func (s *shard) append() {
	var entry []byte
	entry, s.flying = s.outbox.next()
	s.inFlight = true
	s.grown += len(entry)
	run, j := s.run, s.journal
	s.background(func(ctx context.Context) any { return shardStored{run, store(ctx, j, storage.Data, entry)} })
}

func (s *shard) stored(m shardStored) {
	if m.run != s.run {
		return
	}
	s.inFlight = false
	if m.err != nil {
		s.fail(m.err)
		return
	}
	for _, f := range s.flying {
		f()
	}
	s.flying = nil
	s.beginRound()
}

// fail ends all queues, since what they hold in memory is ahead of the journal, or
// behind it, and opens the journal again once they are gone.
func (s *shard) fail(err error) {
	s.sys.log.Warn("a queue shard reads its journal again", "shard", s.config.number, "error", err)
	s.ending = true
	s.forget()
	for _, q := range s.byPID {
		s.ctx.Stop(q.pid)
	}
	s.stopFeeds()
	s.ended()
}

// ended goes on after a failure when the last queue has ended.
func (s *shard) ended() {
	if s.ending && len(s.byPID) == 0 {
		s.ending = false
		s.retry()
	}
}

func (s *shard) forget() {
	if j := s.journal; j != nil {
		s.sys.Go(func(context.Context) { j.log.Close() })
	}
	s.run++
	s.journal, s.queues, s.inFlight, s.flying = nil, nil, false, nil
	s.outbox, s.reads, s.round, s.size = shardOutbox{}, nil, nil, 0
}

// drain has all queues write what they have to say, and end.
func (s *shard) drain() {
	s.draining = true
	s.stopFeeds()
	for _, q := range s.byPID {
		s.sys.Send(q.pid, drain{})
	}
}

func (s *shard) abandon() {
	s.refuseParked(fmt.Errorf("%s: %w", s.config, ErrStopped))
	s.unwatch()
	s.forget()
}

func (s *shard) tell(to *pactor.PID, message any) {
	if to != nil {
		s.sys.Send(to, message)
	}
}

func (s *shard) background(io func(context.Context) any) {
	sys, self := s.sys, s.self
	if !sys.Go(func(ctx context.Context) { sys.Send(self, io(ctx)) }) {
		sys.Stop(self)
	}
}
