package actor

import (
	"context"
	"sort"
	"sync"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
)

// point says what a batch of the log begins with.
type point struct {
	seq  uint64
	base uint64
	end  uint64 // offset behind its last record
	time int64  // append time
}

// sparseIndex remembers some batches of a log, to narrow the search for others.
// It is a cache: points come in any order, and when there are too many every
// second one is dropped. It is safe for concurrent use.
type sparseIndex struct {
	max int

	mu     sync.Mutex
	points []point // ascending
}

func (x *sparseIndex) add(p point) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := sort.Search(len(x.points), func(i int) bool { return x.points[i].seq >= p.seq })
	if i < len(x.points) && x.points[i].seq == p.seq {
		return
	}
	x.points = append(x.points, point{})
	copy(x.points[i+1:], x.points[i:])
	x.points[i] = p
	if len(x.points) > x.max {
		x.thin()
	}
}

func (x *sparseIndex) thin() {
	kept := x.points[:0]
	for i := 0; i < len(x.points); i += 2 {
		kept = append(kept, x.points[i])
	}
	x.points = kept
}

// trim forgets what lies below a sequence.
func (x *sparseIndex) trim(before uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := sort.Search(len(x.points), func(i int) bool { return x.points[i].seq >= before })
	x.points = append(x.points[:0], x.points[i:]...)
}

// around returns the last known point that is not beyond what is sought, and
// the sequence of the first that is.
func (x *sparseIndex) around(beyond func(point) bool) (last *point, end uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := sort.Search(len(x.points), func(i int) bool { return beyond(x.points[i]) })
	if i < len(x.points) {
		end = x.points[i].seq
	}
	if i > 0 {
		p := x.points[i-1]
		last = &p
	}
	return last, end
}

// searcher finds batches in a log by what their headers say.
type searcher struct {
	log   storage.Log
	index *sparseIndex
	first uint64 // sequences to search
	last  uint64
}

// find returns the last batch that is not beyond, by binary search over the
// sequences; false when there is none. beyond must be false for a run of batches
// and true for all that follow.
func (s *searcher) find(ctx context.Context, beyond func(point) bool) (point, bool, error) {
	best, end := s.index.around(beyond)
	lo, hi := s.first, s.last+1
	if best != nil {
		lo = best.seq + 1
	}
	if end != 0 {
		hi = end
	}
	for lo < hi {
		mid := lo + (hi-lo)/2
		p, found, err := s.header(ctx, mid, hi)
		if err != nil {
			return point{}, false, err
		}
		if !found || beyond(p) {
			hi = mid
			continue
		}
		best, lo = &p, p.seq+1
	}
	if best == nil {
		return point{}, false, nil
	}
	return *best, true, nil
}

// since returns the first batch that was appended at a time or later. Where all
// were, it is the beginning, at offset low; where none was, the end, at next.
func (s *searcher) since(ctx context.Context, millis int64, low, next uint64) (point, error) {
	older, found, err := s.find(ctx, byTime(millis))
	if err != nil || !found {
		return point{seq: s.first, base: low}, err
	}
	first, found, err := s.header(ctx, older.seq+1, s.last+1)
	if err != nil || !found {
		return point{seq: s.last + 1, base: next}, err
	}
	return first, nil
}

// header returns the first batch at or after a sequence, and before hi. A batch
// whose header cannot be read is passed over: whoever wants its records will
// hear of it, others must not.
func (s *searcher) header(ctx context.Context, seq, hi uint64) (point, bool, error) {
	for seq < hi {
		entries, err := s.log.Read(ctx, seq, 1)
		if err != nil || len(entries) == 0 {
			return point{}, false, err
		}
		for _, e := range entries {
			if e.Seq >= hi {
				return point{}, false, nil
			}
			if p, ok := pointOf(e); ok {
				s.index.add(p)
				return p, true, nil
			}
			seq = e.Seq + 1
		}
	}
	return point{}, false, nil
}

func pointOf(e storage.Entry) (point, bool) {
	if e.Kind != storage.Data {
		return point{}, false
	}
	return pointOfBlock(block{seq: e.Seq, data: e.Data})
}

func pointOfBlock(b block) (point, bool) {
	info, err := codec.ReadInfo(b.data, codec.DefaultLimits())
	return point{seq: b.seq, base: info.BaseOffset, end: info.End(), time: info.AppendTime}, err == nil
}

// byOffset seeks the batch that holds an offset.
func byOffset(offset uint64) func(point) bool {
	return func(p point) bool { return p.base > offset }
}

// byTime seeks the last batch that was appended before a time.
func byTime(millis int64) func(point) bool {
	return func(p point) bool { return p.time >= millis }
}
