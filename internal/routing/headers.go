package routing

import (
	"slices"
	"strings"
)

// headerIndex finds the bindings of a headers exchange by the headers that they
// ask for, so that what a message costs depends on its headers and on the
// bindings that may match it, not on how many there are.
//
// A binding that any header satisfies is listed under each of its headers. One
// that needs all of them is listed under one, since without that it cannot
// match: under the one with the fewest bindings when it was made. A header of
// which only the presence counts is listed as void.
type headerIndex struct {
	hasher hasher
	byPair smap[pair, cow[*matcher]]
	always cow[*matcher] // need all of no headers
}

// pair is a header that a binding asks for; any value will do for a void one.
type pair struct {
	name  string
	value Value
}

// matcher is a binding in the index.
type matcher struct {
	target *Target
	all    bool
	pairs  []pair // to match
	under  []pair // to be found
}

// The argument of a headers binding that says how it matches.
const matchArg = "x-match"

// matchArgs reads the arguments of a headers binding.
func matchArgs(args []Header) (pairs []pair, all bool, err error) {
	mode := "all"
	if i := slices.IndexFunc(args, func(a Header) bool { return a.Name == matchArg }); i >= 0 {
		if args[i].Value.Kind != TextKind {
			return nil, false, invalid("the argument x-match is %s, not a text", args[i].Value)
		}
		mode = args[i].Value.Text
	}
	how, withX := strings.CutSuffix(mode, "-with-x")
	if how != "all" && how != "any" {
		return nil, false, invalid("the argument x-match is %q: use all, any, all-with-x or any-with-x", mode)
	}
	for _, a := range args {
		if a.Name != matchArg && (withX || !strings.HasPrefix(a.Name, "x-")) {
			pairs = append(pairs, pair{a.Name, a.Value})
		}
	}
	return pairs, how == "all", nil
}

func (x *headerIndex) add(b *bound) {
	pairs, all, _ := matchArgs(b.Args) // checked before
	b.matcher = &matcher{target: b.target, all: all, pairs: pairs, under: pairs}
	if all && len(pairs) == 0 {
		x.always.add(b.matcher)
		return
	}
	if all {
		b.matcher.under = []pair{slices.MinFunc(pairs, func(p, q pair) int { return x.listed(p) - x.listed(q) })}
	}
	for _, p := range b.matcher.under {
		x.byPair.getOrPut(x.hash(p), p).add(b.matcher)
	}
}

func (x *headerIndex) remove(b *bound) {
	x.always.remove(b.matcher)
	for _, p := range b.matcher.under {
		hash := x.hash(p)
		list := x.byPair.get(hash, p)
		list.remove(b.matcher)
		if len(list.all()) == 0 {
			x.byPair.delete(hash, p)
		}
	}
}

// listed is how many bindings are listed under a pair.
func (x *headerIndex) listed(p pair) int {
	if list := x.byPair.get(x.hash(p), p); list != nil {
		return len(list.all())
	}
	return 0
}

func (x *headerIndex) hash(p pair) uint64 { return x.hashValue(x.hasher.of(p.name), p.value) }

// hashValue extends the hash of a name by that of a value.
func (x *headerIndex) hashValue(name uint64, v Value) uint64 {
	h := mix(name ^ v.Bits + uint64(v.Kind))
	if v.Kind == TextKind {
		h = mix(h ^ x.hasher.of(v.Text))
	}
	return h | 1<<63
}

func (x *headerIndex) route(r *Router) {
	x.candidates(r, x.always.all())
	for i := range r.message.Headers {
		h := &r.message.Headers[i]
		name := x.hasher.of(h.Name)
		x.lookup(r, x.hashValue(name, Value{}), pair{name: h.Name})
		if h.Value.Kind != VoidKind {
			x.lookup(r, x.hashValue(name, h.Value), pair{h.Name, h.Value})
		}
	}
}

func (x *headerIndex) lookup(r *Router, hash uint64, p pair) {
	if list := x.byPair.get(hash, p); list != nil {
		x.candidates(r, list.all())
	}
}

func (x *headerIndex) candidates(r *Router, list []*matcher) {
	for _, m := range list {
		if m.matches(r.message) {
			r.reach(m.target)
		}
	}
}

// matches is for messages that have one of the pairs.
func (m *matcher) matches(message *Message) bool {
	if !m.all {
		return true
	}
	for _, p := range m.pairs {
		if !message.has(p) {
			return false
		}
	}
	return true
}
