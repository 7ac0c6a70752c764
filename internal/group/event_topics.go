package group

import (
	"slices"
	"strings"
)

// resized: a topic is known, or has more partitions.
type resized struct {
	name       string
	partitions int
}

func (resized) kind() byte { return kindResized }

func (e resized) put(w *writer) {
	w.text(e.name)
	w.num(uint64(e.partitions))
}

func readResized(r *reader) event {
	e := resized{name: r.text()}
	n, total := r.num(), r.g.partitions
	t := r.g.topics[e.name]
	if t != nil {
		total -= len(t.parts)
	}
	if e.name == "" || n == 0 || n > uint64(maxPartitions-total) || t != nil && n < uint64(len(t.parts)) {
		r.fail("topic %.40q cannot have %d partitions", e.name, n)
		return e
	}
	e.partitions = int(n)
	return e
}

func (e resized) apply(g *Group) {
	t := g.topics[e.name]
	if t == nil {
		t = &topic{name: e.name}
		g.topics[e.name] = t
		i, _ := slices.BinarySearchFunc(g.sorted, t, compareTopics)
		g.sorted = slices.Insert(g.sorted, i, t)
		g.size += topicSize + len(t.name)
	}
	more := e.partitions - len(t.parts)
	g.partitions += more
	g.size += partSize * more
	t.parts = slices.Grow(t.parts, more)
	for i := len(t.parts); i < e.partitions; i++ {
		t.parts = append(t.parts, &part{topic: t, index: i})
	}
}

// forgotten: the topic is not known any more.
type forgotten struct{ topic *topic }

func (forgotten) kind() byte { return kindForgotten }

func (e forgotten) put(w *writer) { w.text(e.topic.name) }

func (e forgotten) apply(g *Group) {
	t := e.topic
	for _, p := range t.parts {
		if p.owner != nil {
			p.disown()
		}
		for id, k := range p.parked {
			g.unpark(p, id, k)
		}
		g.size -= len(p.metadata)
	}
	for _, m := range g.members {
		if i := slices.Index(m.topics, t); i >= 0 {
			m.topics = slices.Concat(m.topics[:i], m.topics[i+1:])
			g.size -= joinSize
		}
	}
	g.size -= topicSize + len(t.name) + partSize*len(t.parts)
	g.partitions -= len(t.parts)
	delete(g.topics, t.name)
	g.sorted = slices.DeleteFunc(g.sorted, func(o *topic) bool { return o == t })
}

// isAscending says whether each item is above the one before.
func isAscending[T any](items []T, compare func(a, b T) int) bool {
	for i := 1; i < len(items); i++ {
		if compare(items[i-1], items[i]) >= 0 {
			return false
		}
	}
	return true
}

func compareTopics(a, b *topic) int {
	return strings.Compare(a.name, b.name)
}
