package actor

import (
	"context"
	"time"

	"github.com/troupestream/troupe/internal/storage"
)

// retain has a partition drop what its topic no longer keeps.
type retain struct{}

// IgnoreDeadLetterLogging: the timer outlives the partition.
func (retain) IgnoreDeadLetterLogging() {}

// entryOverhead is about what the store needs for an entry besides its data.
const entryOverhead = 64

func (p *partition) scheduleRetain() {
	sys, self := p.sys, p.self
	p.clock = time.AfterFunc(p.config.limits.RetentionEvery, func() { sys.Send(self, retain{}) })
}

// retain looks for what is to be dropped, in the background. A log that nobody
// has opened is opened now and looked at the next time.
func (p *partition) retain() {
	keep := p.config.settings.Load().Retention
	if p.draining || p.retaining || keep.Forever {
		return
	}
	if p.phase != phaseReady {
		p.open()
		return
	}
	held := p.heldFrom()
	run, t, now := p.run, &trim{place: place{low: p.state.low, seq: p.first}}, time.Now()
	p.retaining = true
	p.look(func(ctx context.Context, v *view) any {
		k := keeper{view: v, now: now, held: held}
		err := k.find(ctx, keep, t)
		if v.stale() { // the next look finds it
			t.place, err = place{}, nil
		}
		return trimLocated{run, t, err}
	}, func(error) { p.retaining = false })
}

// heldFrom is the first offset that a queue needs.
func (p *partition) heldFrom() uint64 {
	if c := p.config; c.held != nil && c.held.Load() {
		return p.sys.heldFrom(logKey{c.topic, c.incarnation, c.index})
	}
	return everything
}

// keeper finds the oldest batch that is to be kept.
type keeper struct {
	*view
	now  time.Time
	held uint64 // what a queue needs stays
}

func (k *keeper) find(ctx context.Context, keep Retention, t *trim) error {
	if err := k.findUnheld(ctx, keep, t); err != nil {
		return err
	}
	t.wanted = max(t.wanted, t.low)
	if t.low <= k.held {
		return nil
	}
	at, err := k.before(ctx, k.held)
	t.place = at
	return err
}

func (k *keeper) findUnheld(ctx context.Context, keep Retention, t *trim) error {
	if keep.Age > 0 {
		if err := k.byAge(ctx, keep.Age, t); err != nil {
			return err
		}
	}
	// What was compacted does not count: a topic is not compacted and told to keep so
	// many records, but it may have been compacted once.
	if n := uint64(keep.Records); n > 0 && k.next-k.begin() > n {
		at, err := k.before(ctx, k.next-n)
		if err != nil {
			return err
		}
		t.later(at)
	}
	if keep.Bytes > 0 {
		return k.byBytes(ctx, keep.Bytes, t)
	}
	return nil
}

// later moves the trim on, never back.
func (t *trim) later(to place) {
	if to.low > t.low {
		t.place = to
	}
}

func (k *keeper) byAge(ctx context.Context, age time.Duration, t *trim) error {
	kept, err := k.since(ctx, k.now.Add(-age).UnixMilli())
	if err == nil {
		t.later(kept)
	}
	return err
}

// byBytes reads what is to go: that is the only way to know how much it is. What is behind
// that which a queue needs is estimated. The newest batch stays in any case.
func (k *keeper) byBytes(ctx context.Context, most int64, t *trim) error {
	held, err := heldBytes(ctx, k.head)
	excess := held - most
	if c := k.clean; err == nil && c != nil {
		if held, err = heldBytes(ctx, c.searcher()); err == nil {
			excess, err = k.drop(ctx, c.searcher(), c.id, excess+held, t)
		}
	}
	if err == nil && excess > 0 {
		if excess, err = k.drop(ctx, k.head, 0, excess, t); excess > 0 && held > 0 {
			t.wanted = t.low + uint64(float64(k.next-t.low)*min(float64(excess)/float64(held), 1))
		}
	}
	return err
}

// heldBytes is what a log holds from the first entry on that counts: a compaction may have
// replaced those in front, and they are about to go.
func heldBytes(ctx context.Context, s *searcher) (int64, error) {
	b, err := s.log.Bounds(ctx)
	held := int64(b.Bytes)
	for seq := b.First; err == nil && seq < s.first; {
		var entries []storage.Entry
		if entries, err = s.log.Read(ctx, seq, retainReadBytes); err != nil || len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if e.Seq < s.first {
				held -= int64(len(e.Data)) + entryOverhead
			}
			seq = e.Seq + 1
		}
	}
	return max(held, 0), err
}

// drop has batches of one of the logs dropped, and returns what is still too much.
func (k *keeper) drop(ctx context.Context, s *searcher, log uint64, excess int64, t *trim) (int64, error) {
	for seq := s.first; excess > 0 && seq <= s.last; {
		entries, err := s.log.Read(ctx, seq, retainReadBytes)
		if err != nil || len(entries) == 0 {
			return excess, err
		}
		for _, e := range entries {
			if at, ok := pointOf(e); ok {
				t.later(place{at.base, log, at.seq})
				if excess <= 0 || at.base >= k.held {
					return excess, nil
				}
			}
			excess -= int64(len(e.Data)) + entryOverhead
			seq = e.Seq + 1
		}
	}
	return excess, nil
}

// retainReadBytes is how much is read at once.
const retainReadBytes = 1 << 20
