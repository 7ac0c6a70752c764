package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Diff says what becomes of the state of an older graph when a new one
// continues from it. Operators are matched by name. Listed are those that
// hold something: keyed state, the position of a source, the output of a sink.
type Diff struct {
	Kept    []Change
	Added   []Change
	Lost    []Change // the new graph has nothing of that name
	Changed []Change // the new graph cannot read it
}

// Change is one operator that holds something.
type Change struct {
	Node string
	Kind string
	What string // "state", "position" or "output"
	Why  string // of Changed: the difference
}

// Diff compares the graph with an older one.
func (g *Graph) Diff(old GraphJSON) Diff {
	var d Diff
	now := g.JSON()
	before, after := byName(old.Nodes), byName(now.Nodes)
	for _, n := range now.Nodes {
		was, known := before[n.Name]
		c := change(n)
		switch {
		case c.What == "":
		case !known || holds(was) == "":
			d.Added = append(d.Added, c)
		default:
			if c.Why = difference(was, n, old.KeyGroups, now.KeyGroups); c.Why != "" {
				d.Changed = append(d.Changed, c)
			} else {
				d.Kept = append(d.Kept, c)
			}
		}
	}
	for _, n := range old.Nodes {
		if c := change(n); c.What != "" && holds(after[n.Name]) == "" {
			d.Lost = append(d.Lost, c)
		}
	}
	return d
}

func byName(nodes []NodeJSON) map[string]NodeJSON {
	m := make(map[string]NodeJSON, len(nodes))
	for _, n := range nodes {
		m[n.Name] = n
	}
	return m
}

func change(n NodeJSON) Change { return Change{Node: n.Name, Kind: n.Kind, What: holds(n)} }

func holds(n NodeJSON) string {
	switch {
	case n.Kind == "source":
		return "position"
	case n.Kind == "sink":
		return "output"
	case n.State != "":
		return "state"
	default:
		return ""
	}
}

// difference says why a node cannot continue from what one of its name left.
func difference(was, is NodeJSON, oldGroups, newGroups int) string {
	switch {
	case was.Kind != is.Kind:
		return fmt.Sprintf("it was a %s", was.Kind)
	case was.Topic != is.Topic:
		return fmt.Sprintf("its topic was %q and is %q", was.Topic, is.Topic)
	case was.State != is.State:
		return fmt.Sprintf("its state was %s and is %s", was.State, is.State)
	case is.State != "" && oldGroups != newGroups:
		return fmt.Sprintf("there were %d key groups and are %d", oldGroups, newGroups)
	default:
		return otherForm(was.Forms, is.Forms)
	}
}

// otherForm says which of the types in the state can no longer take what is stored.
// A key must store the same bytes: its key group follows from them.
func otherForm(was, is map[string]*StateForm) string {
	for _, part := range slices.Sorted(maps.Keys(is)) {
		old, now := was[part], is[part]
		if old == nil {
			continue
		}
		why := old.Into(now)
		if part == keyForm && why == "" && !old.Same(now) {
			why = "has other fields, or wider ones, and keys must stay as they are"
		}
		if why != "" {
			return fmt.Sprintf("its %s cannot take what is stored: %s", part, why)
		}
	}
	return ""
}

// Compatible says whether the new graph can continue without losing anything.
func (d Diff) Compatible() bool { return len(d.Lost) == 0 && len(d.Changed) == 0 }

// String lists the changes, one a line.
func (d Diff) String() string {
	var w strings.Builder
	list := func(verb, why string, changes []Change) {
		for _, c := range changes {
			fmt.Fprintf(&w, "%-7s  %s of %s %q", verb, c.What, c.Kind, c.Node)
			if c.Why+why != "" {
				fmt.Fprintf(&w, ": %s", c.Why+why)
			}
			w.WriteByte('\n')
		}
	}
	list("kept", "", d.Kept)
	list("added", "", d.Added)
	list("changed", "", d.Changed)
	list("lost", "nothing has that name any more", d.Lost)
	return w.String()
}
