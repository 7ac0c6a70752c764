package dataflow

import (
	"fmt"
	"strings"
	"testing"
)

// String draws a plan: a line for each chain, and one for each wire.
func (p *Plan) String() string {
	var w strings.Builder
	for _, c := range p.Chains {
		names := make([]string, len(c.Nodes))
		for i, n := range c.Nodes {
			names[i] = n.Name
		}
		fmt.Fprintf(&w, "%d x%d: %s\n", c.ID, c.Parallelism, strings.Join(names, " "))
	}
	for _, wire := range p.Wires {
		key := ""
		if wire.Key != nil {
			key = " by " + wire.Key.Name
		}
		fmt.Fprintf(&w, "%d -> %d: %s.%d%s to", wire.From.ID, wire.To.ID, wire.Node.Name, wire.Port, key)
		for _, r := range wire.Readers {
			fmt.Fprintf(&w, " %s.%d", r.Node.Name, r.Input)
		}
		w.WriteByte('\n')
	}
	return w.String()
}

func TestPlans(t *testing.T) {
	any := SinkInfo{}
	for _, c := range []struct {
		what  string
		build func(g *graph)
		want  string
	}{
		{"a chain is one task", func(g *graph) {
			g.source("s")
			g.op("a", "s")
			g.op("b", "a")
			g.sink("out", any, "b")
		}, `
0 x3: s a b
1 x3: out
0 -> 1: b.0 to out.0`},
		{"fan-out stays in the task", func(g *graph) {
			g.source("s")
			g.op("a", "s")
			g.op("b", "s")
			g.sink("x", any, "a")
			g.sink("y", any, "b")
		}, `
0 x3: s a b
1 x3: x
2 x3: y
0 -> 1: a.0 to x.0
0 -> 2: b.0 to y.0`},
		{"a diamond stays in the task", func(g *graph) {
			g.source("s")
			g.op("p", "s")
			g.op("a", "p0")
			g.op("m", "a", "p1")
			g.sink("out", any, "m")
		}, `
0 x3: s p a m
1 x3: out
0 -> 1: m.0 to out.0`},
		{"two sources meet in a task of their own", func(g *graph) {
			g.source("s")
			g.source("r")
			g.op("m", "s", "r")
			g.sink("out", any, "m")
		}, `
0 x3: s
1 x3: r
2 x3: m
3 x3: out
0 -> 2: s.0 to m.0
1 -> 2: r.0 to m.1
2 -> 3: m.0 to out.0`},
		{"a keyed diamond", func(g *graph) {
			g.source("s")
			g.op("a", "s")
			g.key("k", "a", 2)
			g.keyed("f", "k")
			g.op("m", "f", "a")
			g.sink("out", any, "m")
		}, `
0 x3: s a
1 x2: f
2 x3: m
3 x3: out
0 -> 1: a.0 by k to f.0
1 -> 2: f.0 to m.0
0 -> 2: a.0 to m.1
2 -> 3: m.0 to out.0`},
		{"two readers of a key share tasks and wire", func(g *graph) {
			g.source("s")
			g.key("k", "s", 4)
			g.keyed("f", "k")
			g.keyed("g", "k")
			g.sink("x", any, "f")
			g.sink("y", any, "g")
		}, `
0 x3: s
1 x4: f g
2 x4: x
3 x4: y
0 -> 1: s.0 by k to f.0 g.0
1 -> 2: f.0 to x.0
1 -> 3: g.0 to y.0`},
		{"two keys of a stream are two exchanges", func(g *graph) {
			g.source("s")
			g.key("k", "s", 1)
			g.key("l", "s", 2)
			g.keyed("f", "k")
			g.keyed("g", "l")
			g.sink("x", any, "f")
			g.sink("y", any, "g")
		}, `
0 x3: s
1 x1: f
2 x2: g
3 x1: x
4 x2: y
0 -> 1: s.0 by k to f.0
0 -> 2: s.0 by l to g.0
1 -> 3: f.0 to x.0
2 -> 4: g.0 to y.0`},
		{"a sink that allows one writer gathers", func(g *graph) {
			g.source("s")
			g.sink("out", SinkInfo{MaxParallelism: 1, Inline: true}, "s")
		}, `
0 x3: s
1 x1: out
0 -> 1: s.0 to out.0`},
		{"an inline sink runs in its producer's task", func(g *graph) {
			g.source("s")
			g.op("a", "s")
			g.sink("out", SinkInfo{Inline: true}, "a")
		}, `
0 x3: s a out`},
		{"an operator of another parallelism, or one that wants to be alone", func(g *graph) {
			g.source("s")
			g.op("a", "s").Parallelism = 2
			g.op("b", "a").Parallelism = 2
			g.op("c", "b").Alone = true
			g.sink("out", any, "c").Parallelism = 5
		}, `
0 x3: s
1 x2: a b
2 x3: c
3 x5: out
0 -> 1: s.0 to a.0
1 -> 2: b.0 to c.0
2 -> 3: c.0 to out.0`},
		{"one stream read twice by one operator elsewhere takes one wire each", func(g *graph) {
			g.source("s")
			g.source("r")
			g.op("m", "s", "s", "r")
			g.sink("out", any, "m")
		}, `
0 x3: s
1 x3: r
2 x3: m
3 x3: out
0 -> 2: s.0 to m.0
0 -> 2: s.0 to m.1
1 -> 2: r.0 to m.2
2 -> 3: m.0 to out.0`},
	} {
		g := newGraph()
		c.build(g)
		p, err := NewPlan(g.nodes, 3, nil)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got := strings.TrimSpace(p.String()); got != strings.TrimSpace(c.want) {
			t.Errorf("%s:\n%s\nwant%s", c.what, got, c.want)
		}
	}
}

func TestSourcesHaveNoMoreTasksThanSplits(t *testing.T) {
	for splits, want := range map[int]int{0: 1, 1: 1, 2: 2, 3: 3, 9: 3} {
		g := newGraph()
		g.source("s")
		g.sink("out", SinkInfo{}, "s")
		p, err := NewPlan(g.nodes, 3, map[int]int{0: splits})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Chains[0].Parallelism; got != want {
			t.Errorf("%d splits: %d tasks, want %d", splits, got, want)
		}
	}
}

func TestAnOperatorWithoutInputIsRefused(t *testing.T) {
	g := newGraph()
	g.op("a")
	if _, err := NewPlan(g.nodes, 1, nil); err == nil || !strings.Contains(err.Error(), `"a" has no input`) {
		t.Errorf("%v", err)
	}
}

// TestBounded: what is split and merged again has a record once for each way.
func TestBounded(t *testing.T) {
	node := func(id int, bounded bool, inputs ...int) *Node {
		n := &Node{ID: id, Bounded: bounded}
		for _, in := range inputs {
			n.Inputs = append(n.Inputs, Input{Node: in})
		}
		return n
	}
	const outside = 99
	var doubling []*Node
	for id := range 5 {
		if id == 0 {
			doubling = append(doubling, node(0, true, outside))
		} else {
			doubling = append(doubling, node(id, true, id-1, id-1))
		}
	}
	for name, c := range map[string]struct {
		nodes []*Node
		want  bool
	}{
		"a line":                    {[]*Node{node(0, true, outside), node(1, true, 0), node(2, true, 1)}, true},
		"one that can grow":         {[]*Node{node(0, true, outside), node(1, false, 0)}, false},
		"a merger of many others":   {[]*Node{node(0, true, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99)}, true},
		"a diamond":                 {[]*Node{node(0, true, outside), node(1, true, 0), node(2, true, 0), node(3, true, 1, 2)}, true},
		"three doublings":           {doubling[:4], true},
		"four doublings":            {doubling, false},
		"a source, and its mergers": {[]*Node{node(0, true), node(1, true, 0, 0), node(2, true, 1, 1)}, true},
	} {
		if got := (&Chain{Nodes: c.nodes}).Bounded(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
