package snapshots

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
)

// Limits of the chunk log.
const (
	// SegmentsMax is how many segments a key group may consist of before they
	// are merged into one.
	SegmentsMax = 24
	// garbageFree is how much the chunk log may hold besides what the newest
	// checkpoint needs before anything is moved: 16 MiB.
	garbageFree = 16 << 20
	// tidyBytes is how much state is rewritten after one checkpoint at most,
	// so that tidying keeps pace and never gets in the way: 64 MiB.
	tidyBytes = 64 << 20
)

// Tidy drops what is older than oldest, and moves state that stands in the way:
// a key group with many segments has them merged; when less than half of the
// log is still needed, the groups with the oldest segments are rewritten at its
// end, so that a later Tidy can drop what they leave behind. It returns what to
// replace in the next manifest; until that is written nothing old is dropped,
// because m still counts as retained.
func (s *Store) Tidy(ctx context.Context, m *checkpoint.Manifest, oldest checkpoint.Retained) ([]checkpoint.Replacement, error) {
	bytes, err := s.ChunkBytesKept(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Trim(ctx, oldest.Chunk, oldest.Seq); err != nil {
		return nil, fmt.Errorf("remove old checkpoints of job %q: %w", s.job, err)
	}
	crowded := int64(bytes) > 2*m.Stats.StateBytes+garbageFree
	return s.rewrite(ctx, m, candidates(m, crowded))
}

// group is a key group of an operator, as a candidate for being rewritten.
type group struct {
	node  string
	index int
	refs  []checkpoint.Ref
	bytes int
	old   uint64
}

// candidates are the groups to rewrite, most urgent first.
func candidates(m *checkpoint.Manifest, crowded bool) []group {
	var all []group
	for node, groups := range m.Segments {
		for i, refs := range groups {
			if len(refs) == 0 || (!crowded && len(refs) <= SegmentsMax) {
				continue
			}
			g := group{node: node, index: i, refs: refs, old: refs[0].Seq}
			for _, r := range refs {
				g.bytes += r.Length
				g.old = min(g.old, r.Seq)
			}
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.old, b.old), cmp.Compare(a.node, b.node), cmp.Compare(a.index, b.index))
	})
	budget := tidyBytes
	for i, g := range all {
		if budget -= g.bytes; budget < 0 && i > 0 {
			return all[:i]
		}
	}
	return all
}

// rewrite merges each group's segments and writes them anew, many to a chunk.
func (s *Store) rewrite(ctx context.Context, m *checkpoint.Manifest, groups []group) ([]checkpoint.Replacement, error) {
	var done, batch []checkpoint.Replacement
	var data []byte
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		seq, err := s.WriteChunk(ctx, data)
		if err != nil {
			return err
		}
		for i := range batch {
			batch[i].Ref.Seq = seq
		}
		done, batch, data = append(done, batch...), nil, data[:0]
		return nil
	}
	for _, g := range groups {
		merged, err := s.merge(ctx, m, g)
		if err != nil {
			return done, err
		}
		batch = append(batch, checkpoint.Replacement{Node: g.node, Group: g.index, Old: g.refs,
			Ref: checkpoint.Ref{Offset: len(data), Length: len(merged)}})
		if data = append(data, merged...); len(data) >= ChunkBytes {
			if err := flush(); err != nil {
				return done, err
			}
		}
	}
	return done, flush()
}

func (s *Store) merge(ctx context.Context, m *checkpoint.Manifest, g group) ([]byte, error) {
	var segments [][]byte
	err := s.Segments(ctx, m, g.node, g.index, func(b []byte) error {
		segments = append(segments, b)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("merge the state of operator %q, key group %d: %w", g.node, g.index, err)
	}
	var merged []byte
	err = dataflow.MergeSegments(true, max(1, g.bytes), segments, func(b []byte) error {
		merged = append(merged, b...)
		return nil
	})
	return merged, err
}
