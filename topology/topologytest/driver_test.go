package topologytest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type count struct {
	Word string
	N    int
}

// wordcount is the topology that most of these tests run.
func wordcount(lines topology.Source[string], counts topology.Sink[count]) *topology.Builder {
	b := topology.New("wordcount")
	text := topology.From(b, "lines", lines)
	words := topology.FlatMap(text, "split", strings.Fields)
	byWord := topology.KeyBy(words, "by-word", strings.ToLower)
	totals := topology.Fold(byWord, "count", func(word string, c count, _ string) count {
		return count{word, c.N + 1}
	})
	topology.To(totals, "counts", counts)
	return b
}

var poem = []string{
	"a rose is a rose", "is a rose", "", "The rose", "  the THORN  ", "is it", "it is", "a a a a a a a a a a",
}

// updates are all counts in between, sorted: what any run must give.
func updates(lines []string) (all []count) {
	n := map[string]int{}
	for _, l := range lines {
		for _, w := range strings.Fields(strings.ToLower(l)) {
			n[w]++
			all = append(all, count{w, n[w]})
		}
	}
	return sorted(all)
}

func sorted(cs []count) []count {
	slices.SortFunc(cs, func(a, b count) int {
		if c := strings.Compare(a.Word, b.Word); c != 0 {
			return c
		}
		return a.N - b.N
	})
	return cs
}

func TestTheResultDependsOnTheDataAlone(t *testing.T) {
	want := updates(poem)
	for _, parallelism := range []int{1, 2, 3, 4} {
		for _, size := range []int{1, 7, 256} {
			for seed := range uint64(3) {
				out := topologytest.Collect[count]()
				in := topologytest.Splits(poem[:3], poem[3:4], poem[4:])
				topologytest.Run(t, wordcount(in, out), topologytest.Parallelism(parallelism),
					topologytest.BatchSize(size), topologytest.Seed(seed))
				if got := sorted(out.Values()); !slices.Equal(got, want) {
					t.Fatalf("parallelism %d, batch size %d, seed %d: %v, want %v", parallelism, size, seed, got, want)
				}
			}
		}
	}
}

// TestStoppedAndContinuedAnywhere takes snapshots at random moments, loses
// what came after them, and continues at another parallelism: the result is
// that of a run without a break.
func TestStoppedAndContinuedAnywhere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom(poem), 1, 30).Draw(rt, "lines")
		cut := rapid.IntRange(0, len(lines)).Draw(rt, "cut")
		out := topologytest.Collect[count]()
		d := topologytest.New(t, wordcount(topologytest.Splits(lines[:cut], lines[cut:]), out),
			topologytest.Seed(rapid.Uint64().Draw(rt, "seed")), topologytest.BatchSize(2))
		for range rapid.IntRange(0, 4).Draw(rt, "breaks") {
			steps(rt, d)
			s := d.Snapshot()
			steps(rt, d)
			d.Restore(s, topologytest.Parallelism(rapid.IntRange(1, 4).Draw(rt, "parallelism")))
		}
		d.Run()
		if got, want := sorted(out.Values()), updates(lines); !slices.Equal(got, want) {
			rt.Fatalf("%v, want %v", got, want)
		}
	})
}

func steps(t *rapid.T, d *topologytest.Driver) {
	for range rapid.IntRange(0, 30).Draw(t, "steps") {
		d.Step()
	}
}

func TestASeedAlwaysGivesTheSameRun(t *testing.T) {
	run := func(seed uint64) []count {
		out := topologytest.Collect[count]()
		topologytest.Run(t, wordcount(topologytest.Splits(poem[:4], poem[4:]), out), topologytest.Seed(seed),
			topologytest.BatchSize(2), topologytest.Parallelism(3))
		return out.Values()
	}
	orders := map[string]bool{}
	for seed := range uint64(8) {
		first := run(seed)
		if !slices.Equal(first, run(seed)) {
			t.Fatalf("seed %d gave two orders", seed)
		}
		orders[fmt.Sprint(first)] = true
	}
	if len(orders) < 2 {
		t.Error("eight seeds gave one and the same order")
	}
}

func TestAnInputIsWorkedThroughAtOnce(t *testing.T) {
	in, out := topologytest.Input[string](), topologytest.Collect[count]()
	d := topologytest.New(t, wordcount(in, out))
	in.Push("a b")
	if got := sorted(out.Values()); !slices.Equal(got, []count{{"a", 1}, {"b", 1}}) {
		t.Fatal(got)
	}
	s := d.Snapshot()
	in.Push("a", "a")
	if got := out.Values(); len(got) != 4 || got[3] != (count{"a", 3}) {
		t.Fatal(got)
	}
	d.Restore(s, topologytest.Parallelism(2))
	if got := out.Values(); len(got) != 2 {
		t.Fatalf("restored with %v", got)
	}
	d.Run()
	if got := out.Values(); len(got) != 4 || got[3] != (count{"a", 3}) {
		t.Fatalf("replayed to %v", got)
	}
	if d.Ended() {
		t.Error("ended before its input")
	}
	in.End()
	in.Push("too late")
	if !d.Ended() || len(out.Values()) != 4 {
		t.Error("did not end with its input")
	}
	if c := d.Counters("split"); c.In != 2 || c.Out != 2 {
		t.Errorf("since the restore, split has counted %+v", c)
	}
}

func TestASnapshotOutlivesItsDriver(t *testing.T) {
	in, out := topologytest.Input[string](), topologytest.Collect[count]()
	d := topologytest.New(t, wordcount(in, out))
	in.Push("a a a")
	s := d.Snapshot()
	topologytest.New(t, wordcount(in, out), topologytest.From(s), topologytest.Parallelism(3))
	in.Push("a")
	if got := out.Values(); got[len(got)-1] != (count{"a", 4}) {
		t.Errorf("continued to %v", got)
	}
	other := topology.New("other")
	topology.To(topology.From(other, "else", topologytest.Slice("a")), "counts", topologytest.Collect[string]())
	f := &failing{}
	topologytest.New(f, other, topologytest.From(s))
	if !strings.Contains(f.text, `lost     state of fold "count"`) {
		t.Errorf("a topology that does not fit failed with %q", f.text)
	}
}

func TestThroughATopic(t *testing.T) {
	topic := topologytest.Topic[string]("words", "before")
	out := topologytest.Collect[string]()
	b := topology.New("through")
	words := topology.FlatMap(topology.From(b, "in", topologytest.Slice(poem...)), "split", strings.Fields)
	topology.To(topology.Through(words, "log", topic), "out", out)
	topologytest.Run(t, b, topologytest.BatchSize(3))
	want := append([]string{"before"}, strings.Fields(strings.Join(poem, " "))...)
	if !slices.Equal(out.Values(), want) || !slices.Equal(topic.Values(), want) {
		t.Errorf("out %v, topic %v", out.Values(), topic.Values())
	}
	again := topologytest.Collect[string]()
	b = topology.New("again")
	topology.To(topology.From(b, "log", topic.Source()), "out", again)
	topologytest.Run(t, b)
	if !slices.Equal(again.Values(), want) {
		t.Errorf("read again: %v", again.Values())
	}
}

type beat struct{ At time.Duration }

func beatAt(b beat) time.Time { return topologytest.Epoch.Add(b.At) }

func TestAdvanceLetsIdleSplitsGoIdle(t *testing.T) {
	in := topologytest.Input[beat]("busy", "silent")
	out := topologytest.Collect[topology.Window[int, int]]()
	b := topology.New("idle")
	timed := topology.EventTime(topology.From(b, "in", in), "at", 0, beatAt, topology.Idle(time.Minute))
	keyed := topology.KeyBy(timed, "key", func(beat) int { return 0 })
	counts, _ := topology.WindowFold(keyed, "per-second", topology.Tumbling(time.Second),
		func(_ int, n int, _ beat) int { return n + 1 })
	topology.To(counts, "out", out)
	d := topologytest.New(t, b)
	in.PushTo("silent", beat{0})
	in.PushTo("busy", beat{0}, beat{5 * time.Second})
	d.Advance(59 * time.Second)
	in.PushTo("busy", beat{6 * time.Second})
	if len(out.Values()) != 0 {
		t.Fatalf("closed %v while a split may still speak", out.Values())
	}
	d.Advance(time.Second)
	if got := out.Values(); len(got) != 2 || got[0].Value != 2 || got[1].Value != 1 {
		t.Fatalf("closed %v", got)
	}
	if want := topologytest.Epoch.Add(time.Minute); !d.Now().Equal(want) {
		t.Errorf("it is %v, want %v", d.Now(), want)
	}
}

// failing is a TB that notes the failure.
type failing struct{ text string }

func (f *failing) Helper()                      {}
func (f *failing) Logf(string, ...any)          {}
func (f *failing) Cleanup(func())               {}
func (f *failing) Fatalf(s string, args ...any) { f.text = fmt.Sprintf(s, args...) }

func TestFailuresFailTheTest(t *testing.T) {
	in := topologytest.Input[string]()
	f := &failing{}
	topologytest.Run(f, wordcount(in, topologytest.Collect[count]()))
	if want := `source "lines" has not ended: its split "0" waits for more`; !strings.Contains(f.text, want) {
		t.Errorf("an input without an end: %q", f.text)
	}
	f = &failing{}
	topologytest.Run(f, wordcount(nil, nil))
	if want := "the source is nil"; !strings.Contains(f.text, want) {
		t.Errorf("mistakes: %q", f.text)
	}
	b := topology.New("panics")
	bad := topology.Map(topology.From(b, "in", topologytest.Slice(1)), "bad", func(int) int { panic("no") })
	topology.To(bad, "out", topologytest.Collect[int]())
	f = &failing{}
	start := time.Now()
	d := topologytest.New(f, b)
	d.Run()
	if !strings.Contains(f.text, `operator "bad" failed 3 times on one record (1, from 0): no; give`) || d.Step() {
		t.Errorf("a panic: %q", f.text)
	}
	if d.Now() == topologytest.Epoch {
		t.Errorf("the waits between tries took real time, not virtual: %v", time.Since(start))
	}
}
