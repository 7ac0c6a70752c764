package actor

import (
	"context"
	"strconv"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// shardFeed is a log that the shard follows.
type shardFeed struct {
	whose   map[uint32]bool // the queues that have all of it; 0: those that records name
	pid     *pactor.PID     // nil: not started
	started bool            // the log is open
}

// addFeed: the directory has a log for queues of the shard.
func (s *shard) addFeed(info feedInfo) {
	if info.shard != s.config.number {
		return
	}
	f := s.feeds[info.log]
	if f == nil {
		f = &shardFeed{whose: map[uint32]bool{}}
		s.feeds[info.log] = f
	}
	f.whose[info.queue] = true
	if f.pid != nil {
		s.tell(f.pid, feedAltered{})
		if f.started {
			s.offerFeed(info.log, f)
		}
		return
	}
	s.startFeeds()
}

// alterFeeds has feeds look up what queues take.
func (s *shard) alterFeeds() {
	for _, f := range s.feeds {
		s.tell(f.pid, feedAltered{})
	}
}

// endFeed: it has it no more.
func (s *shard) endFeed(info feedInfo) {
	f := s.feeds[info.log]
	if info.shard != s.config.number || f == nil {
		return
	}
	if delete(f.whose, info.queue); len(f.whose) > 0 {
		s.tell(f.pid, feedAltered{})
		return
	}
	delete(s.feeds, info.log)
	if f.pid != nil {
		s.ctx.Stop(f.pid)
	}
}

// startFeeds starts those that are not there yet, once the queues are.
func (s *shard) startFeeds() {
	if s.journal == nil || s.draining {
		return
	}
	for log, f := range s.feeds {
		if f.pid == nil {
			s.startFeed(log, f)
		}
	}
}

func (s *shard) startFeed(log uint32, f *shardFeed) {
	sys, c := s.sys, s.config
	config := feedConfig{log: log, shard: s.self,
		intake:  func(queue uint32) (intake, uint64, bool) { return c.intake(log, queue) },
		shorter: func() { c.renew(log) }}
	s.fed++ // a feed of the same log may not have ended yet
	name := "feed-" + strconv.FormatUint(uint64(log), 10) + "-" + strconv.Itoa(s.fed)
	pid, err := s.ctx.SpawnNamed(sys.Props(func() pactor.Actor { return newFeed(sys, config) }), name)
	if err != nil {
		sys.log.Error("a log cannot be followed", "log", log, "error", err)
		return
	}
	f.pid = pid
}

// feedStarted: a feed is ready, or ready again.
func (s *shard) feedStarted(m feedStarted) {
	if f := s.feeds[m.log]; f != nil && f.pid != nil && f.pid.Equal(m.feed) {
		f.started = true
		s.offerFeed(m.log, f)
	}
}

// offerFeed tells the queues that a log is for.
func (s *shard) offerFeed(log uint32, f *shardFeed) {
	for id, q := range s.queues {
		if f.isFor(id) {
			s.tell(q.pid, feedStarted{log, f.pid})
		}
	}
}

func (f *shardFeed) isFor(queue uint32) bool { return f.whose[0] || f.whose[queue] }

// tellFeeds tells a queue that has its state which logs there are for it.
func (s *shard) tellFeeds(q *shardQueue) {
	for log, f := range s.feeds {
		if f.started && f.isFor(q.info.id) {
			s.tell(q.pid, feedStarted{log, f.pid})
		}
	}
}

func (s *shard) stopFeeds() {
	for _, f := range s.feeds {
		if f.pid != nil {
			s.ctx.Stop(f.pid)
		}
		f.pid, f.started = nil, false
	}
}

// renew gives a log another number: it ends in front of where a queue has read it.
func (d *queueDirectory) renew(log uint32) {
	d.sys.Go(func(ctx context.Context) {
		if _, err := d.renewLog(ctx, log); err != nil {
			d.sys.log.Error("a log that has lost its end cannot be renewed", "log", log, "error", err)
		}
	})
}
