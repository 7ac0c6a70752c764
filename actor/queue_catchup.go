package actor

import (
	"context"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// catchUpPause is how long CatchUp waits before it looks again.
const catchUpPause = 2 * time.Millisecond

// askQueueLogs is answered with queueProgress.
type askQueueLogs struct{}

// queueProgress says how far a queue has read its logs, and who reads them for it.
type queueProgress struct {
	next  map[uint32]uint64
	feeds map[uint32]*pactor.PID
}

func (q *queueActor) progress() queueProgress {
	p := queueProgress{map[uint32]uint64{}, map[uint32]*pactor.PID{}}
	for log, pid := range q.feeds {
		p.next[log], p.feeds[log] = q.core.Next(log), pid
	}
	return p
}

// CatchUp waits until the queue knows all messages that were published to it before the
// call. As a rule it does at once; after a restart it reads its logs first.
func (q *Queue) CatchUp(ctx context.Context) error {
	ends, err := q.logEnds(ctx)
	for err == nil {
		var behind bool
		if behind, err = q.isBehind(ctx, ends); err == nil && !behind {
			return nil
		}
		if err == nil {
			err = sleep(ctx, catchUpPause)
		}
	}
	return fmt.Errorf("queue %s: wait until it has read its logs: %w", q.info.name, err)
}

// catchUpMost is how long those wait for a queue to catch up who go on all the same.
const catchUpMost = 5 * time.Second

// catchUp is CatchUp for them: a log that cannot be read, or takes long, keeps nobody from
// what the queue has.
func (q *Queue) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpMost)
	defer cancel()
	_ = q.CatchUp(ctx)
}

// logEnds is where the logs that messages of the queue can be in end now.
func (q *Queue) logEnds(ctx context.Context) (map[uint32]uint64, error) {
	d, err := q.sys.directory(ctx)
	if err != nil {
		return nil, err
	}
	ends := map[uint32]uint64{}
	for _, f := range d.feedsOf(q.info.shard) {
		if f.queue != 0 && f.queue != q.info.id {
			continue
		}
		t, partition, err := q.sys.queueLogs.topic(ctx, f.log, false)
		if err != nil {
			continue // the log is gone, and nothing comes from it any more
		}
		b, err := t.Bounds(ctx, partition)
		if err != nil {
			return nil, err
		}
		ends[f.log] = b.Next
	}
	return ends, nil
}

// isBehind says whether the queue has not read its logs so far. A log that has nothing for
// the queue is read without its being told; so the feeds are asked to tell.
func (q *Queue) isBehind(ctx context.Context, ends map[uint32]uint64) (bool, error) {
	p, err := askQueueActor[queueProgress](ctx, q.sys, q.info, askQueueLogs{})
	if err != nil {
		return false, err
	}
	behind := false
	for log, end := range ends {
		if p.next[log] >= end {
			continue
		}
		behind = true
		if feed := p.feeds[log]; feed != nil {
			q.sys.Send(feed, askProgress{})
		}
	}
	return behind, nil
}

// Unsettled returns those of some messages that are in the queue, or may come to be when
// it has read its logs. What it does not return never comes.
func (q *Queue) Unsettled(ctx context.Context, all []MessageRef) ([]MessageRef, error) {
	return look(ctx, q, func(core *queue.Queue) []queue.Ref {
		var still []queue.Ref
		for _, ref := range all {
			if core.Holds(ref) || ref.Offset >= core.Next(ref.Log) {
				still = append(still, ref)
			}
		}
		return still
	})
}
