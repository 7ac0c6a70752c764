package queue

import (
	"fmt"

	"github.com/troupestream/troupe/internal/wire"
)

// Restore returns the queue of a snapshot. Then comes Replay of what was journalled
// after it, then Recover, and the logs are to be taken from Next on. The error is
// an ErrCorrupt, an ErrVersion, or an ErrInvalid of the configuration.
func Restore(c Config, snapshot []byte) (*Queue, error) {
	body, err := openSnapshot(snapshot)
	if err != nil {
		return nil, err
	}
	q, err := New(c)
	if err != nil {
		return nil, err
	}
	q.restored = true
	r := reader{wire.NewReader(body, ErrCorrupt), q}
	r.restore()
	if r.End() == nil {
		if err := q.Check(); err != nil {
			r.Fail("%v", err)
		}
	}
	if r.Err() != nil {
		return nil, fmt.Errorf("snapshot of a queue: %w", r.Err())
	}
	return q, nil
}

func (r *reader) restore() {
	q, n := r.q, &r.q.count
	for _, v := range []*uint64{&n.Taken, &n.Acked, &n.Dead, &n.Expired, &n.Dropped, &n.Purged, &n.Moved, &n.Lost, &q.epoch} {
		*v = r.Num()
	}
	q.recovered, q.clean = r.time(), r.Flag()
	q.paused = Pause{r.Flag(), r.Flag()}
	for n := r.Count(6); n > 0 && r.Err() == nil; n-- {
		r.restoreFeed()
	}
	r.history()
}

func (r *reader) restoreFeed() {
	known := len(r.q.feeds)
	f := r.feed()
	if r.Err() == nil && len(r.q.feeds) == known {
		r.Fail("log %d is there twice", f.log)
		return
	}
	f.next = r.bound()
	for n := r.Count(3); n > 0 && r.Err() == nil; n-- {
		m := f.mark(r.priority())
		m.upTo, m.suspects = r.bound(), r.bound()
	}
	last := uint64(0)
	for n := r.Count(9); n > 0 && r.Err() == nil; n-- {
		r.restoreChunk(f, &last)
	}
	if last > f.next {
		r.Fail("a chunk ends at %d, after %d", last, f.next)
	}
	r.restoreAhead(f)
}

func (r *reader) restoreChunk(f *feed, last *uint64) {
	q := r.q
	c := &chunk{feed: f, first: *last + r.Below(maxOffset)}
	c.end = c.first + r.Below(maxChunkSpan+1)
	c.arrived, c.live, c.delayed, c.bytes = r.time(), int(r.Below(maxChunkMessages+1)), int(r.Below(maxChunkMessages+1)), r.time()
	levels, at := r.Below(1<<32), r.time()
	c.gone = r.bits(int(c.end - c.first))
	c.marks = r.marks(c.first, c.end)
	if *last = c.end; c.end > maxOffset || c.live == 0 || c.live > int(c.end-c.first)-c.gone.count() {
		r.Fail("a chunk from %d to %d has %d live messages", c.first, c.end, c.live)
	}
	if r.Err() != nil {
		return
	}
	f.chunks = append(f.chunks, c)
	q.count.Live += c.live
	for offset, m := range c.marks {
		r.restoreMark(c, offset, m)
	}
	q.estimate(c)
	for p := range uint8(MaxPriorities) {
		if levels&(1<<p) != 0 {
			q.raise(c, p)
		}
	}
	if at != 0 {
		q.schedule(c, at)
	}
}

func (r *reader) restoreMark(c *chunk, offset uint64, m mark) {
	if c.gone.has(int(offset - c.first)) {
		r.Fail("%d is gone and has a mark", offset)
	}
	if m.reason != ReasonNone {
		c.dying++
		r.q.remember(c, offset)
	}
	if c.dying > c.live {
		r.Fail("%d messages of %d are being dead-lettered", c.dying, c.live)
	}
}

// bits reads a set of numbers below a bound.
func (r *reader) bits(bound int) (b bitset) {
	for _, v := range r.ranges(uint64(bound)) {
		if v.first+v.n > uint64(bound) {
			r.Fail("%d is not below %d", v.first+v.n-1, bound)
			return nil
		}
		for i := range v.n {
			b.set(int(v.first + i))
		}
	}
	return b
}

// marks reads those of messages from first to end.
func (r *reader) marks(first, end uint64) map[uint64]mark {
	n := r.Count(10)
	if n == 0 {
		return nil
	}
	marks := make(map[uint64]mark, n)
	for ; n > 0 && r.Err() == nil; n-- {
		offset := r.offset()
		if offset < first || offset >= end {
			r.Fail("%d has a mark, and is not from %d to %d", offset, first, end)
		}
		m := mark{attempts: int(r.Below(1 << 31)), redelivered: r.Flag(), cause: r.cause(), reason: r.reason(), due: r.time(), group: r.Num(),
			first: r.time(), last: r.time(), epoch: r.Num()}
		r.markRest(&m)
		marks[offset] = m
	}
	return marks
}

func (r *reader) markRest(m *mark) {
	has := r.Below(markBits)
	if has&markHasBody != 0 {
		e := r.entry()
		m.body = &e
	}
	if has&markHasText != 0 {
		m.text = r.Text()
	}
}

func (r *reader) restoreAhead(f *feed) {
	for n := r.Count(3); n > 0 && r.Err() == nil; n-- {
		first := r.Below(maxOffset>>pageBits) << pageBits
		p := f.page(first)
		copy(p.gone[:], r.bits(1<<pageBits))
		p.marks = r.marks(first, first+1<<pageBits)
	}
	if r.Flag() {
		f.purge = &purge{r.bound(), r.ranges(maxOffset)}
	}
}
