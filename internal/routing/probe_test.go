package routing

import (
	"fmt"
	"slices"
	"testing"
)

// What a live RabbitMQ 3.10.8 answered, for each pattern the keys that it took.
func TestTopicAsProbed(t *testing.T) {
	keys := []string{"", "orders", "orders.created", "orders.created.eu", "a..b", ".", "x.error", "error", "y.x.error", "orders."}
	probed := map[string][]string{
		"orders.#": {"orders", "orders.created", "orders.created.eu", "orders."},
		"*.error":  {"x.error"},
		"#":        keys,
		"*":        {"orders", "error"},
		"":         {""},
		"orders.*": {"orders.created", "orders."},
		"#.error":  {"x.error", "error", "y.x.error"},
		"a.*.b":    {"a..b"},
		"a.#.b":    {"a..b"},
		"orders*":  {},
		"*.*":      {"orders.created", ".", "x.error", "orders."},
		"#.#":      keys,
	}
	table := table(t, Exchange{Name: "t", Type: Topic})
	for pattern := range probed {
		bindQueue(t, table, "t", "queue of "+pattern, pattern)
	}
	for _, key := range keys {
		want := []string{}
		for pattern, takes := range probed {
			if slices.Contains(takes, key) {
				want = append(want, "queue of "+pattern)
			}
		}
		slices.Sort(want)
		if got := route(t, table, "t", Message{Key: key}); !slices.Equal(got, want) {
			t.Errorf("key %q reaches %q, want %q", key, got, want)
		}
	}
}

// What a live RabbitMQ 3.10.8 answered, for each binding the messages it took.
func TestHeadersAsProbed(t *testing.T) {
	match := func(how string, args ...Header) []Header { return append(args, Header{"x-match", Text(how)}) }
	a, b, xk := Header{"a", Text("1")}, Header{"b", Int(2)}, Header{"x-k", Text("v")}
	messages := map[string][]Header{
		"m0": nil, "a1": {a}, "a1b2": {a, b}, "b2s": {a, {"b", Text("2")}}, "xk": {xk}, "a9": {{"a", Text("9")}},
	}
	every := []string{"m0", "a1", "a1b2", "b2s", "xk", "a9"}
	probed := []struct {
		name  string
		args  []Header
		takes []string
	}{
		{"empty-all", match("all"), every},
		{"none", nil, every},
		{"empty-any", match("any"), nil},
		{"all", match("all", a, b), []string{"a1b2"}},
		{"any", match("any", a, b), []string{"a1", "a1b2", "b2s"}},
		{"default", []Header{a, b}, []string{"a1b2"}},
		{"xhdr-all", match("all", xk), every},
		{"xhdr-awx", match("all-with-x", xk), []string{"xk"}},
		{"any-awx", match("any-with-x", xk), []string{"xk"}},
		{"void", match("all", Header{"a", Void()}), []string{"a1", "a1b2", "b2s", "a9"}},
	}
	table := table(t, Exchange{Name: "h", Type: Headers})
	for _, p := range probed {
		bindQueue(t, table, "h", p.name, "", p.args...)
	}
	for name, headers := range messages {
		want := []string{}
		for _, p := range probed {
			if slices.Contains(p.takes, name) {
				want = append(want, p.name)
			}
		}
		slices.Sort(want)
		if got := route(t, table, "h", Message{Headers: headers}); !slices.Equal(got, want) {
			t.Errorf("message %s reaches %q, want %q", name, got, want)
		}
	}
}

// Publish before bind reaches nothing; two bindings that match make one copy.
func TestBindingsAsProbed(t *testing.T) {
	table := table(t, Exchange{Name: "o", Type: Topic})
	if got := route(t, table, "o", Message{Key: "orders.created"}); len(got) != 0 {
		t.Errorf("before any binding the message reaches %q", got)
	}
	bindQueue(t, table, "o", "dup", "#")
	bindQueue(t, table, "o", "dup", "orders.*")
	if got := route(t, table, "o", Message{Key: "orders.x"}); !slices.Equal(got, []string{"dup"}) {
		t.Errorf("two matching bindings of one queue reach %q", got)
	}
}

func TestMoreThanOneRestInAPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"#.a.#.b.#", "a.b", true}, {"#.a.#.b.#", "x.a.y.z.b.w", true}, {"#.a.#.b.#", "b.a", false},
		{"#.*", "", false}, {"#.*", "a", true}, {"*.#", "a.b.c", true}, {"#.*.#.*.#", "a", false},
		{"#.*.#.*.#", "a.b", true}, {"a.#.#.b", "a.b", true}, {"#.a", "a.a.a", true}, {"#.a.b", "a.a.b", true},
		{"*", ".", false}, {"*.*", ".", true}, {"#.", ".", true}, {"#.", "", false}, {"a.#", "a", true},
	} {
		table := table(t, Exchange{Name: "t", Type: Topic})
		bindQueue(t, table, "t", "q", c.pattern)
		if got := len(route(t, table, "t", Message{Key: c.key})) == 1; got != c.want {
			t.Errorf("pattern %q takes key %q: %v, want %v", c.pattern, c.key, got, c.want)
		}
	}
}

func TestDirectAndFanout(t *testing.T) {
	table := table(t, Exchange{Name: "d", Type: Direct}, Exchange{Name: "f", Type: Fanout})
	for i, key := range []string{"a", "a", "A", "a.b", "", "#"} {
		bindQueue(t, table, "d", fmt.Sprint("q", i), key)
		bindQueue(t, table, "f", fmt.Sprint("q", i), key)
	}
	for key, want := range map[string][]string{"a": {"q0", "q1"}, "A": {"q2"}, "a.b": {"q3"}, "": {"q4"}, "#": {"q5"}, "b": {}} {
		if got := route(t, table, "d", Message{Key: key}); !slices.Equal(got, want) {
			t.Errorf("direct: key %q reaches %q, want %q", key, got, want)
		}
		if got := route(t, table, "f", Message{Key: key}); len(got) != 6 {
			t.Errorf("fanout: key %q reaches %q, want all", key, got)
		}
	}
}
