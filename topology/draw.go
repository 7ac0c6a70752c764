package topology

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Mermaid draws the graph as a Mermaid flowchart.
func (g *Graph) Mermaid() string {
	var w strings.Builder
	w.WriteString("flowchart LR\n")
	for _, n := range g.nodes {
		left, right := mermaidShape(n)
		fmt.Fprintf(&w, "    n%d%s%s%s\n", n.ID, left, mermaidText(n.Name+"<br/>"+n.Kind), right)
	}
	for i, t := range g.throughs() {
		fmt.Fprintf(&w, "    t%d[(%s)]\n", i, mermaidText(t.name))
		fmt.Fprintf(&w, "    n%d --> t%d --> n%d\n", t.write, i, t.read)
	}
	for _, e := range g.edges() {
		fmt.Fprintf(&w, "    n%d -->|%s| n%d\n", e.from, mermaidText(e.label), e.to)
	}
	return w.String()
}

func mermaidShape(n *dataflow.Node) (left, right string) {
	switch {
	case n.Role == dataflow.Source:
		return "([", "])"
	case n.Role == dataflow.Sink:
		return "[[", "]]"
	case n.Role == dataflow.Exchange:
		return "{{", "}}"
	case n.State != "":
		return "[(", ")]"
	default:
		return "[", "]"
	}
}

var mermaidEscapes = strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<br/>", "<br/>", "<", "#lt;", ">", "#gt;")

func mermaidText(s string) string { return `"` + mermaidEscapes.Replace(s) + `"` }

// DOT draws the graph for Graphviz.
func (g *Graph) DOT() string {
	var w strings.Builder
	fmt.Fprintf(&w, "digraph %s {\n    rankdir=LR;\n", strconv.Quote(g.name))
	for _, n := range g.nodes {
		fmt.Fprintf(&w, "    n%d [label=%s, shape=%s];\n", n.ID, strconv.Quote(n.Name+"\n"+n.Kind), dotShape(n))
	}
	for i, t := range g.throughs() {
		fmt.Fprintf(&w, "    t%d [label=%s, shape=cylinder];\n", i, strconv.Quote(t.name))
		fmt.Fprintf(&w, "    n%d -> t%d -> n%d;\n", t.write, i, t.read)
	}
	for _, e := range g.edges() {
		fmt.Fprintf(&w, "    n%d -> n%d [label=%s];\n", e.from, e.to, strconv.Quote(e.label))
	}
	w.WriteString("}\n")
	return w.String()
}

func dotShape(n *dataflow.Node) string {
	switch {
	case n.Role == dataflow.Source:
		return "oval"
	case n.Role == dataflow.Sink:
		return "box3d"
	case n.Role == dataflow.Exchange:
		return "hexagon"
	case n.State != "":
		return "cylinder"
	default:
		return "box"
	}
}

// Text lists the graph, one operator a line.
func (g *Graph) Text() string {
	var w strings.Builder
	t := tabwriter.NewWriter(&w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tREADS\tGIVES")
	for _, n := range g.nodes {
		d := g.describe(n)
		gives := make([]string, len(d.Gives))
		for i, out := range d.Gives {
			gives[i] = strings.TrimPrefix(out.Name+": "+out.Type, ": ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", n.Name, n.Kind, orDash(d.Reads), orDash(gives))
	}
	_ = t.Flush() // into a strings.Builder, which takes everything
	return w.String()
}

func orDash(s []string) string {
	if len(s) == 0 {
		return "-"
	}
	return strings.Join(s, ", ")
}

type edge struct {
	from, to int
	label    string
}

func (g *Graph) edges() (edges []edge) {
	for _, n := range g.nodes {
		for _, in := range n.Inputs {
			out := g.nodes[in.Node].Outputs[in.Port]
			label := out.Type
			if out.Name != "" {
				label = out.Name + ": " + label
			}
			edges = append(edges, edge{in.Node, n.ID, label})
		}
	}
	return edges
}

// topicNode is a topic as drawings show it: between the halves of a Through.
type topicNode struct {
	name        string
	write, read int
}

func (g *Graph) throughs() (topics []topicNode) {
	at := map[string]int{}
	for _, n := range g.nodes {
		switch {
		case n.Topic == "":
		case n.Role == dataflow.Sink:
			at[n.Topic] = len(topics)
			topics = append(topics, topicNode{name: n.Topic, write: n.ID})
		default:
			topics[at[n.Topic]].read = n.ID
		}
	}
	return topics
}
