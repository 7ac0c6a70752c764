package topology

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/dataflow"
)

// MistakesError is what Build returns: all that is wrong with a topology.
type MistakesError struct {
	Topology string
	Mistakes []error
}

// Error lists the mistakes, one a line.
func (e *MistakesError) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = "  " + m.Error()
	}
	return fmt.Sprintf("topology %q cannot be built:\n%s", e.Topology, strings.Join(lines, "\n"))
}

// Unwrap returns the mistakes.
func (e *MistakesError) Unwrap() []error { return e.Mistakes }

// Build checks the topology and returns its graph. The error is a
// *MistakesError with every mistake there is. The builder can be used further;
// the graph does not change with it.
func (b *Builder) Build() (*Graph, error) {
	if b == nil {
		return nil, errors.New("there is no topology to build: the builder is nil")
	}
	mistakes := slices.Concat(b.mistakes, b.missingEnds(), b.unread(), b.tooParallel(), b.mixedTopics(),
		b.mixedSplits(), b.untimed())
	if len(mistakes) > 0 {
		return nil, &MistakesError{Topology: b.name, Mistakes: mistakes}
	}
	return &Graph{name: b.name, keyGroups: b.keyGroups, nodes: slices.Clone(b.nodes)}, nil
}

func (b *Builder) missingEnds() (mistakes []error) {
	has := func(r dataflow.Role) bool {
		return slices.ContainsFunc(b.nodes, func(n *dataflow.Node) bool { return n.Role == r })
	}
	if !has(dataflow.Source) {
		mistakes = append(mistakes, fmt.Errorf("topology %q has no source: begin it with From", b.name))
	}
	if !has(dataflow.Sink) {
		mistakes = append(mistakes, fmt.Errorf("topology %q has no sink: end it with To", b.name))
	}
	return mistakes
}

// unread reports the outputs that nobody reads: what comes out there would be
// lost without a word.
func (b *Builder) unread() (mistakes []error) {
	read := map[dataflow.Input]bool{}
	for _, n := range b.nodes {
		for _, in := range n.Inputs {
			read[in] = true
		}
	}
	for _, n := range b.nodes {
		for port, out := range n.Outputs {
			if !out.Optional && !read[dataflow.Input{Node: n.ID, Port: port}] {
				mistakes = append(mistakes, fmt.Errorf("%s %q %s", n.Kind, n.Name, leadsNowhere(n, port)))
			}
		}
	}
	return mistakes
}

func leadsNowhere(n *dataflow.Node, port int) string {
	switch name := n.Outputs[port].Name; {
	case n.Role == dataflow.Exchange:
		return "leads nowhere: read it with Fold, WindowFold or Process"
	case n.Kind == "try" && name == "failed":
		return "fails into nowhere: write its failed records to a sink"
	case name != "":
		return fmt.Sprintf("has a stream %q that leads nowhere: read it with an operator, or write it to a sink", name)
	default:
		return "leads nowhere: read it with an operator, or write it to a sink"
	}
}

func (b *Builder) tooParallel() (mistakes []error) {
	for _, n := range b.nodes {
		if n.Role == dataflow.Exchange && n.Parallelism > b.keyGroups {
			mistakes = append(mistakes, fmt.Errorf(
				"%s %q: Parallelism is %d, but there are %d key groups: some tasks would have no keys, set KeyGroups or lower it",
				n.Kind, n.Name, n.Parallelism, b.keyGroups))
		}
	}
	return mistakes
}

// mixedTopics reports dead letters that would come out of a Through as if they
// were its records.
func (b *Builder) mixedTopics() (mistakes []error) {
	for _, n := range b.nodes {
		if n.Policy.Then == dataflow.ToTopic && b.topics[n.Policy.Topic] {
			mistakes = append(mistakes, fmt.Errorf(
				"%s %q sends its dead letters to topic %q, which a Through reads: give them a topic of their own",
				n.Kind, n.Name, n.Policy.Topic))
		}
	}
	return mistakes
}
