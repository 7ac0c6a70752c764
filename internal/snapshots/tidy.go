package snapshots

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
)

// Limits of the chunk log.
const (
	// SegmentsMax is how many segments a key group may consist of before they
	// are merged. Those that were written together count as one.
	SegmentsMax = 24
	// mergeFree is by how much more than its oldest segment the newer ones of a
	// group may take before they are merged: 64 KiB. Where keys change again and
	// again, what is stored of a group is so about twice its state at most.
	mergeFree = 64 << 10
	// wholeBytes is up to which size a group is merged as a whole: 8 MiB.
	wholeBytes = 8 << 20
	// mergeBytes is how much of a group is held in memory to merge it: 32 MiB.
	mergeBytes = 32 << 20
	// mergedBytes is how long the segments become that a merger makes: 512 KiB.
	mergedBytes = 512 << 10
	// garbageFree is how much the chunk log may hold besides what the newest
	// checkpoint needs before anything is moved: 16 MiB.
	garbageFree = 16 << 20
	// tidyBytes is how much state is rewritten after one checkpoint at most,
	// so that tidying keeps pace and never gets in the way: 64 MiB, or a group.
	tidyBytes = 64 << 20
)

// Tidy drops what is older than oldest, and moves state that stands in the way:
// a key group with many segments has them merged; when less than half of what
// lies behind the oldest segment is still needed, the groups with the oldest
// segments are rewritten at the log's end, so that a later Tidy can drop what they
// leave behind. It returns what to replace in the next manifest; until that is
// written nothing old is dropped, because m still counts as retained. Call it for
// one checkpoint at a time.
func (s *Store) Tidy(ctx context.Context, m *checkpoint.Manifest, oldest checkpoint.Retained) ([]checkpoint.Replacement, error) {
	bytes, err := s.weigh(ctx, m, oldest.Chunk)
	if err != nil {
		return nil, err
	}
	if err := s.Trim(ctx, oldest.Chunk, oldest.Seq-oldest.Parts); err != nil {
		return nil, fmt.Errorf("remove old checkpoints of job %q: %w", s.job, err)
	}
	groups := candidates(m, int64(bytes) > 2*m.Stats.StateBytes+garbageFree)
	if len(groups) == 0 {
		return nil, nil
	}
	defer s.ReleaseCache()
	return s.rewrite(ctx, groups)
}

// weight says how much had been appended to the chunk log when an entry was its last.
type weight struct{ last, appended uint64 }

// weigh is about how much the chunk log holds from the oldest segment of m on. What
// older checkpoints hold in front of that does not become less by moving what m needs.
func (s *Store) weigh(ctx context.Context, m *checkpoint.Manifest, oldest uint64) (uint64, error) {
	all, err := s.ChunkBytesKept(ctx)
	s.chunks.mu.Lock()
	now := weight{s.chunks.last, s.chunks.bytes}
	s.chunks.mu.Unlock()
	if n := len(s.weights); n == 0 || s.weights[n-1].last < now.last {
		s.weights = append(s.weights, now)
	}
	for len(s.weights) > 1 && s.weights[1].last < oldest {
		s.weights = s.weights[1:]
	}
	own, _ := m.OldestChunk()
	for _, w := range slices.Backward(s.weights) {
		if w.last < own {
			return min(all, now.appended-w.appended), err
		}
	}
	return all, err
}

// part is a run of segments of a key group, as a candidate for being rewritten.
type part struct {
	node  string
	group int
	refs  []checkpoint.Ref
	start bool // nothing of the group is older
	bytes int
	old   uint64
}

// candidates are the parts to rewrite, most urgent first.
func candidates(m *checkpoint.Manifest, crowded bool) []part {
	var all []part
	for node, groups := range m.Segments {
		for g, refs := range groups {
			from := 0
			if !crowded {
				from = mergeFrom(refs)
			}
			if from == len(refs) {
				continue
			}
			p := part{node: node, group: g, refs: refs[from:], start: from == 0, old: refs[from].Seq}
			for _, r := range p.refs {
				p.bytes += r.Length
				p.old = min(p.old, r.Seq)
			}
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.old, b.old), cmp.Compare(a.node, b.node), cmp.Compare(a.group, b.group))
	})
	budget := tidyBytes
	for i, p := range all {
		if budget -= p.bytes; budget < 0 && i > 0 {
			return all[:i]
		}
	}
	return all
}

// run are segments that were written together.
type run struct{ from, bytes int }

func runsOf(refs []checkpoint.Ref) (runs []run) {
	for i, r := range refs {
		if i == 0 || !refs[i-1].More {
			runs = append(runs, run{from: i})
		}
		runs[len(runs)-1].bytes += r.Length
	}
	return runs
}

// mergeFrom returns from which of its segments on a group is to be merged;
// len(refs): not yet. A large group is not rewritten for the sake of what little is
// new in it: a run is merged only with as much that is newer, so that what is
// written once is rewritten a logarithmic number of times (as in a log-structured
// merge tree: O'Neil et al., 1996).
func mergeFrom(refs []checkpoint.Ref) int {
	if len(refs) <= 1 {
		return len(refs)
	}
	runs, all := runsOf(refs), 0
	for _, r := range runs {
		all += r.bytes
	}
	if len(runs) <= SegmentsMax && all-runs[0].bytes <= runs[0].bytes+mergeFree {
		return len(refs)
	}
	if all <= wholeBytes {
		return 0
	}
	from, newer := runs[max(0, len(runs)-2)].from, 0
	for i, r := range slices.Backward(runs) {
		if r.bytes <= newer && i < len(runs)-1 {
			from = r.from
		}
		newer += r.bytes
	}
	return from
}

// rewrite merges each part's segments and writes them anew, many to a chunk.
func (s *Store) rewrite(ctx context.Context, parts []part) ([]checkpoint.Replacement, error) {
	done := make([]checkpoint.Replacement, len(parts))
	p, m := packer{to: &s.chunks}, merging{}
	for i, g := range parts {
		r := &done[i]
		*r = checkpoint.Replacement{Node: g.node, Group: g.group, Old: g.refs}
		err := m.merge(ctx, s, g, func(segment []byte) error {
			return p.add(ctx, segment, func(at checkpoint.Ref) {
				at.More = true
				r.New = append(r.New, at)
			})
		})
		if err != nil {
			return nil, fmt.Errorf("merge the state of operator %q, key group %d: %w", g.node, g.group, err)
		}
	}
	if err := p.flush(ctx); err != nil {
		return nil, fmt.Errorf("rewrite state of job %q: %w", s.job, err)
	}
	for _, r := range done {
		if n := len(r.New); n > 0 {
			r.New[n-1].More = false
		}
	}
	return done, nil
}

// merging is what merging one part after the other needs room for.
type merging struct {
	merger   dataflow.Merger
	bytes    []byte // a copy of the segments, so that nothing keeps whole chunks
	segments [][]byte
}

// merge merges the segments of a part. One that is too large for memory is read
// several times, for a share of the keys each.
func (m *merging) merge(ctx context.Context, s *Store, p part, emit func([]byte) error) error {
	seed, shares := maphash.MakeSeed(), 1+p.bytes/mergeBytes
	for share := range shares {
		m.bytes, m.segments = slices.Grow(m.bytes[:0], min(p.bytes, mergeBytes)), m.segments[:0]
		for _, r := range p.refs {
			segment, err := s.chunks.segment(ctx, r)
			if err == nil {
				begin := len(m.bytes)
				m.bytes, err = dataflow.Share(m.bytes, segment, seed, share, shares)
				m.segments = append(m.segments, m.bytes[begin:len(m.bytes):len(m.bytes)])
			}
			if err != nil {
				return err
			}
		}
		if err := m.merger.Merge(p.start, mergedBytes, m.segments, emit); err != nil {
			return err
		}
	}
	return nil
}
