package actor

import (
	"context"
	"sync/atomic"
)

// view is what a partition holds at a moment: the compacted log in force, if there
// is one, and behind it the head. It is for I/O in the background, and keeps the
// compacted log from being deleted until it is released.
type view struct {
	clean     *cleanLog // nil: there is none
	head      *searcher
	low, next uint64

	moves *atomic.Uint64 // of the partition
	then  uint64         // what it was
}

func (p *partition) view() *view {
	v := &view{clean: p.clean, head: p.searcher(), low: p.state.low, next: p.state.next, moves: &p.moves, then: p.moves.Load()}
	if v.clean != nil {
		// It never waits: only this actor has a log deleted, and only after it has
		// put another in its place.
		v.clean.use.RLock()
	}
	return v
}

func (v *view) release() {
	if v.clean != nil {
		v.clean.use.RUnlock()
	}
}

// stale says whether entries may have been dropped since the view was made. Whoever
// did not find what it looked for must look again then: it may just have moved to a
// compacted log.
func (v *view) stale() bool { return v.moves.Load() != v.then }

// look runs I/O on what the partition holds now, and sends what it returns to this
// actor. When nothing can be run, refused is called.
func (p *partition) look(io func(context.Context, *view) any, refused func(error)) {
	v := p.view()
	p.background(func(ctx context.Context) any {
		defer v.release()
		return io(ctx, v)
	}, func(err error) {
		v.release()
		refused(err)
	})
}

// begin is the offset that the head begins with, or later.
func (v *view) begin() uint64 {
	if v.clean != nil {
		return max(v.low, v.clean.end)
	}
	return v.low
}

// blocks reads batches with records from the offset on. moved says that what it was
// to read has gone meanwhile: into a compacted log, or for good.
func (v *view) blocks(ctx context.Context, r read) (blocks []block, moved bool, err error) {
	defer func() { moved = moved || err != nil && v.stale() }()
	gap := false
	if c := v.clean; c != nil && r.offset < c.end {
		blocks, err = c.blocks(ctx, r)
		if err != nil || len(blocks) > 0 {
			return blocks, r.offset < c.low.Load(), err
		}
		r.offset, r.seq, gap = c.end, c.head, true
	} else if r.log != 0 {
		r.seq = 0
	}
	if blocks, err = v.head.blocks(ctx, r); err != nil {
		return nil, false, err
	}
	at, ok := pointOfBlock(blocks[0])
	blocks[0].gap = gap
	return blocks, ok && at.base > r.offset, nil
}

// place is where a batch begins.
type place struct {
	low uint64 // offset
	log uint64 // id of the compacted log; 0: the head
	seq uint64 // entry
}

// since returns the first batch that was appended at a time or later.
func (v *view) since(ctx context.Context, millis int64) (place, error) {
	if c := v.clean; c != nil {
		at, err := c.searcher().since(ctx, millis, v.low, c.end)
		if err != nil || at.seq <= c.last {
			return place{at.base, c.id, at.seq}, err
		}
	}
	at, err := v.head.since(ctx, millis, v.begin(), v.next)
	return place{at.base, 0, at.seq}, err
}

// trimClean drops the batches of the compacted log that lie below an offset.
func (v *view) trimClean(ctx context.Context, low uint64) error {
	c := v.clean
	if c == nil {
		return nil
	}
	seq := c.last + 1
	if low < c.end {
		at, err := v.before(ctx, low)
		if err != nil {
			return err
		}
		seq = at.seq
	}
	if seq <= c.first.Load() {
		return nil
	}
	err := c.log.Trim(ctx, seq)
	if err == nil {
		c.trimmed(seq)
	}
	return err
}

// before returns how far everything in front of an offset can be dropped in whole
// batches.
func (v *view) before(ctx context.Context, offset uint64) (place, error) {
	if c := v.clean; c != nil && offset < c.end {
		at, found, err := c.searcher().find(ctx, byOffset(offset))
		switch {
		case err != nil || !found:
			return place{}, err
		case at.end <= offset:
			return place{offset, c.id, at.seq + 1}, nil
		}
		return place{at.base, c.id, at.seq}, nil
	}
	at, found, err := v.head.find(ctx, byOffset(offset))
	if err != nil || !found {
		return place{}, err
	}
	return place{at.base, 0, at.seq}, nil
}
