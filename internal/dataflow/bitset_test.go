package dataflow

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBitset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOf(rapid.Uint32Range(0, 1000))
		var set, other bitset
		model := map[uint32]bool{}
		for _, n := range numbers.Draw(t, "set") {
			set.set(n)
			model[n] = true
		}
		for _, n := range numbers.Draw(t, "other") {
			other.set(n)
			model[n] = true
		}
		set.add(other)
		var got []uint32
		for w := range set {
			for n, ok := set.take(w); ok; n, ok = set.take(w) {
				got = append(got, n)
			}
		}
		if want := slices.Sorted(maps.Keys(model)); !slices.Equal(got, want) {
			t.Fatalf("%v instead of %v", got, want)
		}
		again := other[:0] // a set grows by words that are 0
		again.set(1000)
		if n := slices.IndexFunc(again, func(w uint64) bool { return w != 0 }); n != 1000/64 {
			t.Fatalf("%v after it was cleared and 1000 was set", again)
		}
	})
}
