package routing

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive is a table as simple as can be: lists, and every binding is looked at.
type naive struct {
	exchanges map[string]Exchange
	targets   map[Destination]bool
	bindings  []Binding
}

// take follows the effects of a command.
func (n *naive) take(f failer, effects []Effect) {
	is := func(b Binding) func(Binding) bool { return func(o Binding) bool { return reflect.DeepEqual(b, o) } }
	for _, e := range effects {
		switch e := e.(type) {
		case ExchangeDeclared:
			n.exchanges[e.Name] = e.Exchange
		case ExchangeDeleted:
			delete(n.exchanges, e.Name)
		case TargetDeclared:
			n.targets[e.Destination] = true
		case TargetDeleted:
			delete(n.targets, e.Destination)
		case Bound:
			if slices.ContainsFunc(n.bindings, is(e.Binding)) {
				f.Fatalf("bound twice: %v", e)
			}
			n.bindings = append(n.bindings, e.Binding)
		case Unbound:
			before := len(n.bindings)
			if n.bindings = slices.DeleteFunc(n.bindings, is(e.Binding)); len(n.bindings) != before-1 {
				f.Fatalf("unbound what was not bound: %v", e)
			}
		}
	}
}

// sound says that no binding hangs in the air, and that no auto-delete exchange
// outlived the last of the bindings that it had.
func (n *naive) sound(f failer, had map[string]bool) {
	sources := map[string]bool{}
	for _, b := range n.bindings {
		sources[b.Source] = true
		_, from := n.exchanges[b.Source]
		_, to := n.exchanges[b.Name]
		if b.Kind != ToExchange {
			to = n.targets[b.Destination]
		}
		if !from || !to {
			f.Fatalf("%v hangs in the air", b)
		}
	}
	for name, x := range n.exchanges {
		if x.AutoDelete && had[name] && !sources[name] {
			f.Fatalf("%q has lost all its bindings and is still there", name)
		}
	}
	clear(had)
	for name := range sources {
		had[name] = true
	}
}

func (n *naive) route(exchange string, m Message) []string {
	reached := map[Destination]bool{}
	n.visit(exchange, m, reached, map[string]bool{})
	out := []string{}
	for d := range reached {
		out = append(out, d.Name)
	}
	slices.Sort(out)
	return out
}

func (n *naive) visit(name string, m Message, reached map[Destination]bool, seen map[string]bool) {
	x, ok := n.exchanges[name]
	if !ok || seen[name] {
		return
	}
	seen[name] = true
	next := n.matching(x, m)
	for _, d := range next {
		if d.Kind == ToExchange {
			n.visit(d.Name, m, reached, seen)
		} else {
			reached[d] = true
		}
	}
	if len(next) == 0 && x.Alternate != "" {
		n.visit(x.Alternate, m, reached, seen)
	}
}

func (n *naive) matching(x Exchange, m Message) (out []Destination) {
	keys := slices.Concat([]string{m.Key}, m.CC, m.BCC)
	weights := map[Destination]int{}
	for _, b := range n.bindings {
		if b.Source != x.Name {
			continue
		}
		takes := func(key string) bool {
			return x.Type == Direct && key == b.Key || x.Type == Topic && naiveTopic(b.Key, key)
		}
		if x.Type == Fanout || slices.ContainsFunc(keys, takes) || x.Type == Headers && naiveHeaders(b.Args, m.Headers) {
			out = append(out, b.Destination)
		}
		if x.Type == ConsistentHash {
			w, _ := weightOf(b.Key, &Limits{Weight: 1000})
			weights[b.Destination] += w
		}
	}
	if len(weights) > 0 {
		out = append(out, naiveChoice(weights, newHashOn(&x).hash(&m)))
	}
	return out
}

func naiveTopic(pattern, key string) bool { return naiveWords(wordsOf(pattern), wordsOf(key)) }

// wordsOf returns what is between the dots of a key. The empty key has no words.
func wordsOf(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

func naiveWords(pattern, words []string) bool {
	if len(pattern) == 0 {
		return len(words) == 0
	}
	if pattern[0] == "#" {
		return naiveWords(pattern[1:], words) || len(words) > 0 && naiveWords(pattern, words[1:])
	}
	return len(words) > 0 && (pattern[0] == "*" || pattern[0] == words[0]) && naiveWords(pattern[1:], words[1:])
}

func naiveHeaders(args, headers []Header) bool {
	mode := "all"
	asked, matched := 0, 0
	for _, a := range args {
		if a.Name == "x-match" {
			mode = a.Value.Text
		}
	}
	for _, a := range args {
		if a.Name == "x-match" || strings.HasPrefix(a.Name, "x-") && !strings.HasSuffix(mode, "with-x") {
			continue
		}
		asked++
		if slices.ContainsFunc(headers, func(h Header) bool {
			return h.Name == a.Name && (a.Value.Kind == VoidKind || a.Value == h.Value)
		}) {
			matched++
		}
	}
	if strings.HasPrefix(mode, "any") {
		return matched > 0
	}
	return matched == asked
}

func naiveChoice(weights map[Destination]int, hash uint64) (winner Destination) {
	best := math.Inf(1)
	for d, w := range weights {
		u := (float64(mix(hash^hashText(uint64(d.Kind), d.Name))>>11) + 0.5) / (1 << 53)
		if score := -math.Log(u) / float64(w); score < best {
			best, winner = score, d
		}
	}
	return winner
}

// Generators: few names and words, so that they meet.

var genKey = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", ""}), 0, 6).Draw(t, "words"), ".")
})

var genPattern = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "*", "#", "#"}), 0, 6).Draw(t, "pattern"), ".")
})

var genHeaders = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Header {
	return Header{
		rapid.SampledFrom([]string{"a", "b", "x-c"}).Draw(t, "header"),
		rapid.SampledFrom([]Value{Void(), Text("1"), Int(1), Float(1), Bool(true), Int(2)}).Draw(t, "value"),
	}
}), 0, 3, func(h Header) string { return h.Name })

var genArgs = rapid.Custom(func(t *rapid.T) []Header {
	args := slices.Clone(genHeaders.Draw(t, "args"))
	if mode := rapid.SampledFrom([]string{"", "all", "any", "all-with-x", "any-with-x"}).Draw(t, "mode"); mode != "" {
		args = append(args, Header{"x-match", Text(mode)})
	}
	return args
})

var genMessage = rapid.Custom(func(t *rapid.T) Message {
	return Message{
		Key:     genKey.Draw(t, "key"),
		CC:      rapid.SliceOfN(genKey, 0, 2).Draw(t, "cc"),
		BCC:     rapid.SliceOfN(genKey, 0, 1).Draw(t, "bcc"),
		Headers: genHeaders.Draw(t, "headers"),
		Inside:  true,
	}
})

var genExchangeName = rapid.SampledFrom([]string{"x1", "x2", "x3", "x4", "x5"})

var genTarget = rapid.Custom(func(t *rapid.T) Destination {
	return Destination{
		rapid.SampledFrom([]Kind{ToQueue, ToTopic}).Draw(t, "kind"),
		rapid.SampledFrom([]string{"q1", "q2", "q3"}).Draw(t, "name"),
	}
})

var genExchange = rapid.Custom(func(t *rapid.T) Exchange {
	x := Exchange{
		Name:       genExchangeName.Draw(t, "name"),
		Type:       ExchangeType(rapid.IntRange(int(Direct), int(ConsistentHash)).Draw(t, "type")),
		AutoDelete: rapid.Bool().Draw(t, "auto-delete"),
		Alternate:  rapid.SampledFrom([]string{"", "x1", "x2"}).Draw(t, "alternate"),
	}
	if x.Type == ConsistentHash && rapid.Bool().Draw(t, "by header") {
		x.HashHeader = "a"
	}
	return x
})

var genBinding = rapid.Custom(func(t *rapid.T) Binding {
	b := Binding{Source: genExchangeName.Draw(t, "source"), Destination: genTarget.Draw(t, "to")}
	if rapid.Bool().Draw(t, "to exchange") {
		b.Destination = Destination{ToExchange, genExchangeName.Draw(t, "to")}
	}
	b.Key = rapid.OneOf(genPattern, genKey, rapid.SampledFrom([]string{"1", "2", "9"})).Draw(t, "key")
	b.Args = genArgs.Draw(t, "args")
	return b
})

// genCommand prefers what makes a table grow.
var genCommand = rapid.Custom(func(t *rapid.T) Command {
	switch rapid.IntRange(0, 11).Draw(t, "command") {
	case 0, 1:
		return DeclareExchange{genExchange.Draw(t, "exchange")}
	case 2, 3:
		return DeclareTarget{genTarget.Draw(t, "target")}
	case 4:
		return DeleteTarget{genTarget.Draw(t, "target")}
	case 5:
		return DeleteExchange{genExchangeName.Draw(t, "exchange"), rapid.Bool().Draw(t, "if unused")}
	case 6:
		return Unbind{genBinding.Draw(t, "binding")}
	default:
		return Bind{genBinding.Draw(t, "binding")}
	}
})

// start is a table with all there is to bind, and its model.
func start(f failer) (*Table, *naive) {
	table, model := New(Limits{Weight: 1000}), &naive{exchanges: map[string]Exchange{}, targets: map[Destination]bool{}}
	for i := range 5 {
		model.take(f, apply(f, table, DeclareExchange{Exchange{Name: fmt.Sprint("x", i+1), Type: ExchangeType(i + 1)}}))
	}
	for i := range 3 {
		for _, kind := range []Kind{ToQueue, ToTopic} {
			model.take(f, apply(f, table, DeclareTarget{Destination{kind, fmt.Sprint("q", i+1)}}))
		}
	}
	return table, model
}

// Whatever commands made a table, it routes as the naive one does, through
// exchanges, cycles and alternates, and so does a table rebuilt from its
// commands.
func TestTableRoutesAsTheNaiveOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, model := start(t)
		router, out, had := table.Router(), &Result{}, map[string]bool{}
		same := func(table *Table, r *Router) {
			m := genMessage.Draw(t, "message")
			for name := range model.exchanges {
				for range 3 { // the third may be remembered
					if err := r.Route(name, &m, out); err != nil {
						t.Fatalf("route: %v", err)
					}
					if got, want := names(*out), model.route(name, m); !slices.Equal(got, want) {
						t.Fatalf("%s, %+v: reached %q, want %q, with %v", name, m, got, want, table.Commands())
					}
				}
			}
		}
		for _, c := range rapid.SliceOfN(genCommand, 1, 40).Draw(t, "commands") {
			effects, err := table.Apply(c)
			if err != nil && effects != nil {
				t.Fatalf("%v failed with %v and changed %v", c, err, effects)
			}
			model.take(t, effects)
			model.sound(t, had)
			same(table, router)
		}
		again := New(Limits{Weight: 1000})
		apply(t, again, table.Commands()...)
		if !reflect.DeepEqual(again.Commands(), table.Commands()) {
			t.Fatalf("rebuilt: %v, want %v", again.Commands(), table.Commands())
		}
		same(again, again.Router())
	})
}

// A trie of many patterns takes what the naive matcher takes one by one.
func TestTopicMatchesAsTheNaiveOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := New(Limits{})
		apply(t, table, DeclareExchange{Exchange{Name: "t", Type: Topic}})
		patterns := rapid.SliceOfNDistinct(genPattern, 1, 30, rapid.ID[string]).Draw(t, "patterns")
		for _, p := range patterns {
			bindQueue(t, table, "t", p+"?", p)
		}
		for _, p := range patterns[:len(patterns)/2] {
			apply(t, table, Unbind{Binding{Source: "t", Destination: queue(p + "?"), Key: p}})
		}
		for _, key := range rapid.SliceOfN(genKey, 1, 10).Draw(t, "keys") {
			want := []string{}
			for _, p := range patterns[len(patterns)/2:] {
				if naiveTopic(p, key) {
					want = append(want, p+"?")
				}
			}
			slices.Sort(want)
			if got := route(t, table, "t", Message{Key: key}); !slices.Equal(got, want) {
				t.Fatalf("key %q reaches %q, want %q", key, got, want)
			}
		}
	})
}

// A table from which all was deleted holds no memory of it.
func TestNothingIsLeftBehind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, _ := start(t)
		for _, c := range rapid.SliceOfN(genCommand, 1, 40).Draw(t, "commands") {
			_, _ = table.Apply(c) // those that fail change nothing
		}
		for _, d := range table.Targets() {
			apply(t, table, DeleteTarget{d})
		}
		for _, x := range table.Exchanges() {
			for _, b := range table.From(x.Name) {
				apply(t, table, Unbind{b})
			}
			if found := table.lookup(x.Name); found != nil {
				if ti, is := found.index.(*topicIndex); is && !ti.root.empty() {
					t.Fatalf("the trie of %q is not empty", x.Name)
				}
				if hi, is := found.index.(*headerIndex); is && (hi.byPair.live > 0 || len(hi.always.all()) > 0) {
					t.Fatalf("the headers of %q are not empty", x.Name)
				}
			}
			apply(t, table, DeleteExchange{Name: x.Name})
		}
		if got := table.Commands(); got != nil || table.exchanges.live != 1 || table.direct.byKey.live != 0 {
			t.Fatalf("left are %v, %d exchanges, %d queues by name", got, table.exchanges.live, table.direct.byKey.live)
		}
		if int(table.ids.next) != len(table.ids.free)+1 {
			t.Fatalf("%d of %d ids were given back", len(table.ids.free), table.ids.next-1)
		}
	})
}
