package topology_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// TestMergeMakesNothingLate merges streams that are each in order, but far
// apart in event time. However they are interleaved, no record may be late,
// since each stream alone would make none.
func TestMergeMakesNothingLate(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	shapes := map[string]func(a, b topology.Stream[int]) topology.Stream[int]{
		"timed before": func(a, b topology.Stream[int]) topology.Stream[int] {
			return topology.Merge(topology.EventTime(a, "time-a", 0, at), "both", topology.EventTime(b, "time-b", 0, at))
		},
		"a diamond": func(a, b topology.Stream[int]) topology.Stream[int] {
			timed := topology.Merge(topology.EventTime(a, "time-a", 0, at), "both", topology.EventTime(b, "time-b", 0, at))
			parts := topology.Split(timed, "parts", func(v int) bool { return v%3 == 0 })
			return topology.Merge(parts[1], "again", parts[0])
		},
	}
	for name, merged := range shapes {
		rapid.Check(t, func(t *rapid.T) {
			n := rapid.IntRange(0, 40).Draw(t, "n")
			ahead := rapid.IntRange(0, 100).Draw(t, "ahead")
			var early, later []int
			for i := range n {
				early, later = append(early, i), append(later, ahead+i)
			}
			b := topology.New("merged")
			both := merged(topology.From(b, "a", topologytest.Slice(early...)), topology.From(b, "b", topologytest.Slice(later...)))
			keyed := topology.KeyBy(both, "key", func(v int) int { return v % 2 })
			counts, late := topology.WindowFold(keyed, "count", topology.Tumbling(4*time.Second),
				func(_ int, c int, _ int) int { return c + 1 })
			out, tooLate := topologytest.Collect[topology.Window[int, int]](), topologytest.Collect[topology.Late[int]]()
			topology.To(counts, "out", out)
			topology.To(late, "late", tooLate)
			err := topologytest.Execute(b, topologytest.Seed(rapid.Uint64().Draw(t, "seed")),
				topologytest.BatchSize(rapid.IntRange(1, 8).Draw(t, "batch")),
				topologytest.Parallelism(rapid.IntRange(1, 3).Draw(t, "parallelism")))
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for _, w := range out.Values() {
				total += w.Value
			}
			if len(tooLate.Values()) != 0 || total != 2*n {
				t.Fatalf("%s: %d late, %d of %d counted", name, len(tooLate.Values()), total, 2*n)
			}
		})
	}
}
