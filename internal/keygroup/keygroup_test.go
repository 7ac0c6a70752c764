package keygroup

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRangesPartitionTheGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.IntRange(1, Max).Draw(t, "groups")
		tasks := rapid.IntRange(1, 200).Draw(t, "tasks")
		next := 0
		for task := range tasks {
			r := RangeOf(task, groups, tasks)
			if r.First != next {
				t.Fatalf("task %d starts at %d, want %d", task, r.First, next)
			}
			for g := r.First; g < r.End; g++ {
				if o := Owner(g, groups, tasks); o != task {
					t.Fatalf("group %d is in the range of task %d but owned by %d", g, task, o)
				}
			}
			next = r.End
		}
		if next != groups {
			t.Fatalf("ranges end at %d, want %d", next, groups)
		}
	})
}

func TestOfStaysInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.IntRange(1, Max).Draw(t, "groups")
		g := Of(rapid.Uint64().Draw(t, "hash"), groups)
		if g < 0 || g >= groups {
			t.Fatalf("group %d of %d", g, groups)
		}
	})
	if Of(0, 128) != 0 || Of(^uint64(0), 128) != 127 {
		t.Fatal("the ends of the hash range must map to the ends of the groups")
	}
}
