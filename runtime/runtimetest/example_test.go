package runtimetest_test

import (
	"testing"

	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// Total is what a customer has spent.
type Total struct {
	Customer string
	Orders   int
}

// A topology that gives the same totals straight, with checkpoints at another
// parallelism, and killed and resumed at a third.
func ExampleThreeWays() {
	_ = func(t *testing.T) { // func TestTotals(t *testing.T) {
		runtimetest.ThreeWays(t, func(w *runtimetest.Way) *topology.Builder {
			b := topology.New("totals")
			orders := topology.From(b, "orders", runtimetest.From(w, sources.Slice("ann", "bob", "ann")))
			byCustomer := topology.KeyBy(orders, "by-customer", func(c string) string { return c })
			totals := topology.Fold(byCustomer, "count", func(c string, t Total, _ string) Total { return Total{c, t.Orders + 1} })
			topology.To(totals, "out", runtimetest.To[Total](w, "totals"))
			return b
		}, func(t testing.TB, w *runtimetest.Way) {
			if got := runtimetest.Values[Total](w, "totals"); len(got) != 3 {
				t.Errorf("got %v", got)
			}
		})
	}
}
