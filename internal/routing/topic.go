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
	hasher  hasher
	root    node
	rests   ids           // of the nodes below #
	pattern []string      // of the binding at hand
	version atomic.Uint64 // of all of it: see keyCache
}

// node is where the patterns are that begin with the words on the way to it.
type node struct {
	here  targetList // of the patterns that end here
	tail  targetList // of those that end with # after here
	words smap[string, node]
	star  atomic.Pointer[node]
	rest  atomic.Pointer[restNode]
}

// restNode is the node below a # that is not the last. It has words alone.
type restNode struct {
	words smap[string, node]
	id    uint32
}

func (n *node) empty() bool {
	return n.here.empty() && n.tail.empty() && n.words.live == 0 && n.star.Load() == nil && n.rest.Load() == nil
}

func (x *topicIndex) add(b *bound) {
	x.pattern = appendPattern(x.pattern[:0], b.Key)
	x.grow(&x.root, x.pattern, b.target)
	x.version.Add(1)
}

func (x *topicIndex) remove(b *bound) {
	x.pattern = appendPattern(x.pattern[:0], b.Key)
	x.prune(&x.root, x.pattern, b.target)
	x.version.Add(1)
}

// grow adds a target to what is below a node, and makes the nodes on the way
// that are missing.
func (x *topicIndex) grow(n *node, pattern []string, t *Target) {
	for len(pattern) > 0 {
		if pattern[0] == "#" {
			if len(pattern) == 1 {
				n.tail.add(t)
				return
			}
			if n.rest.Load() == nil {
				n.rest.Store(&restNode{id: x.rests.take()})
			}
			n, pattern = x.word(&n.rest.Load().words, pattern[1]), pattern[2:]
			continue
		}
		if pattern[0] != "*" {
			n, pattern = x.word(&n.words, pattern[0]), pattern[1:]
			continue
		}
		if n.star.Load() == nil {
			n.star.Store(new(node))
		}
		n, pattern = n.star.Load(), pattern[1:]
	}
	n.here.add(t)
}

func (x *topicIndex) word(words *smap[string, node], word string) *node {
	return words.getOrPut(x.hasher.of(word), word)
}

// prune takes a target from what is below a node, and away the nodes on the way
// to it that nothing is left of. A router that is there meanwhile goes on with
// what it holds.
func (x *topicIndex) prune(n *node, pattern []string, t *Target) {
	switch {
	case len(pattern) == 0:
		n.here.remove(t)
	case pattern[0] == "#" && len(pattern) == 1:
		n.tail.remove(t)
	case pattern[0] == "#":
		rest := n.rest.Load()
		x.pruneWord(&rest.words, pattern[1:], t)
		if rest.words.live == 0 {
			n.rest.Store(nil)
			x.rests.give(rest.id)
		}
	case pattern[0] == "*":
		star := n.star.Load()
		x.prune(star, pattern[1:], t)
		if star.empty() {
			n.star.Store(nil)
		}
	default:
		x.pruneWord(&n.words, pattern, t)
	}
}

func (x *topicIndex) pruneWord(words *smap[string, node], pattern []string, t *Target) {
	hash := x.hasher.of(pattern[0])
	child := words.get(hash, pattern[0])
	x.prune(child, pattern[1:], t)
	if child.empty() {
		words.delete(hash, pattern[0])
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
	version, hash := x.version.Load(), x.hasher.of(key)
	e := r.cache.at(hash)
	again := e.came(x, version, hash)
	if again {
		if targets, ok := e.targets(key); ok {
			r.reachAll(targets)
			return
		}
	}
	r.walk.begin(x.hasher, key)
	r.walk.visit(&x.root, 0)
	r.reachAll(r.walk.found)
	if again {
		e.keep(key, r.walk.found)
	}
}

// walk is one way through a trie. Its memory serves for the next.
type walk struct {
	hasher hasher
	words  []word // of the key
	rests  marks  // nodes below # that were visited
	found  []*Target
}

// word is a word of a key, with its hash once that was needed.
type word struct {
	text string
	hash uint64 // 0: not yet known
}

func (w *walk) begin(h hasher, key string) {
	w.hasher = h
	w.rests.reset()
	w.found = w.found[:0]
	w.words = w.words[:0]
	if key == "" {
		return
	}
	begin := 0
	for i := range len(key) {
		if key[i] == '.' {
			w.words = append(w.words, word{text: key[begin:i]})
			begin = i + 1
		}
	}
	w.words = append(w.words, word{text: key[begin:]})
}

// visit finds what is below a node to which the words before i have led.
func (w *walk) visit(n *node, i int) {
	w.found = n.tail.appendTo(w.found)
	if rest := n.rest.Load(); rest != nil && w.rests.add(rest.id) {
		for j := i; j < len(w.words); j++ {
			w.visitWord(&rest.words, j)
		}
	}
	if i == len(w.words) {
		w.found = n.here.appendTo(w.found)
		return
	}
	w.visitWord(&n.words, i)
	if star := n.star.Load(); star != nil {
		w.visit(star, i+1)
	}
}

func (w *walk) visitWord(words *smap[string, node], i int) {
	word := &w.words[i]
	if word.hash == 0 {
		word.hash = w.hasher.of(word.text)
	}
	if child := words.get(word.hash, word.text); child != nil {
		w.visit(child, i+1)
	}
}

// appendPattern appends the words of a binding key in normal form: of wildcards
// in a row the * come first, and then at most one #. "#.*" asks for one word or
// more, and so does "*.#".
func appendPattern(out []string, key string) []string {
	rest := false // a # is owed
	for more := key != ""; more; {
		var word string
		word, key, more = strings.Cut(key, ".")
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
