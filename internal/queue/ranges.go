package queue

import "slices"

// run is a range of offsets.
type run struct{ first, n uint64 }

// ranges are runs that follow each other.
type ranges []run

// rangesOf returns those of ascending offsets.
func rangesOf(refs []Ref) (all ranges) {
	for _, ref := range refs {
		if n := len(all); n > 0 && all[n-1].first+all[n-1].n == ref.Offset {
			all[n-1].n++
			continue
		}
		all = append(all, run{ref.Offset, 1})
	}
	return all
}

func (v ranges) has(offset uint64) bool {
	i, found := slices.BinarySearchFunc(v, offset, func(r run, offset uint64) int {
		switch {
		case r.first > offset:
			return 1
		case r.first+r.n <= offset:
			return -1
		}
		return 0
	})
	return found && i < len(v)
}

// from returns what is not below an offset.
func (v ranges) from(offset uint64) (all ranges) {
	for _, r := range v {
		if end := r.first + r.n; end > offset {
			first := max(r.first, offset)
			all = append(all, run{first, end - first})
		}
	}
	return all
}
