package actor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/troupestream/troupe/internal/queue"
)

// QueueReplay says which messages are delivered again.
type QueueReplay struct {
	// From and To are when they arrived: from From to before To. The zero times: as far
	// as their logs have them.
	From, To time.Time
	// All: also those that the queue remembers to have dead-lettered, expired, dropped or
	// moved, and not only those that were acknowledged, or that it does not remember
	// any more (QueueConfig.History), nor those that were purged: the status of these is
	// QueueStatusGone.
	All    bool
	Filter func(*QueueMessage) bool // nil: all; QueueMessage.QueueOutcome is what became of it
	Limit  int                      // how many at most; 0: no limit
}

// replayPause is how long a replay waits at most before it looks again whether its
// consumer has room.
const replayPause = 50 * time.Millisecond

// Replay delivers messages again that the queue does not have any more, to one consumer of
// it, in the order of their logs, and returns how many. They go there beside all else: to
// the queue they stay what they are, and other consumers do not notice. They are flagged,
// with QueueCauseReplay. How far back it goes is how long the logs keep messages: see
// ExchangeConfig. A message that was copied away because it kept its log from being trimmed
// is not replayed.
func (q *Queue) Replay(ctx context.Context, to *QueueConsumer, o QueueReplay) (int, error) {
	if to == nil {
		return 0, fmt.Errorf("replay messages of queue %s: %w: there is no consumer to replay to", q.info.name, ErrInvalid)
	}
	r := queueReplaying{q: q, to: to, part: max(to.options.Prefetch/2, 1)}
	err := q.past(ctx, o, func(m *QueueMessage) error { return r.add(ctx, m) })
	if err == nil {
		err = r.flush(ctx)
	}
	if err != nil {
		return r.done, fmt.Errorf("replay messages of queue %s: %w", q.info.name, err)
	}
	return r.done, nil
}

// Past looks at the messages that Replay would deliver, in that order, and delivers none.
// An error is the last there is.
func (q *Queue) Past(ctx context.Context, o QueueReplay) iter.Seq2[*QueueMessage, error] {
	return func(yield func(*QueueMessage, error) bool) {
		err := q.past(ctx, o, func(m *QueueMessage) error {
			if !yield(m, nil) {
				return errLeft
			}
			return nil
		})
		if err != nil && !errors.Is(err, errLeft) {
			yield(nil, fmt.Errorf("past messages of queue %s: %w", q.info.name, err))
		}
	}
}

// errLeft: whoever looked at messages wants no more.
var errLeft = errors.New("left")

// past calls f for the messages that are meant.
func (q *Queue) past(ctx context.Context, o QueueReplay, f func(*QueueMessage) error) error {
	n := 0
	within := func(ctx context.Context, log uint32) (offsets, error) { return q.arrived(ctx, log, o.From, o.To) }
	w := browsing{q: q, within: within, is: o.ended, f: func(m *QueueMessage) error {
		outside := !o.From.IsZero() && m.Published.Before(o.From) || !o.To.IsZero() && !m.Published.Before(o.To)
		if outside || o.Filter != nil && !o.Filter(m) {
			return nil
		}
		if o.Limit > 0 && n == o.Limit {
			return errEnough
		}
		n++
		return f(m)
	}}
	return w.run(ctx)
}

// ended says how those messages have ended that are meant.
func (o *QueueReplay) ended(core *queue.Queue, entries []queue.Entry) []queue.Outcome {
	all := core.Ended(entries)
	for i := range all {
		if s := all[i].Status; !o.All && s != queue.StatusAcked && s != queue.StatusGone {
			all[i] = queue.Outcome{}
		}
	}
	return all
}

// arrived is what a log has of a time, of what the queue has read.
func (q *Queue) arrived(ctx context.Context, log uint32, from, to time.Time) (o offsets, err error) {
	if o, err = q.here(ctx, log); err != nil {
		return o, err
	}
	t, partition, err := q.sys.queueLogs.topic(ctx, log, false)
	if err != nil {
		return o, err
	}
	b, err := t.Bounds(ctx, partition)
	o.first = b.First
	if err == nil && !from.IsZero() {
		o.first, err = t.OffsetAt(ctx, partition, from)
	}
	if err == nil && !to.IsZero() {
		var end uint64
		end, err = t.OffsetAt(ctx, partition, to)
		o.next = min(o.next, end)
	}
	return o, err
}

type queueReplaying struct {
	q       *Queue
	to      *QueueConsumer
	part    int // how many at once
	waiting []queue.Entry
	done    int
}

func (r *queueReplaying) add(ctx context.Context, m *QueueMessage) error {
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
