package actor

import (
	"context"
	"time"
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
	defer p.scheduleRetain()
	keep := p.config.settings.Load().Retention
	if p.draining || p.retaining || keep.Forever {
		return
	}
	if p.phase != phaseReady {
		p.open()
		return
	}
	k := keeper{searcher: p.searcher(), low: p.state.low, next: p.state.next, now: time.Now()}
	run, t := p.run, &trim{low: p.state.low, seq: p.first}
	p.retaining = true
	p.background(func(ctx context.Context) any {
		err := k.find(ctx, keep, t)
		return trimLocated{run, t, err}
	}, func(error) { p.retaining = false })
}

// keeper finds the oldest batch that is to be kept.
type keeper struct {
	*searcher
	low, next uint64
	now       time.Time
}

func (k *keeper) find(ctx context.Context, keep Retention, t *trim) error {
	if keep.Age > 0 {
		if err := k.byAge(ctx, keep.Age, t); err != nil {
			return err
		}
	}
	if n := uint64(keep.Records); n > 0 && k.next-k.low > n {
		at, found, err := k.searcher.find(ctx, byOffset(k.next-n))
		if err != nil {
			return err
		}
		if found {
			t.later(at.base, at.seq)
		}
	}
	if keep.Bytes > 0 {
		return k.byBytes(ctx, keep.Bytes, t)
	}
	return nil
}

// later moves the trim on, never back.
func (t *trim) later(low, seq uint64) {
	if low > t.low {
		t.low, t.seq = low, seq
	}
}

func (k *keeper) byAge(ctx context.Context, age time.Duration, t *trim) error {
	kept, err := k.since(ctx, k.now.Add(-age).UnixMilli(), k.low, k.next)
	if err == nil {
		t.later(kept.base, kept.seq)
	}
	return err
}

// byBytes reads what is to go: that is the only way to know how much it is. The
// newest batch stays in any case.
func (k *keeper) byBytes(ctx context.Context, most int64, t *trim) error {
	b, err := k.log.Bounds(ctx)
	if err != nil {
		return err
	}
	excess := int64(b.Bytes) - most
	for seq := k.first; excess > 0 && seq <= k.last; {
		entries, err := k.log.Read(ctx, seq, retainReadBytes)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if at, ok := pointOf(e); ok {
				t.later(at.base, at.seq)
				if excess <= 0 {
					return nil
				}
			}
			excess -= int64(len(e.Data)) + entryOverhead
			seq = e.Seq + 1
		}
	}
	return nil
}

// retainReadBytes is how much is read at once.
const retainReadBytes = 1 << 20
