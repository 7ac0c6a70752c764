package snapshots

import (
	"cmp"
	"context"
	"slices"

	"github.com/troupestream/troupe/internal/checkpoint"
)

// copyState copies the segments that m refers to from one log to another, in the
// order in which they lie there, and returns m with where they are now.
func copyState(ctx context.Context, m *checkpoint.Manifest, from, to *chunkLog) (*checkpoint.Manifest, error) {
	copied := *m
	copied.Segments = map[string][][]checkpoint.Ref{}
	var all []*checkpoint.Ref
	for node, groups := range m.Segments {
		groups = slices.Clone(groups)
		for g := range groups {
			groups[g] = slices.Clone(groups[g])
			for i := range groups[g] {
				all = append(all, &groups[g][i])
			}
		}
		copied.Segments[node] = groups
	}
	slices.SortFunc(all, func(a, b *checkpoint.Ref) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Offset, b.Offset))
	})
	p := packer{to: to}
	for _, r := range all {
		segment, err := from.segment(ctx, *r)
		if err != nil {
			return nil, err
		}
		more := r.More
		err = p.add(ctx, segment, func(now checkpoint.Ref) { *r = now; r.More = more })
		if err != nil {
			return nil, err
		}
	}
	return &copied, p.flush(ctx)
}
