package actor

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/troupestream/troupe/internal/queue"
)

// orphans has the logs of exchanges that are gone deleted, once no queue needs them.
type orphans struct {
	state atomic.Int32 // whether a look is under way, and whether to look once more
}

const (
	orphansIdle = iota
	orphansLooking
	orphansAgain
)

// released looks after logs that a queue has released something of.
func (d *queueDirectory) released(id uint32, releases []queue.Release) {
	if q, ok := d.queueByID(id); ok {
		d.forgetFeeds(q, releases)
	}
	for _, r := range releases {
		if l, ok := d.log(r.Log); ok && l.orphaned.Load() {
			d.lookAfterOrphans()
			return
		}
	}
}

// forgetFeeds forgets, in the background, where a queue was bound to topics, if it has
// released all that it had of them.
func (d *queueDirectory) forgetFeeds(q *queueInfo, releases []queue.Release) {
	var all []command
	d.mu.Lock()
	for _, r := range releases {
		f, ok := d.feeds[feedKey{r.Log, q.shard, q.id}]
		if ok && f.hasEnded() && r.Before >= f.spans[len(f.spans)-1].next {
			all = append(all, &forgetFeed{r.Log, q.shard, q.id})
		}
	}
	d.mu.Unlock()
	if len(all) > 0 {
		d.sys.Go(func(ctx context.Context) {
			if err := d.changeAll(ctx, all); err != nil && ctx.Err() == nil {
				d.sys.log.Warn("a topic that a queue was bound to is still read for it; that ends with the next snapshot", "queue", q.name, "error", err)
			}
		})
	}
}

// changed looks after orphans when there is one more, or a queue less.
func (d *queueDirectory) changed(c directoryChange) {
	switch c := c.(type) {
	case logOrphaned:
		d.lookAfterOrphans()
	case queueDeleted:
		d.sys.holds.forget(c.queue.id)
		d.lookAfterOrphans()
	}
}

// lookAfterOrphans deletes those that no queue needs, in the background. Who comes while
// that is under way has it done once more.
func (d *queueDirectory) lookAfterOrphans() {
	if d.orphans.state.Swap(orphansAgain) != orphansIdle {
		return
	}
	ok := d.sys.Go(func(ctx context.Context) {
		for {
			d.orphans.state.Store(orphansLooking)
			d.deleteOrphans(ctx)
			if ctx.Err() != nil || d.orphans.state.CompareAndSwap(orphansLooking, orphansIdle) {
				return
			}
		}
	})
	if !ok {
		d.orphans.state.Store(orphansIdle)
	}
}

func (d *queueDirectory) deleteOrphans(ctx context.Context) {
	for _, l := range d.logs.all() {
		if !l.orphaned.Load() {
			continue
		}
		needed, err := d.isNeeded(ctx, l)
		if err == nil && !needed {
			err = d.forgetLog(ctx, l.id)
			d.sys.queueLogs.forget(l.id)
		}
		if err != nil && ctx.Err() == nil {
			d.sys.log.Warn("the log of an exchange that is gone cannot be deleted; it is tried again later", "topic", l.topic, "error", err)
		}
	}
}

// isNeeded says whether a queue needs something of a log.
func (d *queueDirectory) isNeeded(ctx context.Context, l *logInfo) (bool, error) {
	from := d.heldFrom(l.id)
	if from == everything {
		return false, nil
	}
	t, err := d.sys.Topic(ctx, l.topic)
	switch {
	case errors.Is(err, ErrNoTopic):
		return false, nil
	case err != nil:
		return true, err
	case t.Incarnation() != l.incarnation:
		return false, nil
	}
	b, err := t.Bounds(ctx, l.partition)
	return err != nil || from < b.Next, err
}
