package runtime_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// throughTallies is tallies with a topic in its middle.
func throughTallies(n int64, out string) *topology.Builder {
	b := topology.New("tallies")
	numbers := topology.From(b, "numbers", sources.Generator(func(i int64) int64 { return i }, sources.Count(n), sources.Splits(3)))
	stored := topology.Through(numbers, "stored", topics.Of[int64]("middle").Partitions(2))
	byRest := topology.KeyBy(stored, "by-rest", func(i int64) int64 { return i % tallyKeys })
	counts := topology.Fold(byRest, "tally", func(k int64, t tally, i int64) tally {
		return tally{Key: k, Count: t.Count + 1, Sum: t.Sum + i}
	})
	topology.To(counts, "out", sinks.JSONLines[tally](out))
	return b
}

// Where a replay begins and ends is about the sources of a topology. The topic
// in its middle is fed by them: it is read once, and to the end.
func TestReplayWithATopicInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.ndjson")
	e := open(t, filepath.Join(dir, "data"))
	const n = 3000
	for _, run := range []struct {
		name string
		opts []runtime.Option
	}{
		{"to the end there is", []runtime.Option{runtime.UntilEnd()}},
		{"anew", []runtime.Option{runtime.FreshState(), runtime.UntilEnd()}},
		{"anew, from the beginning", []runtime.Option{runtime.FreshState(), runtime.ReplayFromBeginning()}},
	} {
		if r, err := e.Run(within(t), throughTallies(n, out), run.opts...); err != nil || !r.Finished || r.AlreadyFinished {
			t.Fatalf("%s: %+v, %v", run.name, r, err)
		}
		t.Run(run.name, func(t *testing.T) { checkTallies(t, out, n) })
	}
	if _, err := e.Run(within(t), throughTallies(n, out), runtime.ReplayFromBeginning()); err != nil {
		t.Fatal(err)
	}
	counted := int64(0)
	for _, count := range lastCounts(t, out) {
		counted += count
	}
	if counted != 2*n {
		t.Fatalf("%d records counted, want each of %d twice: the first time, and in the replay", counted, n)
	}
}

// lastCounts returns the newest count of every key.
func lastCounts(t *testing.T, path string) map[int64]int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := map[int64]int64{}
	for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
		var v tally
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		last[v.Key] = v.Count
	}
	return last
}
