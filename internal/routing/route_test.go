package routing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDefaultExchangeReachesQueuesByName(t *testing.T) {
	table := table(t)
	apply(t, table, DeclareTarget{queue("email")}, DeclareTarget{Destination{ToTopic, "events"}})
	for key, want := range map[string][]string{"email": {"email"}, "events": {}, "": {}} {
		if got := route(t, table, "", Message{Key: key}); !slices.Equal(got, want) {
			t.Errorf("key %q reaches %q, want %q", key, got, want)
		}
	}
	apply(t, table, DeleteTarget{queue("email")})
	if got := route(t, table, "", Message{Key: "email"}); len(got) != 0 {
		t.Errorf("a deleted queue is reached: %q", got)
	}
}

func TestQueueAndTopicOfOneNameAreTwoTargets(t *testing.T) {
	table := table(t, Exchange{Name: "x", Type: Fanout})
	for _, kind := range []Kind{ToQueue, ToTopic} {
		d := Destination{kind, "orders"}
		apply(t, table, DeclareTarget{d}, Bind{Binding{Source: "x", Destination: d}})
	}
	if got := route(t, table, "x", Message{}); !slices.Equal(got, []string{"orders", "orders"}) {
		t.Errorf("reached %q, want the queue and the topic", got)
	}
}

func exchangeTo(source, dest, key string) Bind {
	return Bind{Binding{Source: source, Destination: Destination{ToExchange, dest}, Key: key}}
}

func TestExchangesInACycleRouteOnce(t *testing.T) {
	table := table(t, Exchange{Name: "a", Type: Topic}, Exchange{Name: "b", Type: Fanout}, Exchange{Name: "c", Type: Direct})
	apply(t, table, exchangeTo("a", "b", "#"), exchangeTo("a", "a", "#"), exchangeTo("b", "c", ""), exchangeTo("c", "a", "k"))
	for _, x := range []string{"a", "b", "c"} {
		bindQueue(t, table, x, "of "+x, "k")
		bindQueue(t, table, x, "shared", "k")
	}
	want := []string{"of a", "of b", "of c", "shared"}
	for _, x := range []string{"a", "b", "c"} {
		if got := route(t, table, x, Message{Key: "k"}); !slices.Equal(got, want) {
			t.Errorf("from %s the message reaches %q, want %q", x, got, want)
		}
	}
	apply(t, table, Unbind{exchangeTo("a", "b", "#").Binding})
	if got := route(t, table, "a", Message{Key: "k"}); !slices.Equal(got, []string{"of a", "shared"}) {
		t.Errorf("without the binding from a to b the message reaches %q", got)
	}
}

func TestAlternateExchanges(t *testing.T) {
	table := table(t,
		Exchange{Name: "first", Type: Direct, Alternate: "second"},
		Exchange{Name: "second", Type: Direct, Alternate: "third"},
		Exchange{Name: "third", Type: Fanout},
		Exchange{Name: "one", Type: Direct, Alternate: "other"},
		Exchange{Name: "other", Type: Direct, Alternate: "one"},
		Exchange{Name: "lost", Type: Direct, Alternate: "nowhere"},
		Exchange{Name: "leads-nowhere", Type: Fanout, Alternate: "third"},
		Exchange{Name: "empty", Type: Fanout})
	bindQueue(t, table, "first", "q1", "1")
	bindQueue(t, table, "second", "q2", "2")
	bindQueue(t, table, "third", "q3", "")
	apply(t, table, exchangeTo("leads-nowhere", "empty", ""))
	for _, c := range []struct {
		exchange, key string
		want          []string
		alternates    int
		missing       string
	}{
		{"first", "1", []string{"q1"}, 0, ""},
		{"first", "2", []string{"q2"}, 1, ""},
		{"first", "3", []string{"q3"}, 2, ""},
		{"one", "k", []string{}, 1, ""},
		{"lost", "k", []string{}, 0, "nowhere"},
		{"leads-nowhere", "k", []string{}, 0, ""},
	} {
		var out Result
		if err := table.Router().Route(c.exchange, &Message{Key: c.key}, &out); err != nil {
			t.Fatal(err)
		}
		if got := names(out); !slices.Equal(got, c.want) || out.Alternates != c.alternates || out.MissingAlternate != c.missing {
			t.Errorf("%s %q: %q, %d alternates, missing %q; want %+v", c.exchange, c.key, got, out.Alternates, out.MissingAlternate, c)
		}
	}
}

func TestSenderSelectedKeys(t *testing.T) {
	table := table(t, Exchange{Name: "d", Type: Direct}, Exchange{Name: "t", Type: Topic})
	for _, q := range []string{"a", "b", "c", "d"} {
		bindQueue(t, table, "d", q, q)
		bindQueue(t, table, "t", q, "#."+q)
	}
	m := Message{Key: "a", CC: []string{"b", "a"}, BCC: []string{"c"}}
	for _, x := range []string{"", "d", "t"} {
		if got := route(t, table, x, m); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("exchange %q: the message reaches %q", x, got)
		}
	}
}

func TestRefusedRoutes(t *testing.T) {
	table := table(t, Exchange{Name: "in", Type: Fanout, Internal: true}, Exchange{Name: "x", Type: Topic})
	bindQueue(t, table, "in", "q", "")
	bindQueue(t, table, "x", "q", "#")
	long := strings.Repeat("k", 256)
	for _, c := range []struct {
		exchange string
		m        Message
		want     error
	}{
		{"none", Message{}, ErrNotFound},
		{"in", Message{}, ErrInternal},
		{"x", Message{Key: long}, ErrLimit},
		{"x", Message{CC: []string{long}}, ErrLimit},
		{"x", Message{BCC: make([]string, 257)}, ErrLimit},
	} {
		out := Result{Targets: []*Target{nil}}
		if err := table.Router().Route(c.exchange, &c.m, &out); !errors.Is(err, c.want) || len(out.Targets) != 0 {
			t.Errorf("%q: %v and %d targets, want %v", c.exchange, err, len(out.Targets), c.want)
		}
	}
	if got := route(t, table, "in", Message{Inside: true}); len(got) != 1 {
		t.Errorf("from inside, an internal exchange reaches %q", got)
	}
	apply(t, table, exchangeTo("x", "in", "#"))
	if got := route(t, table, "x", Message{Key: strings.Repeat(".", 255)}); len(got) != 1 {
		t.Errorf("through x, and a key of 256 words, %q is reached", got)
	}
}

// Each of many targets is reached once, however many bindings lead to it.
func TestManyTargetsOnceEach(t *testing.T) {
	for n := range 3 * few {
		table := table(t, Exchange{Name: "f", Type: Fanout}, Exchange{Name: "again", Type: Fanout})
		apply(t, table, exchangeTo("f", "again", ""), exchangeTo("again", "f", ""))
		for i := range 3 * n {
			bindQueue(t, table, []string{"f", "again"}[i%2], fmt.Sprint("q", i%n), fmt.Sprint(i))
		}
		got := route(t, table, "f", Message{})
		if len(got) != n || len(slices.Compact(got)) != n {
			t.Errorf("with %d queues, %d are reached: %q", n, len(got), got)
		}
	}
}

func TestHops(t *testing.T) {
	table := New(Limits{Hops: 3})
	for i := range 4 {
		apply(t, table, DeclareExchange{Exchange{Name: fmt.Sprint(i), Type: Fanout}})
		bindQueue(t, table, fmt.Sprint(i), fmt.Sprint("q", i), "")
		if i > 0 {
			apply(t, table, exchangeTo(fmt.Sprint(i-1), fmt.Sprint(i), ""))
		}
	}
	if got := route(t, table, "1", Message{}); len(got) != 3 {
		t.Errorf("three hops reach %q", got)
	}
	var out Result
	if err := table.Router().Route("0", &Message{}, &out); !errors.Is(err, ErrLimit) || len(out.Targets) != 0 {
		t.Errorf("four hops: %v and %d targets, want ErrLimit and none", err, len(out.Targets))
	}
}

// Routing allocates nothing once the router is warm.
func TestRouteDoesNotAllocate(t *testing.T) {
	table := table(t, Exchange{Name: "t", Type: Topic}, Exchange{Name: "h", Type: Headers},
		Exchange{Name: "c", Type: ConsistentHash, HashHeader: "tenant"}, Exchange{Name: "none", Type: Direct, Alternate: "t"})
	bindQueue(t, table, "t", "q1", "orders.#.eu.#")
	bindQueue(t, table, "t", "q2", "*.*")
	apply(t, table, exchangeTo("t", "h", "#"), exchangeTo("h", "c", ""))
	bindQueue(t, table, "h", "q3", "", Header{"tenant", Text("a")})
	bindQueue(t, table, "c", "q4", "1")
	bindQueue(t, table, "c", "q5", "7")
	r, out := table.Router(), &Result{}
	m := &Message{Key: "orders.eu", CC: []string{"x.y"}, Headers: []Header{{"tenant", Text("a")}}}
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Route("none", m, out); err != nil || len(out.Targets) != 4 {
			t.Fatal(err, names(*out))
		}
	}); n != 0 {
		t.Errorf("a route allocates %v times", n)
	}
}
