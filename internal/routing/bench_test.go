package routing

import (
	"fmt"
	"testing"
)

// loaded is a table with one exchange and n bindings to n queues, and the keys
// that match them.
func loaded(b *testing.B, typ ExchangeType, n int, pattern func(i int) string) *Table {
	t := New(Limits{})
	apply(b, t, DeclareExchange{Exchange{Name: "orders", Type: typ}})
	for i := range n {
		q := Destination{ToQueue, fmt.Sprintf("q%d", i)}
		apply(b, t, DeclareTarget{q}, Bind{Binding{Source: "orders", Destination: q, Key: pattern(i)}})
	}
	return t
}

// The patterns of the benchmarks. Key i matches pattern i and no other.
func plain(i int) string { return fmt.Sprintf("orders.region-%d.customer-%d.created", i%10, i) }

// mixed is a third plain, a third with a * and a third with a #.
func mixed(i int) string {
	switch i % 3 {
	case 1:
		return fmt.Sprintf("orders.*.customer-%d.created", i)
	case 2:
		return fmt.Sprintf("orders.region-%d.customer-%d.#", i%10, i)
	}
	return plain(i)
}

// BenchmarkRoute routes one key after the other, of up to 64 that are bound, or
// of all of them.
func BenchmarkRoute(b *testing.B) {
	for _, load := range []struct {
		name    string
		typ     ExchangeType
		pattern func(int) string
	}{{"direct", Direct, plain}, {"plain", Topic, plain}, {"mixed", Topic, mixed}} {
		for _, n := range []int{1, 100, 10_000} {
			for _, hot := range []int{64, n} {
				if hot == n && n == 1 || hot == n && load.typ == Direct {
					continue
				}
				b.Run(fmt.Sprintf("%s/bindings=%d/keys=%d", load.name, n, min(hot, n)), func(b *testing.B) {
					benchmarkKeys(b, loaded(b, load.typ, n, load.pattern), keys(n, hot))
				})
			}
		}
	}
}

// keys are as many keys as asked for, in an order that no prefetcher guesses.
func keys(n, hot int) []string {
	out := make([]string, min(n, hot))
	for i := range out {
		out[i] = plain(i * 7919 % n)
	}
	return out
}

func benchmarkKeys(b *testing.B, t *Table, keys []string) {
	r, m, out := t.Router(), &Message{}, &Result{}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m.Key = keys[i]
		if i++; i == len(keys) {
			i = 0
		}
		if err := r.Route("orders", m, out); err != nil || len(out.Targets) != 1 {
			b.Fatal(err, len(out.Targets), m.Key)
		}
	}
}

// BenchmarkRouteHeaders routes by two headers, of which one binding wants both.
func BenchmarkRouteHeaders(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("bindings=%d", n), func(b *testing.B) {
			t := New(Limits{})
			apply(b, t, DeclareExchange{Exchange{Name: "orders", Type: Headers}})
			for i := range n {
				bindQueue(b, t, "orders", fmt.Sprint("q", i), "", Header{"format", Text("pdf")}, Header{"customer", Int(int64(i))})
			}
			r, out := t.Router(), &Result{}
			m := &Message{Headers: []Header{{"customer", Int(int64(n / 2))}, {"format", Text("pdf")}}}
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Route("orders", m, out); err != nil || len(out.Targets) != 1 {
					b.Fatal(err, len(out.Targets))
				}
			}
		})
	}
}

// BenchmarkRouteConsistentHash chooses among queues of two weights.
func BenchmarkRouteConsistentHash(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("queues=%d", n), func(b *testing.B) {
			t := loaded(b, ConsistentHash, n, func(i int) string { return fmt.Sprint(1 + i%2) })
			benchmarkKeys(b, t, keys(n, 64))
		})
	}
}

// BenchmarkBind makes 10,000 bindings.
func BenchmarkBind(b *testing.B) {
	for _, load := range []struct {
		name    string
		typ     ExchangeType
		pattern func(int) string
	}{{"topic", Topic, mixed}, {"direct", Direct, plain}, {"fanout", Fanout, plain}} {
		b.Run(load.name, func(b *testing.B) {
			binds := loaded(b, load.typ, 10_000, load.pattern).From("orders")
			for b.Loop() {
				b.StopTimer()
				t := New(Limits{})
				apply(b, t, DeclareExchange{Exchange{Name: "orders", Type: load.typ}})
				for _, x := range binds {
					apply(b, t, DeclareTarget{x.Destination})
				}
				b.StartTimer()
				for _, x := range binds {
					apply(b, t, Bind{x})
				}
			}
		})
	}
}
