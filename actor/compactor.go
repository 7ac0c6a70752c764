package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/compaction"
	"github.com/troupestream/troupe/internal/storage"
)

// Sizes of a compaction's steps.
const (
	compactReadBytes  = 1 << 20   // one read
	compactBatchBytes = 256 << 10 // from which on a batch takes no more records
)

// CompactionsAtOnce is how many partitions of a system are compacted at the same
// time; the others wait their turn.
const CompactionsAtOnce = 1

// compactor makes one compacted log: of the one in force and the part of the head
// that is closed. It reads that part twice: to learn the newest offset of each key,
// and to copy what survives. Kafka's log cleaner does it like this. It holds so many
// keys as fit into CompactKeyBytes, and does no more of the head than that at once.
type compactor struct {
	*view
	sys      *System
	config   *partitionConfig
	name     string // of the log to make
	epoch    uint64
	settings Compaction
	keep     Retention
	now      time.Time
	held     uint64 // the first offset that a queue needs: what it reads is not compacted
	forced   bool   // whether or not it is worth it

	keys  *compaction.Keys
	rules compaction.Rules
	out   storage.Log
	made  cleaned
	batch codec.Batch
	buf   codec.Sparse
	began time.Time // of the step at hand
}

// part is the closed part of the head: entries from to before to.
type part struct {
	from, to uint64
	end      uint64 // the offset behind it
	oldest   int64  // append time of its first batch; NoTime: it is empty
}

func (p part) empty() bool { return p.oldest == codec.NoTime }

// closed finds the part of the head that may be compacted: what is older than the
// lag, and never the newest batch.
func (c *compactor) closed(ctx context.Context) (part, error) {
	none := part{from: c.head.first, to: c.head.first, end: c.begin(), oldest: codec.NoTime}
	newest, found, err := c.head.find(ctx, byOffset(c.next))
	if err != nil || !found {
		return none, err
	}
	p := part{from: c.head.first, to: newest.seq, end: newest.base, oldest: codec.NoTime}
	if lag := c.settings.MinCompactionLag; lag > 0 {
		young, err := c.head.since(ctx, c.now.Add(-lag).UnixMilli(), c.begin(), c.next)
		if err != nil {
			return none, err
		}
		if young.seq < p.to {
			p.to, p.end = young.seq, young.base
		}
	}
	if c.held < p.end {
		at, _, err := c.head.find(ctx, byOffset(c.held))
		if err != nil {
			return none, err
		}
		p.to, p.end = max(at.seq, p.from), max(at.base, c.begin())
	}
	first, found, err := c.head.header(ctx, p.from, p.to)
	if err != nil || !found {
		return none, err
	}
	p.oldest = first.time
	return p, nil
}

// measured is how much there is to compact.
type measured struct {
	part
	clean, dirty uint64 // bytes
}

func (m *measured) ratio() float64 {
	if m.dirty == 0 {
		return 0
	}
	return float64(m.dirty) / float64(m.clean+m.dirty)
}

func (c *compactor) measure(ctx context.Context) (m measured, err error) {
	if m.part, err = c.closed(ctx); err != nil {
		return m, err
	}
	b, err := c.head.log.Bounds(ctx)
	if err != nil {
		return m, err
	}
	if entries := b.Last + 1 - min(b.First, b.Last); !m.empty() {
		// The store does not say what some entries take: entries of a log are
		// taken to be of a size.
		m.dirty = uint64(float64(b.Bytes) * float64(m.to-max(m.from, b.First)) / float64(entries))
	}
	if c.clean != nil {
		b, err := c.clean.log.Bounds(ctx)
		if err != nil {
			return m, err
		}
		m.clean = b.Bytes
	}
	return m, nil
}

// due says whether compaction is worth it.
func (c *compactor) due(m *measured) bool {
	s, now := &c.settings, c.now.UnixMilli()
	switch {
	case c.held < c.begin(): // in the part that is compacted already
		return false
	case c.clean != nil && c.clean.tombstones > 0 && c.clean.expires(s.DeleteRetention) <= now:
		return true
	case m.empty():
		return false
	case s.MaxCompactionLag > 0 && m.oldest < now-s.MaxCompactionLag.Milliseconds():
		return true
	}
	return c.forced || m.dirty >= uint64(c.config.limits.CompactBytes) && m.ratio() >= s.MinCleanableDirtyRatio
}

// run makes a compacted log, if that is worth it. more says that the keys did not
// fit: there is more to do at once.
func (c *compactor) run(ctx context.Context) (made *cleanLog, more bool, err error) {
	m, err := c.measure(ctx)
	if err != nil || !c.due(&m) {
		return nil, false, err
	}
	select {
	case c.sys.compactions <- struct{}{}:
		defer func() { <-c.sys.compactions }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	began := time.Now()
	if more, err = c.learn(ctx, &m.part); err != nil {
		return nil, false, err
	}
	if err := c.write(ctx, m.part); err != nil {
		return nil, false, errors.Join(err, c.discard(ctx))
	}
	c.made.report.tookMillis = uint64(time.Since(began).Milliseconds())
	made = newCleanLog(&c.made, c.out, c.config.limits.IndexPoints)
	made.low.Store(c.low)
	return made, more, nil
}

// learn notes the newest offset of each key, and cuts the part off where no more
// keys fit.
func (c *compactor) learn(ctx context.Context, p *part) (more bool, err error) {
	c.keys = compaction.NewKeys(c.config.limits.CompactKeyBytes)
	whole := p.to
	err = c.scan(ctx, c.head.log, p.from, p.to, func(e storage.Entry) (bool, error) {
		for r := (codec.Record{}); ; {
			offset := c.batch.Offset()
			if !c.batch.Next(&r) {
				break
			}
			c.keys.Note(r.Key, offset)
		}
		if c.keys.Full() {
			p.to, p.end = e.Seq+1, c.batch.Info.End()
		}
		return !c.keys.Full(), unreadable(c.head.log.Name(), e.Seq, c.batch.Err())
	})
	return p.to < whole, err
}

// scan opens the batches of a log, from an entry to before another, as long as f
// wants more. Between two reads it rests as long as the last step took, so that it
// takes half of the store's time at most.
func (c *compactor) scan(ctx context.Context, log storage.Log, from, to uint64, f func(storage.Entry) (bool, error)) error {
	for more := true; more; {
		c.began = time.Now()
		var err error
		if from, more, err = scanSome(ctx, log, from, to, &c.batch, f); err != nil || !more {
			return err
		}
		if err := c.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// scanSome reads a piece of a log, and calls f with each batch in it before the entry
// to. It returns the entry that the next piece begins with; more says whether there is
// one, and f wants it.
func scanSome(ctx context.Context, log storage.Log, from, to uint64, batch *codec.Batch, f func(storage.Entry) (more bool, err error)) (next uint64, more bool, err error) {
	if from >= to {
		return from, false, nil
	}
	entries, err := log.Read(ctx, from, compactReadBytes)
	if err != nil || len(entries) == 0 {
		return from, false, err
	}
	for _, e := range entries {
		if from = e.Seq + 1; e.Kind != storage.Data || e.Seq >= to {
			continue
		}
		if err := batch.Open(e.Data, codec.DefaultLimits()); err != nil {
			return from, false, unreadable(log.Name(), e.Seq, err)
		}
		if more, err := f(e); err != nil || !more {
			return from, false, err
		}
	}
	return from, from < to, nil
}

// unreadable says which entry cannot be read; nil when it could.
func unreadable(log string, seq uint64, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, codec.ErrCorrupt) {
		return fmt.Errorf("entry %d of log %s: %w: %w", seq, log, ErrCorrupt, err)
	}
	return fmt.Errorf("entry %d of log %s: %w", seq, log, err)
}

func (c *compactor) rest(ctx context.Context) error {
	if c.forced {
		return ctx.Err()
	}
	return sleep(ctx, time.Since(c.began))
}

// write copies what survives into the new log.
func (c *compactor) write(ctx context.Context, p part) (err error) {
	c.made = cleaned{log: c.name, end: p.end, head: p.to, oldest: codec.NoTime}
	c.rules = compaction.Rules{Keys: c.keys, Low: c.low, Oldest: codec.NoTime, Former: codec.NoTime,
		Expired: c.now.Add(-c.settings.DeleteRetention).UnixMilli()}
	if c.keep.Age > 0 {
		c.rules.Oldest = c.now.Add(-c.keep.Age).UnixMilli()
	}
	options := storage.LogOptions{Durability: cleanedDurability(c.config.durability)}
	if c.out, err = c.sys.store.OpenLog(ctx, c.name, options); err != nil {
		return err
	}
	if c.clean != nil {
		c.rules.Former = c.clean.since
		if err := c.copy(ctx, c.clean.log, c.clean.first.Load(), c.clean.last+1, c.rules.OfFormer); err != nil {
			return err
		}
	}
	err = c.copy(ctx, c.head.log, p.from, p.to, func(r *compaction.Record) (bool, int64) { return c.rules.OfHead(r), codec.NoTime })
	if err == nil {
		err = c.flush(ctx)
	}
	return err
}

// copy copies what the rules keep of some entries.
func (c *compactor) copy(ctx context.Context, log storage.Log, from, to uint64, keeps func(*compaction.Record) (bool, int64)) error {
	var r codec.Record
	var what compaction.Record
	return c.scan(ctx, log, from, to, func(e storage.Entry) (bool, error) {
		c.made.report.records += uint64(c.batch.Info.Count)
		c.made.report.bytesBefore += uint64(len(e.Data))
		for {
			what.Offset = c.batch.Offset()
			if !c.batch.Next(&r) {
				return true, unreadable(log.Name(), e.Seq, c.batch.Err())
			}
			what.Key, what.Tombstone, what.Appended, what.Compacted = r.Key, r.Value == nil, c.batch.Appended(), c.batch.Compacted()
			keep, stamp := keeps(&what)
			if !keep {
				continue
			}
			if err := c.add(ctx, &what, stamp, &r); err != nil {
				return false, err
			}
		}
	})
}

func (c *compactor) add(ctx context.Context, what *compaction.Record, stamp int64, r *codec.Record) error {
	c.buf.Add(what.Offset, what.Appended, stamp, r)
	c.made.records++
	if what.Tombstone && what.Key != nil {
		c.made.tombstones++
		if stamp != codec.NoTime && (c.made.oldest == codec.NoTime || stamp < c.made.oldest) {
			c.made.oldest = stamp
		}
	}
	if c.buf.Bytes() < compactBatchBytes {
		return nil
	}
	return c.flush(ctx)
}

// flush appends what was collected as one batch.
func (c *compactor) flush(ctx context.Context) error {
	if c.buf.Count() == 0 {
		return nil
	}
	info := codec.BatchInfo{Epoch: c.epoch, Compression: c.config.settings.Load().Compression}
	data, err := c.buf.AppendBatch(make([]byte, 0, batchHead), &info)
	if err == nil {
		c.made.last, err = c.out.Append(ctx, storage.Data, data, c.made.last)
	}
	c.made.report.bytesAfter += uint64(len(data))
	c.buf.Reset()
	return err
}

// discard deletes what was written in vain. A successor would do it, too.
func (c *compactor) discard(ctx context.Context) error {
	if c.out == nil {
		return nil
	}
	c.out.Close()
	return c.sys.store.DeleteLog(context.WithoutCancel(ctx), c.name)
}
