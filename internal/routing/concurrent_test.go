package routing

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// While bindings come and go, routers find all the bindings that stay, and of
// the others only those that can be there.
func TestRoutersRunWhileBindingsChange(t *testing.T) {
	table := table(t, Exchange{Name: "t", Type: Topic}, Exchange{Name: "d", Type: Direct}, Exchange{Name: "h", Type: Headers},
		Exchange{Name: "c", Type: ConsistentHash}, Exchange{Name: "f", Type: Fanout})
	stays := func(source, key string, args ...Header) { bindQueue(t, table, source, "stays", key, args...) }
	stays("t", "a.*.#")
	stays("d", "a.0.c")
	stays("h", "", Header{"k", Int(0)})
	stays("f", "")
	for _, x := range []string{"t", "d", "h", "c"} {
		apply(t, table, exchangeTo("f", x, ""))
	}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r, out, m := table.Router(), &Result{}, &Message{Key: "a.0.c", Headers: []Header{{"k", Int(0)}}}
			for {
				for _, x := range []string{"t", "d", "h", "f"} {
					if err := r.Route(x, m, out); err != nil || !only(out, "stays", "goes-") {
						t.Errorf("%s: %v, reached %q", x, err, names(*out))
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	churn(t, table)
	close(stop)
	wg.Wait()
}

// only says that a name is among the targets, and that all others begin with
// another.
func only(out *Result, name, others string) bool {
	found := false
	for _, t := range out.Targets {
		if t.Name != name && !strings.HasPrefix(t.Name, others) {
			return false
		}
		found = found || t.Name == name
	}
	return found
}

func churn(t *testing.T, table *Table) {
	for i := range 2000 {
		q := queue(fmt.Sprint("goes-", i%50))
		apply(t, table, DeclareTarget{q})
		for _, b := range []Binding{
			{Source: "t", Key: fmt.Sprintf("a.%d.#", i%7)}, {Source: "t", Key: "#.c"}, {Source: "t", Key: fmt.Sprintf("#.%d.*", i%3)},
			{Source: "d", Key: fmt.Sprintf("a.%d.c", i%9)}, {Source: "f"}, {Source: "c", Key: "2"},
			{Source: "h", Args: []Header{{"k", Int(int64(i % 5))}}},
		} {
			b.Destination = q
			apply(t, table, Bind{b})
		}
		if i%3 != 0 {
			apply(t, table, DeleteTarget{queue(fmt.Sprint("goes-", (i+17)%50))})
		}
	}
}
