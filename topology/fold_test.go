package topology_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

func totals(in topology.Source[reading], out topology.Sink[int], f func(string, int, reading) int, opts ...topology.FoldOption) *topology.Builder {
	b := topology.New("totals")
	byKey := topology.KeyBy(topology.From(b, "in", in), "by-key", func(r reading) string { return r.Key })
	topology.To(topology.Fold(byKey, "total", f, opts...), "out", out)
	return b
}

func add(_ string, sum int, r reading) int { return sum + r.N }

// Every update is given out, wherever the run is broken off.
func TestFoldAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := readings(rt, "in", 10)
		out := topologytest.Collect[int]()
		d := topologytest.New(t, totals(topologytest.Slice(in...), out, add),
			topologytest.BatchSize(rapid.IntRange(1, 5).Draw(rt, "batch")))
		for range rapid.IntRange(0, 3).Draw(rt, "breaks") {
			steps(rt, d)
			s := d.Snapshot()
			steps(rt, d)
			d.Restore(s, topologytest.Parallelism(rapid.IntRange(1, 4).Draw(rt, "parallelism")))
		}
		d.Run()
		var want []int
		sums := map[string]int{}
		for _, r := range in {
			sums[r.Key] += r.N
			want = append(want, sums[r.Key])
		}
		if got := inOrder(out.Values()); !slices.Equal(got, inOrder(want)) {
			rt.Fatalf("got  %v\nwant %v", got, want)
		}
	})
}

// A record that fails changes nothing; the first of its key leaves no key.
func TestAFoldThatFails(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[int]()
	d := topologytest.New(t, totals(in, out, func(k string, sum int, r reading) int {
		if r.N < 0 {
			panic("negative")
		}
		return add(k, sum, r)
	}, topology.OnError(topology.Retry(2, 0), topology.DeadLetter("dead"))))
	in.Push(reading{"a", 1, 1}, reading{"b", 2, -1}, reading{"a", 3, -1}, reading{"a", 4, 2}, reading{"c", 5, 1})
	if got := out.Values(); !slices.Equal(got, []int{1, 3, 1}) {
		t.Errorf("got %v", got)
	}
	if c := d.Counters("total"); c.Keys != 2 || c.DeadLetters != 2 || c.Out != 3 {
		t.Errorf("counted %+v", c)
	}
	for i, key := range []string{"b", "a"} {
		if l := d.DeadLetters(); len(l) != 2 || string(l[i].Key) != key {
			t.Errorf("dead letters: %+v", l)
		}
	}
	d.Restore(d.Snapshot())
	if c := d.Counters("total"); c.Keys != 2 {
		t.Errorf("restored %d keys", c.Keys)
	}
}

// Keys that are cut out of large buffers do not keep them alive, and keys of
// every kind find their state again.
func TestFoldKeysOfEveryKind(t *testing.T) {
	foldBy(t, func(r reading) string { return r.Key[:1] })
	foldBy(t, func(r reading) [2]string { return [2]string{r.Key, r.Key} })
	foldBy(t, func(r reading) bool { return r.Key == "a" })
	foldBy(t, func(r reading) struct{ A, B any } { return struct{ A, B any }{} })
}

func foldBy[K comparable](t *testing.T, key func(reading) K) {
	t.Helper()
	b := topology.New("totals")
	in, out := topologytest.Input[reading](), topologytest.Collect[int]()
	byKey := topology.KeyBy(topology.From(b, "in", in), "by-key", key)
	topology.To(topology.Fold(byKey, "total", func(_ K, sum int, r reading) int { return sum + r.N }), "out", out)
	if _, err := b.Build(); err != nil {
		if !strings.Contains(err.Error(), "cannot be stored") {
			t.Error(err)
		}
		return
	}
	d := topologytest.New(t, b)
	in.Push(reading{"a", 1, 1}, reading{"b", 1, 10})
	d.Restore(d.Snapshot(), topologytest.Parallelism(3))
	in.Push(reading{"b", 1, 20}, reading{"a", 1, 2})
	if got := out.Values()[2:]; !slices.Equal(inOrder(got), []int{3, 30}) {
		t.Errorf("%T: got %v", *new(K), got)
	}
}

func TestFoldMistakes(t *testing.T) {
	b := topology.New("mistakes")
	byKey := topology.KeyBy(topology.From(b, "in", topologytest.Slice[reading]()), "by-key", func(r reading) string { return r.Key })
	topology.Fold[string, reading, int](byKey, "nothing", nil)
	topology.Fold(byKey, "function", func(string, func(), reading) func() { return nil })
	topology.Fold(byKey, "limits", add, topology.KeyLimits{Bytes: -1})
	_, err := b.Build()
	for _, want := range []string{`"nothing": its function is nil`, `"function": `, "type cannot be stored", "limits cannot be negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}
