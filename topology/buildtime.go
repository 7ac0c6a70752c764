package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Kinds of nodes that Build looks for.
const (
	kindEventTime  = "event-time"
	kindWindowFold = "window-fold"
)

// untimed reports the windows that would never close, because a source leads to
// them past every EventTime. One such way is enough: event time advances with the
// slowest stream.
func (b *Builder) untimed() (mistakes []error) {
	for _, n := range b.nodes {
		if n.Kind != kindWindowFold {
			continue
		}
		sources, _ := b.behind(n, func(up *dataflow.Node) bool { return up.Kind == kindEventTime })
		for _, s := range sources {
			mistakes = append(mistakes, fmt.Errorf("%s %q: its windows would never close, since there is no EventTime between %s and it: %s",
				n.Kind, n.Name, beginning(s), addEventTime(s)))
		}
	}
	return mistakes
}

func addEventTime(s *dataflow.Node) string {
	if s.Topic != "" {
		return "event time does not go through a topic, put another EventTime behind it"
	}
	return "put one in front of the KeyBy, and of a Merge"
}

// mixedSplits reports the EventTimes that could not tell splits apart. An EventTime
// keeps the time of every split, so it has to be in the tasks that read the source:
// what comes from other tasks is a mixture of splits that differs from run to run.
func (b *Builder) mixedSplits() (mistakes []error) {
	for _, n := range b.nodes {
		if n.Kind != kindEventTime {
			continue
		}
		sources, exchanges := b.behind(n, func(*dataflow.Node) bool { return false })
		where, mend := "", ""
		switch {
		case len(exchanges) > 0:
			key := exchanges[len(exchanges)-1]
			where, mend = fmt.Sprintf("behind %s %q", key.Kind, key.Name), "put it in front of the KeyBy"
		case len(sources) > 1:
			where, mend = "behind a Merge of "+beginnings(sources), "put an EventTime behind each of them, in front of the Merge"
		default:
			continue
		}
		mistakes = append(mistakes, fmt.Errorf("%s %q: %s the splits of a source cannot be told apart, and what is late would depend on parallelism and timing: %s",
			n.Kind, n.Name, where, mend))
	}
	return mistakes
}

// behind walks back from a node, but not past those at which stop holds, and returns
// the sources and exchanges that it meets, in the order of their declaration.
func (b *Builder) behind(n *dataflow.Node, stop func(*dataflow.Node) bool) (sources, exchanges []*dataflow.Node) {
	seen := map[int]bool{}
	for todo := []*dataflow.Node{n}; len(todo) > 0; {
		inputs := todo[len(todo)-1].Inputs
		todo = todo[:len(todo)-1]
		for _, in := range inputs {
			up := b.nodes[in.Node]
			if seen[up.ID] || stop(up) {
				continue
			}
			seen[up.ID] = true
			todo = append(todo, up)
			switch up.Role {
			case dataflow.Source:
				sources = append(sources, up)
			case dataflow.Exchange:
				exchanges = append(exchanges, up)
			}
		}
	}
	byID := func(a, b *dataflow.Node) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(sources, byID)
	slices.SortFunc(exchanges, byID)
	return sources, exchanges
}

// beginning names a source as its user did.
func beginning(s *dataflow.Node) string {
	if s.Topic != "" {
		return fmt.Sprintf("through %q", strings.TrimSuffix(s.Name, readSuffix))
	}
	return fmt.Sprintf("source %q", s.Name)
}

func beginnings(all []*dataflow.Node) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = beginning(s)
	}
	return strings.Join(names, " and ")
}
