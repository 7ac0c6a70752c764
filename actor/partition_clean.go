package actor

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/wire"
)

// cleaned describes a compacted log. It stands in place of the beginning of the
// partition's own log, the head, and never changes but for being trimmed. Which one
// is in force is part of the partition's state, so it is saved and fenced as that.
type cleaned struct {
	log        string // its name
	last       uint64 // sequence of its last entry; 0: it has none
	end        uint64 // offset with which the head begins
	head       uint64 // the head's entry that it begins with
	since      int64  // when it came into force, Unix milliseconds
	records    uint64
	tombstones uint64
	oldest     int64 // the first of the times of its tombstones; NoTime: none has one
	report     runReport
}

// runReport says what the run that made a compacted log has read and written.
type runReport struct{ records, bytesBefore, bytesAfter, tookMillis uint64 }

// expires is when the first of its tombstones has stood for so long.
func (c *cleaned) expires(delay time.Duration) int64 {
	oldest := c.oldest
	if oldest == codec.NoTime {
		oldest = c.since
	}
	return oldest + delay.Milliseconds()
}

// Compacted logs are named after the epoch of the owner that makes them. So a name
// is never used twice, and a successor knows what its predecessors have left behind.
func cleanedName(log string, epoch, run uint64) string {
	return fmt.Sprintf("%s_c%d-%d", log, epoch, run)
}

func cleanedPrefix(log string) string { return log + "_c" }

// cleanedEpoch is the epoch of the owner that has made a compacted log.
func cleanedEpoch(log, name string) (epoch uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, cleanedPrefix(log))
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, "-")
	epoch, err := strconv.ParseUint(digits, 10, 64)
	return epoch, ok && err == nil
}

// cleanedDurability is that of compacted logs. They replace entries that are on
// disk for long, so a topic that is only synced at intervals must not lose these
// with the newest.
func cleanedDurability(d storage.Durability) storage.Durability {
	if d == storage.Interval {
		return storage.Fsync
	}
	return d
}

// describe is the description of a log; nil: there is none.
func describe(c *cleanLog) *cleaned {
	if c == nil {
		return nil
	}
	return c.cleaned
}

func (c *cleaned) append(b []byte) []byte {
	b = wire.AppendText(b, c.log)
	for _, v := range []uint64{c.last, c.end, c.head, uint64(c.since), c.records, c.tombstones, uint64(c.oldest),
		c.report.records, c.report.bytesBefore, c.report.bytesAfter, c.report.tookMillis} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func readCleaned(r *wire.Reader) *cleaned {
	c := &cleaned{log: r.Text()}
	c.last, c.end, c.head, c.since = r.Num(), r.Num(), r.Num(), int64(r.Num())
	c.records, c.tombstones, c.oldest = r.Num(), r.Num(), int64(r.Num())
	c.report = runReport{r.Num(), r.Num(), r.Num(), r.Num()}
	return c
}

// cleanLog is a compacted log that is open.
type cleanLog struct {
	*cleaned
	id    uint64 // of this handle: what readers remember of a place is good for one
	log   storage.Log
	index sparseIndex
	first atomic.Uint64 // the oldest entry
	low   atomic.Uint64 // the offset below which it is trimmed
	// use is read-locked by those who read it, and locked by the one who deletes it.
	use sync.RWMutex
}

var cleanLogs atomic.Uint64

func newCleanLog(d *cleaned, log storage.Log, indexPoints int) *cleanLog {
	c := &cleanLog{cleaned: d, id: cleanLogs.Add(1), log: log, index: sparseIndex{max: indexPoints}}
	c.first.Store(1)
	return c
}

// openCleanLog opens the compacted log that is in force.
func openCleanLog(ctx context.Context, store storage.Store, d *cleaned, c *partitionConfig) (*cleanLog, error) {
	log, err := store.OpenLog(ctx, d.log, storage.LogOptions{Durability: cleanedDurability(c.durability)})
	if err != nil {
		return nil, err
	}
	b, err := log.Bounds(ctx)
	if err == nil && b.Last != d.last {
		err = fmt.Errorf("%w: the compacted log %s ends with entry %d and should with %d: restore the data directory from a backup",
			ErrCorrupt, d.log, b.Last, d.last)
	}
	if err != nil {
		log.Close()
		return nil, err
	}
	clean := newCleanLog(d, log, c.limits.IndexPoints)
	clean.first.Store(b.First)
	return clean, nil
}

// remove deletes the log as soon as nobody reads it any more.
func (c *cleanLog) remove(ctx context.Context, store storage.Store) error {
	c.use.Lock()
	defer c.use.Unlock()
	c.log.Close()
	return store.DeleteLog(ctx, c.cleaned.log)
}

// trimmed notes that the entries before a sequence are gone.
func (c *cleanLog) trimmed(before uint64) {
	for first := c.first.Load(); first < before && !c.first.CompareAndSwap(first, before); first = c.first.Load() {
	}
	c.index.trim(before)
}

func (c *cleanLog) searcher() *searcher {
	return &searcher{c.log, &c.index, c.first.Load(), c.last}
}

// blocks reads batches with records from the offset on; none when it has none.
func (c *cleanLog) blocks(ctx context.Context, r read) ([]block, error) {
	s, seq := c.searcher(), r.seq
	if seq == 0 || r.log != c.id {
		found, _, err := s.find(ctx, byOffset(r.offset))
		if err != nil {
			return nil, err
		}
		seq = max(found.seq, s.first)
	}
	for seq <= s.last {
		entries, err := s.log.Read(ctx, seq, r.bytesMax)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return nil, s.endsBefore(seq)
		}
		if blocks := c.behind(entries, r.offset); len(blocks) > 0 {
			return blocks, nil
		}
		seq = entries[len(entries)-1].Seq + 1
	}
	return nil, nil
}

// behind leaves out the batches that end at or before an offset. One that cannot be
// read stays: its reader has to know.
func (c *cleanLog) behind(entries []storage.Entry, offset uint64) []block {
	var blocks []block
	for _, e := range entries {
		if len(blocks) == 0 {
			if at, ok := pointOf(e); ok && at.end <= offset {
				continue
			}
		}
		blocks = append(blocks, block{seq: e.Seq, log: c.id, data: e.Data})
	}
	return blocks
}
