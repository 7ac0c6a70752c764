package routing

import (
	"fmt"
	"slices"
	"testing"
)

// What a router remembers of a key ends with any change to the exchange.
func TestRememberedKeysFollowTheBindings(t *testing.T) {
	table := table(t, Exchange{Name: "t", Type: Topic}, Exchange{Name: "other", Type: Topic})
	bindQueue(t, table, "t", "q1", "a.*")
	bindQueue(t, table, "other", "q3", "a.b")
	r, out := table.Router(), &Result{}
	reached := func(exchange string, want ...string) {
		t.Helper()
		for range 4 { // the first is noted, the second walks and is kept, the others are remembered
			if err := r.Route(exchange, &Message{Key: "a.b"}, out); err != nil || !slices.Equal(names(*out), want) {
				t.Fatalf("%s: %v, reached %q, want %q", exchange, err, names(*out), want)
			}
		}
	}
	reached("t", "q1")
	bindQueue(t, table, "t", "q2", "#.b")
	reached("t", "q1", "q2")
	reached("other", "q3")
	apply(t, table, DeleteTarget{queue("q1")})
	reached("t", "q2")
	apply(t, table, DeleteExchange{Name: "t"}, DeclareExchange{Exchange{Name: "t", Type: Topic}})
	reached("t")
}

func TestKeysRememberedTheSecondTime(t *testing.T) {
	var c keyCache
	x, target := &topicIndex{}, []*Target{{}}
	e := c.at(7)
	if e != c.at(7+cacheEntries) || e == c.at(8) {
		t.Fatal("places are not told by the low bits of the hash")
	}
	if e.came(x, 1, 7) {
		t.Error("the first time is taken for the second")
	}
	if _, ok := e.targets("k"); ok {
		t.Error("targets before any were kept")
	}
	if !e.came(x, 1, 7) {
		t.Error("the second time is taken for the first")
	}
	e.keep("k", target)
	if got, ok := e.targets("k"); !ok || !slices.Equal(got, target) {
		t.Errorf("kept are %v, %v", got, ok)
	}
	if _, ok := e.targets("another of that hash"); ok {
		t.Error("the targets of k are given for another key")
	}
	for name, came := range map[string]bool{
		"another version":  e.came(x, 2, 7),
		"another key":      e.came(x, 2, 7+cacheEntries),
		"another exchange": e.came(&topicIndex{}, 2, 7+cacheEntries),
	} {
		if _, ok := e.targets("k"); came || ok {
			t.Errorf("%s gets what was kept", name)
		}
	}
	e.keep("many", make([]*Target, cacheTargets+1))
	if _, ok := e.targets("many"); ok {
		t.Error("a key with too many targets is kept")
	}
}

// Many keys in few places, each twice in a row.
func TestKeysShareTheirPlaces(t *testing.T) {
	table := table(t, Exchange{Name: "t", Type: Topic})
	const n = 2 * cacheEntries
	for i := range n {
		bindQueue(t, table, "t", fmt.Sprint("q", i), fmt.Sprintf("%d.#", i))
	}
	r, out := table.Router(), &Result{}
	for i := range 3 * n {
		want := fmt.Sprint("q", i/2%n)
		if err := r.Route("t", &Message{Key: want[1:]}, out); err != nil || len(out.Targets) != 1 || out.Targets[0].Name != want {
			t.Fatalf("%v, reached %q, want %s", err, names(*out), want)
		}
	}
}
