package routing

import (
	"slices"
	"testing"
)

// failer is what tests, benchmarks and properties fail with.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// apply applies commands that must not fail, and returns the effects of all.
func apply(f failer, t *Table, commands ...Command) (all []Effect) {
	f.Helper()
	for _, c := range commands {
		effects, err := t.Apply(c)
		if err != nil {
			f.Fatalf("%#v: %v", c, err)
		}
		all = append(all, effects...)
	}
	return all
}

// route returns the targets of a message, sorted.
func route(f failer, t *Table, exchange string, m Message) []string {
	f.Helper()
	var out Result
	if err := t.Router().Route(exchange, &m, &out); err != nil {
		f.Fatalf("route to %q: %v", exchange, err)
	}
	return names(out)
}

func names(out Result) []string {
	all := []string{}
	for _, t := range out.Targets {
		all = append(all, t.Name)
	}
	slices.Sort(all)
	return all
}

func queue(name string) Destination { return Destination{ToQueue, name} }

// bound binds a queue, which it declares.
func bindQueue(f failer, t *Table, source, name, key string, args ...Header) {
	f.Helper()
	apply(f, t, DeclareTarget{queue(name)}, Bind{Binding{Source: source, Destination: queue(name), Key: key, Args: args}})
}

// table is a table with exchanges.
func table(t testing.TB, exchanges ...Exchange) *Table {
	t.Helper()
	made := New(Limits{})
	for _, x := range exchanges {
		apply(t, made, DeclareExchange{x})
	}
	return made
}
