package dataflow

import (
	"fmt"
	"slices"
)

// Plan says how the nodes of a graph are fused into chains, and how the chains
// are connected. A chain runs as one or more tasks, each an actor; inside a
// task, operators call each other directly.
type Plan struct {
	Nodes  []*Node
	Chains []*Chain
	Wires  []*Wire
}

// Chain is a run of nodes that share their tasks.
type Chain struct {
	ID          int
	Nodes       []*Node // in topological order
	Parallelism int     // tasks
	Source      *Node   // set when the chain begins with a source
	Sink        *Node   // set when the chain is nothing but a sink
	In, Out     []*Wire
}

// Name is the name of the chain's first node.
func (c *Chain) Name() string { return c.Nodes[0].Name }

// pathsMax is by how many ways a batch may come to the same operator of a chain for
// the chain to be bounded: 8.
const pathsMax = 8

// Bounded says whether a batch gives rise to no more than a few batches of its
// size, and nothing else does either. A stream that is split and merged again has
// each record once for every way there is.
func (c *Chain) Bounded() bool {
	paths := map[int]int{}
	for _, n := range c.Nodes {
		outside := 0
		for _, in := range n.Inputs {
			if within, ok := paths[in.Node]; ok {
				paths[n.ID] += within
			} else {
				outside = 1 // a batch comes from one place
			}
		}
		paths[n.ID] = max(1, paths[n.ID]+outside)
		if !n.Bounded || paths[n.ID] > pathsMax {
			return false
		}
	}
	return true
}

// Origins are the ids of what a task of the chain receives from: the channels of
// its wires, in order. Those of a source are its splits, which it has to find.
func (c *Chain) Origins() []string {
	var all []string
	for _, w := range c.In {
		for i := range w.From.Parallelism {
			all = append(all, fmt.Sprintf("%s/%d/%d", w.Node.Name, w.Port, i))
		}
	}
	return all
}

// Wire connects an output of a chain to the inputs of another. Every task of
// From has a sender, every task of To a head with one channel per task of From.
type Wire struct {
	ID       int
	From, To *Chain
	Node     *Node // whose output it is
	Port     int
	Key      *Node // the Exchange in between, or nil
	Link     Link
	Readers  []Reader // in To
}

// Reader is an input of a node.
type Reader struct {
	Node  *Node
	Input int
}

// NewPlan plans a graph whose nodes are sorted so that inputs come first.
// parallelism is the default number of tasks; splits, by source node, limits
// the tasks of sources (a source that is missing there is not limited).
func NewPlan(nodes []*Node, parallelism int, splits map[int]int) (*Plan, error) {
	p := &planner{Plan: Plan{Nodes: nodes}, of: map[int]*Chain{}, byKey: map[int]*Chain{},
		parallelism: max(parallelism, 1), splits: splits}
	for _, n := range nodes {
		if err := p.place(n); err != nil {
			return nil, err
		}
	}
	for _, n := range nodes {
		p.wire(n)
	}
	return &p.Plan, nil
}

type planner struct {
	Plan
	of          map[int]*Chain // chain of each node
	byKey       map[int]*Chain // chain of each Exchange's readers
	parallelism int
	splits      map[int]int
}

func (p *planner) place(n *Node) error {
	switch n.Role {
	case Source:
		c := p.open(n, p.sourceTasks(n))
		c.Source = n
	case Exchange:
		// An Exchange is a wire, not a place.
	case Sink:
		p.placeSink(n)
	default:
		return p.placeOperator(n)
	}
	return nil
}

func (p *planner) open(n *Node, parallelism int) *Chain {
	c := &Chain{ID: len(p.Chains), Parallelism: parallelism}
	p.Chains = append(p.Chains, c)
	p.join(n, c)
	return c
}

func (p *planner) join(n *Node, c *Chain) {
	c.Nodes = append(c.Nodes, n)
	p.of[n.ID] = c
}

func (p *planner) tasks(n *Node) int {
	if n.Parallelism > 0 {
		return n.Parallelism
	}
	return p.parallelism
}

func (p *planner) sourceTasks(n *Node) int {
	want := p.tasks(n)
	if s, ok := p.splits[n.ID]; ok {
		return max(1, min(want, s))
	}
	return want
}

// upstream is the chain that feeds an input, past an Exchange.
func (p *planner) upstream(in Input) *Chain {
	n := p.Nodes[in.Node]
	if n.Role == Exchange {
		return p.of[n.Inputs[0].Node]
	}
	return p.of[n.ID]
}

func (p *planner) placeSink(n *Node) {
	up, info := p.upstream(n.Inputs[0]), n.Sink.Info()
	want := n.Parallelism
	if want == 0 {
		want = up.Parallelism
	}
	if info.MaxParallelism > 0 {
		want = min(want, info.MaxParallelism)
	}
	if info.Inline && want == up.Parallelism {
		p.join(n, up)
		return
	}
	p.open(n, want).Sink = n
}

func (p *planner) placeOperator(n *Node) error {
	for _, in := range n.Inputs {
		key := p.Nodes[in.Node]
		if key.Role != Exchange {
			continue
		}
		if c := p.byKey[key.ID]; c != nil {
			p.join(n, c)
		} else {
			p.byKey[key.ID] = p.open(n, p.tasks(key))
		}
		return nil
	}
	if len(n.Inputs) == 0 {
		return fmt.Errorf("operator %q has no input", n.Name)
	}
	if up := p.upstream(n.Inputs[0]); p.fuses(n, up) {
		p.join(n, up)
	} else {
		p.open(n, p.tasks(n))
	}
	return nil
}

func (p *planner) fuses(n *Node, up *Chain) bool {
	if n.Alone || (n.Parallelism > 0 && n.Parallelism != up.Parallelism) {
		return false
	}
	return !slices.ContainsFunc(n.Inputs, func(in Input) bool { return p.upstream(in) != up })
}

// wire connects a node's inputs that come from other chains.
func (p *planner) wire(n *Node) {
	to := p.of[n.ID]
	if to == nil {
		return
	}
	for i, in := range n.Inputs {
		src := p.Nodes[in.Node]
		r := Reader{Node: n, Input: i}
		if src.Role == Exchange {
			w := p.keyWire(src, to)
			w.Readers = append(w.Readers, r)
		} else if p.of[src.ID] != to {
			w := p.addWire(&Wire{From: p.of[src.ID], To: to, Node: src, Port: in.Port, Link: src.Outputs[in.Port].Link})
			w.Readers = append(w.Readers, r)
		}
	}
}

func (p *planner) keyWire(key *Node, to *Chain) *Wire {
	for _, w := range to.In {
		if w.Key == key {
			return w
		}
	}
	in := key.Inputs[0]
	return p.addWire(&Wire{From: p.upstream(in), To: to, Node: p.Nodes[in.Node], Port: in.Port, Key: key,
		Link: key.Outputs[0].Link})
}

func (p *planner) addWire(w *Wire) *Wire {
	w.ID = len(p.Wires)
	p.Wires = append(p.Wires, w)
	w.From.Out = append(w.From.Out, w)
	w.To.In = append(w.To.In, w)
	return w
}
