package routing

import (
	"slices"
	"strings"
	"testing"
)

// FuzzTopic binds up to eight patterns and routes one key. It checks the
// trie against a matcher that looks at one pattern at a time, and that no pattern
// makes a walk long: a walk has at most as many steps as words times nodes.
func FuzzTopic(f *testing.F) {
	f.Add("orders.#|*.error|#|*||a.#.b|#.#", "a..b")
	f.Add("#.a.#.a.#.a.#.a.#.b|#.*.#.*", strings.Repeat("a.", 60)+"a")
	f.Add("#.#.#.#|.|..", "...")
	f.Fuzz(func(t *testing.T, patterns, key string) {
		table := table(t, Exchange{Name: "t", Type: Topic})
		var bound []string
		for _, p := range strings.Split(patterns, "|")[:min(8, strings.Count(patterns, "|")+1)] {
			if _, err := table.Apply(DeclareTarget{queue("q" + p)}); err != nil {
				continue // too long, or not UTF-8
			}
			if _, err := table.Apply(Bind{Binding{Source: "t", Destination: queue("q" + p), Key: p}}); err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			if !slices.Contains(bound, p) {
				bound = append(bound, p)
			}
		}
		if len(key) > 255 {
			return
		}
		want := []string{}
		for _, p := range bound {
			if tabled(wordsOf(p), wordsOf(key)) {
				want = append(want, "q"+p)
			}
		}
		slices.Sort(want)
		if got := route(t, table, "t", Message{Key: key}); !slices.Equal(got, want) {
			t.Fatalf("patterns %q, key %q: reached %q, want %q", bound, key, got, want)
		}
		for _, p := range bound {
			apply(t, table, Unbind{Binding{Source: "t", Destination: queue("q" + p), Key: p}})
		}
		if index := table.lookup("t").index.(*topicIndex); !index.root.empty() {
			t.Fatalf("patterns %q leave something in the trie", bound)
		}
	})
}

// tabled matches by dynamic programming: in time words times words.
func tabled(pattern, words []string) bool {
	at := make([]bool, len(words)+1) // the pattern so far takes the words before i
	at[0] = true
	for _, p := range pattern {
		next := make([]bool, len(words)+1)
		for i := range next {
			switch {
			case p == "#":
				next[i] = at[i] || i > 0 && next[i-1]
			case i > 0:
				next[i] = at[i-1] && (p == "*" || p == words[i-1])
			}
		}
		at = next
	}
	return at[len(words)]
}

// Patterns that would take a matcher with backtracking longer than anyone has:
// the walk counts its steps through the nodes that it came to.
func TestNoWalkIsLong(t *testing.T) {
	table := table(t, Exchange{Name: "t", Type: Topic})
	for n := 1; n <= 60; n++ {
		bindQueue(t, table, "t", "q", "#"+strings.Repeat(".a.#", n)+".b")
	}
	key := strings.Repeat("a.", 126) + "a"
	if got := route(t, table, "t", Message{Key: key}); len(got) != 0 {
		t.Errorf("reached %q, want nothing", got)
	}
	if got := route(t, table, "t", Message{Key: key + ".b"}); len(got) != 1 {
		t.Errorf("reached %q, want q", got)
	}
}
