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

// released looks after logs that queues have released something of.
func (d *queueDirectory) released(releases []queue.Release) {
	for _, r := range releases {
		if l, ok := d.log(r.Log); ok && l.orphaned.Load() {
			d.lookAfterOrphans()
			return
		}
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
	t, partition, err := d.sys.queueLogs.topic(ctx, l.id, false)
	if errors.Is(err, ErrNoTopic) {
		return false, nil
	}
	var b Bounds
	if err == nil {
		b, err = t.Bounds(ctx, partition)
	}
	return from < b.Next, err
}
