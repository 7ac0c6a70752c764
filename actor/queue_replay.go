package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/queue"
)

// QueueReplay says which messages are delivered again.
type QueueReplay struct {
	// From and To are when they arrived: from From to before To. The zero times: as far
	// as their logs have them.
	From, To time.Time
	Filter   func(*QueueMessage) bool // nil: all
	Limit    int                      // how many at most; 0: no limit
}

// replayPause is how long a replay waits at most before it looks again whether its
// consumer has room.
const replayPause = 50 * time.Millisecond

// Replay delivers messages again that the queue does not have any more, acknowledged ones
// above all, to one consumer of it, in the order of their logs, and returns how many. They
// go there beside all else: to the queue they stay what they are, and other consumers do
// not notice. They are flagged, with queue.CauseReplay. How far back it goes is how long
// the logs keep messages: see ExchangeConfig.
func (q *Queue) Replay(ctx context.Context, to *QueueConsumer, o QueueReplay) (int, error) {
	r := queueReplaying{q: q, to: to, options: o, part: max(to.options.Prefetch/2, 1)}
	w := browsing{q: q, within: r.within, is: gone, f: func(m *QueueMessage) error { return r.add(ctx, m) }}
	err := w.run(ctx)
	if err == nil {
		err = r.flush(ctx)
	}
	if err != nil {
		return r.done, fmt.Errorf("replay messages of queue %s: %w", q.info.name, err)
	}
	return r.done, nil
}

type queueReplaying struct {
	q       *Queue
	to      *QueueConsumer
	options QueueReplay
	part    int // how many at once
	waiting []queue.Entry
	done    int
}

// within is what a log has of the time in question, of what the queue has read.
func (r *queueReplaying) within(ctx context.Context, log uint32) (o offsets, err error) {
	if o, err = r.q.here(ctx, log); err != nil {
		return o, err
	}
	t, partition, err := r.q.sys.queueLogs.topic(ctx, log, false)
	if err != nil {
		return o, err
	}
	b, err := t.Bounds(ctx, partition)
	o.first = b.First
	if err == nil && !r.options.From.IsZero() {
		o.first, err = t.OffsetAt(ctx, partition, r.options.From)
	}
	if err == nil && !r.options.To.IsZero() {
		var to uint64
		to, err = t.OffsetAt(ctx, partition, r.options.To)
		o.next = min(o.next, to)
	}
	return o, err
}

// gone says which messages the queue does not have any more.
func gone(core *queue.Queue, entries []queue.Entry) []queue.Outcome {
	all := make([]queue.Outcome, len(entries))
	for i, e := range entries {
		if !core.Holds(e.Ref) {
			all[i].Status = queue.StatusGone
		}
	}
	return all
}

func (r *queueReplaying) add(ctx context.Context, m *QueueMessage) error {
	o := &r.options
	outside := !o.From.IsZero() && m.Published.Before(o.From) || !o.To.IsZero() && !m.Published.Before(o.To)
	if outside || o.Filter != nil && !o.Filter(m) {
		return nil
	}
	if o.Limit > 0 && r.done+len(r.waiting) == o.Limit {
		return errEnough
	}
	r.waiting = append(r.waiting, m.entry)
	if len(r.waiting) < r.part {
		return nil
	}
	return r.flush(ctx)
}

// flush delivers what was gathered, once the consumer has room for it.
func (r *queueReplaying) flush(ctx context.Context) error {
	if len(r.waiting) == 0 {
		return nil
	}
	for try := 0; ; try++ {
		err := r.q.do(ctx, queue.Replay{Consumer: r.to.ID(), Entries: r.waiting})
		if err == nil {
			r.done += len(r.waiting)
			r.waiting = nil
			return nil
		}
		if !errors.Is(err, queue.ErrLimit) {
			return err
		}
		if err := sleep(ctx, min(time.Millisecond<<min(try, 16), replayPause)); err != nil {
			return err
		}
	}
}
