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
	w.Text(e.name)
	w.Num(uint64(e.partitions))
}

func readResized(r *reader) event {
	e := resized{name: r.Text()}
	if e.partitions = r.partitions(e.name); r.Err() == nil {
		if t := r.g.topics[e.name]; t != nil && e.partitions < len(t.parts) {
			r.Fail("topic %.40q cannot have %d partitions, it has %d", e.name, e.partitions, len(t.parts))
		}
	}
	return e
}

// partitions reads how many partitions a topic is to have.
func (r *reader) partitions(name string) int {
	n, total := r.Num(), r.g.partitions
	if t := r.g.topics[name]; t != nil {
		total -= len(t.parts)
	}
	if name == "" || n == 0 || n > uint64(maxPartitions-total) {
		r.Fail("topic %.40q cannot have %d partitions", name, n)
		return 0
	}
	return int(n)
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

// replaced: the topic is a new one. If one of that name was known, that is no more,
// and what was committed and parked of it went with it; who subscribes to the name
// subscribes to the new one.
type replaced struct {
	name        string
	partitions  int
	incarnation uint64
}

func (replaced) kind() byte { return kindReplaced }

func (e replaced) put(w *writer) {
	w.Text(e.name)
	w.Num(uint64(e.partitions))
	w.Num(e.incarnation)
}

func readReplaced(r *reader) event {
	e := replaced{name: r.Text()}
	e.partitions, e.incarnation = r.partitions(e.name), r.Num()
	if t := r.g.topics[e.name]; r.Err() == nil && (e.incarnation == 0 || t != nil && e.incarnation <= t.incarnation) {
		r.Fail("topic %.40q cannot have the incarnation %d", e.name, e.incarnation)
	}
	return e
}

func (e replaced) apply(g *Group) {
	if t := g.topics[e.name]; t != nil {
		g.empty(t)
	}
	resized{e.name, e.partitions}.apply(g)
	g.topics[e.name].incarnation = e.incarnation
}

// empty drops the partitions of a topic, with all that is known of them.
func (g *Group) empty(t *topic) {
	for _, p := range t.parts {
		if p.owner != nil {
			p.disown()
		}
		for id, k := range p.parked {
			g.unpark(p, id, k)
		}
		g.size -= len(p.metadata)
	}
	g.size -= partSize * len(t.parts)
	g.partitions -= len(t.parts)
	t.parts = nil
}

// forgotten: the topic is not known any more.
type forgotten struct{ topic *topic }

func (forgotten) kind() byte { return kindForgotten }

func (e forgotten) put(w *writer) { w.Text(e.topic.name) }

func (e forgotten) apply(g *Group) {
	t := e.topic
	g.empty(t)
	for _, m := range g.members {
		if i := slices.Index(m.topics, t); i >= 0 {
			m.topics = slices.Concat(m.topics[:i], m.topics[i+1:])
			g.size -= joinSize
		}
	}
	g.size -= topicSize + len(t.name)
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
