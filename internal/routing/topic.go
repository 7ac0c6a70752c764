package routing

import (
	"strings"
	"sync/atomic"
)

// topicIndex is a trie of the words of patterns. RabbitMQ keeps the same one
// ("Very fast and scalable topic routing", RabbitMQ blog, 2010), and like the
// engine described there this one walks it depth first. What is added is that no
// walk is ever long: the patterns are in normal form, in which # is followed by
// a plain word or by nothing, and a node below # is visited once per walk.
//
// That once is enough: a # takes all the words there are from where it is
// reached, so reaching it again further on finds nothing new; and it is reached
// first where the fewest words are behind, because each # before it on its path,
// and there is only one path to a node, tries the words in their order. Between
// two # a path is as long as its words. So a node is visited at most once for
// each word, and a walk takes at most as many steps as the key has words times
// the nodes of the trie.
type topicIndex struct {
	hasher hasher
	root   node
	rests  ids // of the nodes below #
}

// node is where the patterns are that begin with the words on the way to it.
type node struct {
	here  cow[*Target] // of the patterns that end here
	words atomic.Pointer[smap[string, node]]
	star  atomic.Pointer[node]
	rest  atomic.Pointer[restNode]
}

// restNode is the node below #.
type restNode struct {
	node
	id uint32
}

func (n *node) empty() bool {
	return len(n.here.all()) == 0 && n.words.Load() == nil && n.star.Load() == nil && n.rest.Load() == nil
}

func (x *topicIndex) add(b *bound)    { x.grow(&x.root, patternOf(b.Key)).here.add(b.target) }
func (x *topicIndex) remove(b *bound) { x.prune(&x.root, patternOf(b.Key), b.target) }

// grow returns the node of a pattern, and makes the nodes on the way that are
// missing.
func (x *topicIndex) grow(n *node, pattern []string) *node {
	for _, word := range pattern {
		n = x.child(n, word)
	}
	return n
}

func (x *topicIndex) child(n *node, word string) *node {
	switch word {
	case "*":
		if n.star.Load() == nil {
			n.star.Store(new(node))
		}
		return n.star.Load()
	case "#":
		if n.rest.Load() == nil {
			n.rest.Store(&restNode{id: x.rests.take()})
		}
		return &n.rest.Load().node
	}
	if n.words.Load() == nil {
		n.words.Store(new(smap[string, node]))
	}
	return n.words.Load().getOrPut(x.hasher.of(word), word)
}

// prune takes a target from the node of a pattern, and away the nodes on the way
// to it that nothing is left of. A router that is there meanwhile goes on with
// what it holds.
func (x *topicIndex) prune(n *node, pattern []string, t *Target) {
	if len(pattern) == 0 {
		n.here.remove(t)
		return
	}
	word, pattern := pattern[0], pattern[1:]
	child := x.child(n, word)
	x.prune(child, pattern, t)
	if child.empty() {
		x.cut(n, word)
	}
}

func (x *topicIndex) cut(n *node, word string) {
	switch word {
	case "*":
		n.star.Store(nil)
	case "#":
		x.rests.give(n.rest.Load().id)
		n.rest.Store(nil)
	default:
		words := n.words.Load()
		words.delete(x.hasher.of(word), word)
		if words.live == 0 {
			n.words.Store(nil)
		}
	}
}

func (x *topicIndex) route(r *Router) {
	x.routeKey(r, r.message.Key)
	for _, key := range r.message.CC {
		x.routeKey(r, key)
	}
	for _, key := range r.message.BCC {
		x.routeKey(r, key)
	}
}

func (x *topicIndex) routeKey(r *Router, key string) {
	r.split(key)
	x.walk(r, &x.root, 0)
}

// walk reaches what is below a node to which the words before i have led.
func (x *topicIndex) walk(r *Router, n *node, i int) {
	if rest := n.rest.Load(); rest != nil {
		x.walkRest(r, rest, i)
	}
	if i == len(r.words) {
		r.reachAll(n.here.all())
		return
	}
	if words := n.words.Load(); words != nil {
		w := r.word(i)
		if child := words.get(w.hash, w.text); child != nil {
			x.walk(r, child, i+1)
		}
	}
	if star := n.star.Load(); star != nil {
		x.walk(r, star, i+1)
	}
}

// walkRest reaches what is below #: the patterns that end with it, and those that
// go on with one of the words from i on.
func (x *topicIndex) walkRest(r *Router, n *restNode, i int) {
	if !r.rests.add(n.id) {
		return
	}
	r.reachAll(n.here.all())
	words := n.words.Load()
	if words == nil {
		return
	}
	for ; i < len(r.words); i++ {
		w := r.word(i)
		if child := words.get(w.hash, w.text); child != nil {
			x.walk(r, child, i+1)
		}
	}
}

// patternOf returns the words of a binding key in normal form: of wildcards in a
// row the * come first, and then at most one #. "#.*" asks for one word or more,
// and so does "*.#".
func patternOf(key string) []string {
	words := wordsOf(key)
	out := words[:0]
	rest := false // a # is owed
	for _, word := range words {
		switch {
		case word == "#":
			rest = true
			continue
		case word != "*" && rest:
			out = append(out, "#")
			rest = false
		}
		out = append(out, word)
	}
	if rest {
		out = append(out, "#")
	}
	return out
}

// wordsOf returns what is between the dots of a key. The empty key has no words.
func wordsOf(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}
