package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// shards are the queue shards of a system that have started: those that have queues.
type shards struct {
	since      int64 // Unix ms: what arrived before was published in the time of another system
	roundBytes int   // see shardConfig.roundBytes; 0: shardRoundBytes
	dyingMost  int   // 0: dyingMost

	mu   sync.Mutex
	open map[int]*pactor.PID
}

// startShards starts the shards that there are queues for, and those that get their
// first later, before a message can reach it.
func (s *System) startShards(d *queueDirectory) {
	s.shards.since = time.Now().UnixMilli()
	s.queueLogs.place = d.place
	d.subscribe(func(c directoryChange) {
		if c, ok := c.(queueDeclared); ok {
			if _, err := s.startShard(d, c.queue.shard); err != nil {
				s.log.Warn("a queue shard cannot be started", "shard", c.queue.shard, "error", err)
			}
		}
	})
}

func (s *System) startShard(d *queueDirectory, number int) (*pactor.PID, error) {
	s.shards.mu.Lock()
	defer s.shards.mu.Unlock()
	if pid := s.shards.open[number]; pid != nil {
		return pid, nil
	}
	config := shardConfig{number: number, roundBytes: cmp.Or(s.shards.roundBytes, shardRoundBytes), watch: d.subscribe, intake: d.intakeOf, renew: d.renew}
	pid, err := s.Spawn("queue-shard/"+strconv.Itoa(number), func() pactor.Actor { return &shard{sys: s, config: config} },
		asService(rankQueues), WithChildSupervision(s.queueSupervision()))
	if err != nil {
		return nil, err
	}
	if s.shards.open == nil {
		s.shards.open = map[int]*pactor.PID{}
	}
	s.shards.open[number] = pid
	s.watches.then(pid, func() { s.shards.forget(number, pid) })
	return pid, nil
}

// of returns a shard that has started; nil: it has not.
func (d *shards) of(number int) *pactor.PID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[number]
}

func (d *shards) forget(number int, pid *pactor.PID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[number] == pid {
		delete(d.open, number)
	}
}

// queueSupervision stops a queue that fails again and again, and leaves the others be.
func (s *System) queueSupervision() *Supervision {
	v := s.Supervision()
	v.stops = true
	return v
}

// queueActor returns the actor of a queue, once its shard is open.
func (s *System) queueActor(ctx context.Context, info *queueInfo) (*pactor.PID, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	shard, err := s.startShard(d, info.shard)
	if err != nil {
		return nil, fmt.Errorf("queue %s: %w", info.name, err)
	}
	pid, err := Ask[*pactor.PID](ctx, s, shard, askQueuePID{info.id})
	if err != nil {
		return nil, fmt.Errorf("queue %s: %w", info.name, err)
	}
	return pid, nil
}

// askQueueActor asks the actor of a queue. While its shard reads the journal anew there is
// none, and the question waits for the next one, within ctx: it did not reach the one
// before. Where it may have, the error is an ErrUnknown, and that of the failure.
func askQueueActor[T any](ctx context.Context, s *System, info *queueInfo, message any) (T, error) {
	for try := 0; ; try++ {
		var answer T
		pid, err := s.queueActor(ctx, info)
		if err != nil {
			return answer, err
		}
		answer, err = Ask[T](ctx, s, pid, message)
		if !errors.Is(err, ErrStopped) || errors.Is(err, ErrUnknown) || pause(ctx, try) != nil {
			return answer, err
		}
	}
}

// isInterruption says whether a queue has ended that begins anew.
func isInterruption(err error) bool {
	return errors.Is(err, ErrStopped) || errors.Is(err, ErrQueueFailed)
}

// intakeOf says what a queue takes of a log, and from which offset on; false: nothing.
func (d *queueDirectory) intakeOf(log, id uint32) (in intake, from uint64, ok bool) {
	q, ok := d.queueByID(id)
	if !ok {
		return in, 0, false
	}
	c := q.config()
	in.queue = id
	in.indexing, _ = newIndexing(c.GroupBy, c.FairBy) // was checked when it was declared
	d.mu.Lock()
	defer d.mu.Unlock()
	named, isNamed := d.feeds[feedKey{log, q.shard, 0}]
	bound, isBound := d.feeds[feedKey{log, q.shard, id}]
	switch {
	case isBound && isNamed:
		from = min(named.from, bound.from)
	case isBound:
		from = bound.from
	default:
		from = named.from
	}
	in.all = bound.spans
	return in, from, isNamed || isBound
}

// place says which partition a log is.
func (d *queueDirectory) place(log uint32) (at logKey, ok bool) {
	l, ok := d.log(log)
	if !ok {
		return at, false
	}
	return l.logKey, true
}
