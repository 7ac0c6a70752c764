package topology_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

// mistaken are topologies with something wrong, by what that is. Each stands
// in testdata/mistakes.txt with what Build says about it.
var mistaken = []struct {
	what  string
	build func() *topology.Builder
}{
	{"no builder", func() *topology.Builder { return nil }},
	{"nothing", func() *topology.Builder { return topology.New("nothing") }},
	{"invalid names", func() *topology.Builder {
		b := topology.New("Word Count")
		s := topology.From(b, "theLines!", topologytest.Slice("a"))
		s = topology.Filter(s, "", func(string) bool { return true })
		topology.To(s, "42", topologytest.Collect[string](), topology.OnError(topology.DeadLetter("Bad Ones")))
		return b
	}},
	{"a name twice", func() *topology.Builder {
		b, s := begin()
		s = topology.Filter(s, "same", func(string) bool { return true })
		topology.To(s, "same", topologytest.Collect[string]())
		return b
	}},
	{"nobody reads", func() *topology.Builder {
		b, s := begin()
		topology.Map(s, "upper", strings.ToUpper)
		ok, _ := topology.Try(s, "parse", func(string) (int, error) { return 0, nil })
		topology.To(ok, "out", topologytest.Collect[int]())
		parts := topology.Split(s, "parts", func(string) bool { return true })
		topology.To(parts[0], "part", topologytest.Collect[string]())
		topology.KeyBy(s, "by-word", strings.ToUpper)
		return b
	}},
	{"nil functions, sources and sinks", func() *topology.Builder {
		b := topology.New("nils")
		s := topology.From[string](b, "in", nil)
		m := topology.Map[string, string](s, "map", nil)
		f := topology.Filter(m, "filter", nil)
		x := topology.FlatMap[string, string](f, "flat-map", nil)
		ok, failed := topology.Try[string, string](x, "try", nil)
		parts := topology.Split(ok, "split", nil, func(string) bool { return true }, nil)
		all := topology.Merge(parts[0], "merge", parts[1:]...)
		counts := topology.Fold(topology.KeyBy[string](all, "key", nil), "count",
			func(_ string, n int, _ string) int { return n + 1 })
		topology.To(counts, "out", nil)
		topology.To(failed, "bad", (*topologytest.Collected[topology.Failed[string]])(nil))
		topology.To(topology.Through[string](s, "through", nil), "last", topologytest.Collect[string]())
		return b
	}},
	{"streams from elsewhere", func() *topology.Builder {
		b, s := begin()
		_, other := begin()
		var zero topology.Stream[string]
		topology.To(topology.Merge(s, "merge", other, zero), "out", topologytest.Collect[string]())
		topology.To(topology.Merge(zero, "zero-first", s, topology.Map(zero, "lost", strings.ToUpper)), "out-too", topologytest.Collect[string]())
		return b
	}},
	{"keys and states that cannot be stored", func() *topology.Builder {
		b, s := begin()
		byAny := topology.KeyBy(s, "by-any", func(v string) any { return v })
		topology.To(topology.Fold(byAny, "count", func(_ any, n int, _ string) int { return n + 1 }), "out", topologytest.Collect[int]())
		byWord := topology.KeyBy(s, "by-word", strings.ToUpper)
		topology.To(topology.Fold(byWord, "channels", func(_ string, c chan int, _ string) chan int { return c }),
			"out-too", topologytest.Collect[chan int]())
		return b
	}},
	{"values out of range", func() *topology.Builder {
		b := topology.New("ranges", topology.KeyGroups(8), topology.KeyGroups(0))
		s := topology.From(b, "in", topologytest.Slice("a"), topology.Parallelism(0))
		byWord := topology.KeyBy(s, "by-word", strings.ToUpper, topology.Parallelism(9))
		counts := topology.Fold(byWord, "count", func(_ string, n int, _ string) int { return n + 1 },
			topology.OnError(topology.Retry(0, 0)))
		windows, _ := topology.WindowFold(byWord, "per-window", topology.Tumbling(0),
			func(_ string, n int, _ string) int { return n + 1 })
		topology.To(counts, "out", topologytest.Collect[int](), topology.Parallelism(-1))
		topology.To(windows, "windows", topologytest.Collect[topology.Window[string, int]]())
		return b
	}},
	{"topics that mix", func() *topology.Builder {
		b, s := begin()
		topic := topologytest.Topic[string]("orders")
		s = topology.Through(s, "once", topic)
		s = topology.Through(s, "twice", topic)
		s = topology.Map(s, "upper", strings.ToUpper, topology.OnError(topology.DeadLetter("orders")))
		topology.To(s, "out", topologytest.Collect[string]())
		return b
	}},
	{"windows that would never close", func() *topology.Builder {
		b, s := begin()
		sum := func(s topology.Stream[string], name string) {
			windows, _ := topology.WindowFold(topology.KeyBy(s, name+"-key", strings.ToUpper), name, topology.Tumbling(time.Hour),
				func(_ string, n int, _ string) int { return n + 1 })
			topology.To(windows, name+"-out", topologytest.Collect[topology.Window[string, int]]())
		}
		timed := topology.EventTime(s, "time", 0, noTime)
		sum(timed, "well")
		sum(s, "without")
		sum(topology.Merge(timed, "half", topology.From(b, "in-too", topologytest.Slice("a"))), "half-timed")
		sum(topology.Through(timed, "stored", topologytest.Topic[string]("orders")), "through-topic")
		sum(topology.Map(timed, "upper", strings.ToUpper), "well-too")
		return b
	}},
	{"event time where splits are mixed", func() *topology.Builder {
		b, s := begin()
		end := func(s topology.Stream[string], name string) {
			topology.To(topology.EventTime(s, name, 0, noTime), name+"-out", topologytest.Collect[string]())
		}
		other := topology.From(b, "in-too", topologytest.Slice("a"))
		once := topology.Fold(topology.KeyBy(s, "by-word", strings.ToUpper), "once", func(_, _, v string) string { return v })
		end(once, "behind-key")
		end(topology.Map(once, "upper", strings.ToUpper), "further-behind")
		end(topology.Merge(s, "both", other), "behind-merge")
		parts := topology.Split(other, "parts", func(string) bool { return true })
		end(topology.Merge(parts[0], "again", parts[1]), "well")
		end(topology.Through(once, "stored", topologytest.Topic[string]("orders")), "well-too")
		return b
	}},
	{"one stream to merge, no condition to split by", func() *topology.Builder {
		b, s := begin()
		topology.To(topology.Split(topology.Merge(s, "merge"), "split")[0], "out", topologytest.Collect[string]())
		return b
	}},
}

func noTime(string) time.Time { return time.Time{} }

func begin() (*topology.Builder, topology.Stream[string]) {
	b := topology.New("mistaken")
	return b, topology.From(b, "in", topologytest.Slice("a"))
}

func TestBuildReportsEveryMistake(t *testing.T) {
	var all strings.Builder
	for _, m := range mistaken {
		g, err := m.build().Build()
		if err == nil || g != nil {
			t.Errorf("%s: Build returned %v, %v", m.what, g, err)
		}
		fmt.Fprintf(&all, "%s\n----\n%v\n\n", m.what, err)
	}
	golden(t, "mistakes.txt", all.String())
}

func TestMistakesCanBeTakenApart(t *testing.T) {
	b := topology.New("OK?", nil)
	topology.From[int](b, "in", nil, nil, topology.OnError(nil))
	_, err := b.Build()
	var m *topology.MistakesError
	if !errors.As(err, &m) || len(m.Mistakes) != 4 || m.Topology != "OK?" {
		t.Fatalf("%#v", err)
	}
}

// TestWhatCanGrow: work on what can make many records of one has to be able to stop
// half-way, and Node.Bounded is a promise that it need not.
func TestWhatCanGrow(t *testing.T) {
	b := topology.New("kinds")
	in := topology.EventTime(topology.From(b, "in", sources.Slice(1)), "at", time.Second, func(int) time.Time { return time.Time{} })
	keyed := topology.KeyBy(topology.FlatMap(in, "flat", func(n int) []int { return nil }), "key", func(n int) int { return n })
	topology.To(topology.Fold(keyed, "fold", func(_ int, s, n int) int { return s + n }), "out", sinks.Discard[int]())
	windows, late := topology.WindowFold(keyed, "windows", topology.Tumbling(time.Minute), func(_ int, s, n int) int { return s + n })
	topology.To(windows, "counts", sinks.Discard[topology.Window[int, int]]())
	topology.To(late, "late", sinks.Discard[topology.Late[int]]())
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes() {
		if grows := n.Kind == "flat-map" || n.Kind == "window-fold"; n.Bounded == grows {
			t.Errorf("%s %s: bounded is %v", n.Kind, n.Name, n.Bounded)
		}
	}
}

func TestAGraphDoesNotChangeWithItsBuilder(t *testing.T) {
	b, s := begin()
	topology.To(s, "out", topologytest.Collect[string]())
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	before := g.Fingerprint()
	topology.To(s, "out-too", topologytest.Collect[string]())
	if g.Fingerprint() != before || len(g.Nodes()) != 2 {
		t.Error("the graph has changed")
	}
	g.Nodes()[0] = nil
	if g.Nodes()[0] == nil {
		t.Error("the graph can be changed through Nodes")
	}
	if again, err := b.Build(); err != nil || len(again.Nodes()) != 3 {
		t.Errorf("built again: %v, %v", again, err)
	}
}

// drawn is a topology with one of everything that drawings show.
func drawn() *topology.Builder {
	b := topology.New("drawn", topology.OnError(topology.DeadLetter("dead")))
	lines := topology.From(b, "lines", topologytest.Slice("a"), topology.Parallelism(2))
	words, failed := topology.Try(lines, "parse", func(s string) (struct {
		Word string `json:"w"`
	}, error) {
		return struct {
			Word string `json:"w"`
		}{s}, nil
	})
	topology.To(failed, "bad", topologytest.Collect[topology.Failed[string]]())
	plain := topology.Map(words, "plain", func(v struct {
		Word string `json:"w"`
	}) string {
		return v.Word
	})
	durable := topology.Through(plain, "durable", topologytest.Topic[string]("all-words"))
	byWord := topology.KeyBy(durable, "by-word", strings.ToLower, topology.Parallelism(4))
	counts := topology.Fold(byWord, "count", func(_ string, n int, _ string) int { return n + 1 })
	topology.To(counts, "counts", topologytest.Collect[int]())
	return b
}

func TestDrawings(t *testing.T) {
	g, err := drawn().Build()
	if err != nil {
		t.Fatal(err)
	}
	j, err := g.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "drawn.mmd", g.Mermaid())
	golden(t, "drawn.dot", g.DOT())
	golden(t, "drawn.txt", g.Text())
	golden(t, "drawn.json", strings.ReplaceAll(string(j), "},{", "},\n{")+"\n")
	if topics := g.DeadLetterTopics(); len(topics) != 1 || topics[0] != "dead" {
		t.Errorf("dead letters go to %v", topics)
	}
}

// versioned is a job in several versions.
func versioned(state string, parallelism, groups int, name string) *topology.Builder {
	b := topology.New("versioned", topology.KeyGroups(groups))
	s := topology.From(b, name, topologytest.Slice("a"))
	byWord := topology.KeyBy(s, "by-word", strings.ToLower, topology.Parallelism(parallelism))
	switch state {
	case "int":
		counts := topology.Fold(byWord, "count", func(_ string, n int, _ string) int { return n + 1 })
		topology.To(counts, "out", topologytest.Collect[int]())
	case "string":
		last := topology.Fold(byWord, "count", func(_, _, w string) string { return w })
		topology.To(last, "out", topologytest.Collect[string]())
	case "none":
		topology.To(topology.Map(s, "count", func(string) int { return 1 }), "out", topologytest.Collect[int]())
		topology.To(topology.Fold(byWord, "other", func(_ string, n int, _ string) int { return n }), "other-out", topologytest.Collect[int]())
	}
	return b
}

func TestDiffSaysWhatBecomesOfState(t *testing.T) {
	build := func(b *topology.Builder) *topology.Graph {
		g, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	old := build(versioned("int", 2, 8, "in"))
	var all strings.Builder
	for _, c := range []struct {
		what       string
		now        *topology.Builder
		compatible bool
		same       bool // fingerprint
	}{
		{"unchanged", versioned("int", 2, 8, "in"), true, true},
		{"other parallelism", versioned("int", 4, 8, "in"), true, true},
		{"other state", versioned("string", 2, 8, "in"), false, false},
		{"other key groups", versioned("int", 2, 16, "in"), false, false},
		{"source renamed", versioned("int", 2, 8, "input"), false, false},
		{"state gone", versioned("none", 2, 8, "in"), false, false},
	} {
		now := build(c.now)
		d := now.Diff(old.JSON())
		if d.Compatible() != c.compatible || (now.Fingerprint() == old.Fingerprint()) != c.same {
			t.Errorf("%s: compatible %v, same fingerprint %v", c.what, d.Compatible(), now.Fingerprint() == old.Fingerprint())
		}
		fmt.Fprintf(&all, "%s\n----\n%s\n", c.what, d)
	}
	if d := old.Diff(topology.GraphJSON{}); !d.Compatible() || len(d.Added) != 3 {
		t.Errorf("from nothing: %v", d)
	}
	golden(t, "diff.txt", all.String())
}
