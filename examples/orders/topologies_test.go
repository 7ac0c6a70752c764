package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/topology/topologytest"
)

// split deals the orders of a shop to the partitions.
func (s shop) split() [][]Order {
	splits := make([][]Order, partitions)
	for i := range s.orders {
		o := s.order(i)
		splits[o.partition()] = append(splits[o.partition()], o)
	}
	return splits
}

// ways are the ways to run a topology: results depend on none of it.
func ways(t *rapid.T) []topologytest.Option {
	return []topologytest.Option{
		topologytest.Seed(rapid.Uint64().Draw(t, "interleaving")),
		topologytest.Parallelism(rapid.IntRange(1, 4).Draw(t, "parallelism")),
		topologytest.BatchSize(rapid.IntRange(1, 64).Draw(t, "batch")),
	}
}

func drawShop(t *rapid.T) shop {
	return shop{seed: rapid.Uint64().Draw(t, "seed"), orders: rapid.IntRange(1, 2000).Draw(t, "orders")}
}

// Every order is in the revenue of its minute and country, once.
func TestAnalyticsAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShop(t)
		want := map[Minute]sales{} // by minute and country
		for i := range s.orders {
			o := s.order(i)
			m := Minute{Start: o.time().UTC().Truncate(time.Minute).Format(time.RFC3339), Country: o.Country}
			want[m] = sales{want[m].Orders + 1, want[m].Cents + o.Cents}
		}
		out := topologytest.Collect[Minute]()
		topologytest.Run(t, Analytics(topologytest.Splits(s.split()...), out), ways(t)...)
		got := map[Minute]sales{}
		for _, m := range out.Values() {
			got[Minute{Start: m.Start, Country: m.Country}] = sales{m.Orders, m.Cents}
		}
		if !maps.Equal(got, want) || len(got) != len(out.Values()) {
			t.Errorf("revenue %v, want %v", got, want)
		}
		inTime := func(a, b Minute) int { return strings.Compare(a.Start+a.Country, b.Start+b.Country) }
		if !slices.IsSortedFunc(out.Values(), inTime) {
			t.Errorf("it is not in order: %v", out.Values())
		}
	})
}

// naiveAlerts looks at all orders at once.
func naiveAlerts(s shop) map[Alert]bool {
	alerts := map[Alert]bool{}
	type burst struct {
		card  int
		start time.Time
	}
	bursts, cards := map[burst]int{}, map[int][]int64{}
	for i := range s.orders {
		o := s.order(i)
		bursts[burst{o.Card, o.time().UTC().Truncate(burstWindow)}]++
		var sum int64
		usual := cards[o.Card]
		for _, cents := range usual {
			sum += cents
		}
		if n := int64(len(usual)); n >= amountOrders && o.Cents > amountTimes*sum/n {
			alerts[Alert{Kind: "amount", Card: o.Card, At: o.time().UTC().Format(time.RFC3339), Order: o.ID, Cents: o.Cents, Mean: sum / n}] = true
			continue
		}
		cards[o.Card] = append(usual, o.Cents)
	}
	for b, n := range bursts {
		if n > burstMax {
			alerts[Alert{Kind: "burst", Card: b.card, At: b.start.Format(time.RFC3339), Orders: n}] = true
		}
	}
	return alerts
}

func TestFraudAgainstANaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShop(t)
		out := topologytest.Collect[Alert]()
		topologytest.Run(t, Fraud(topologytest.Splits(s.split()...), out), ways(t)...)
		got := map[Alert]bool{}
		for _, a := range out.Values() {
			got[a] = true
		}
		if want := naiveAlerts(s); !maps.Equal(got, want) || len(got) != len(out.Values()) {
			t.Errorf("alerts %v, want %v", out.Values(), want)
		}
	})
}

// The same orders give the same alerts in the same order, however they are worked on.
func TestFraudIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShop(t)
		var runs [2]*topologytest.Collected[Alert]
		for i := range runs {
			runs[i] = topologytest.Collect[Alert]()
			topologytest.Run(t, Fraud(topologytest.Splits(s.split()...), runs[i]), ways(t)...)
		}
		if !slices.Equal(runs[0].Values(), runs[1].Values()) {
			t.Errorf("alerts %v, and %v", runs[0].Values(), runs[1].Values())
		}
	})
}

// The shop is worth looking at: it has bursts, huge amounts, orders without a name.
func TestShop(t *testing.T) {
	s := shop{seed: 1, orders: 5000}
	kinds := map[string]int{}
	for a := range naiveAlerts(s) {
		kinds[a.Kind]++
	}
	odd := map[string]int{}
	for i := range s.orders {
		o := s.order(i)
		if o.Cents <= 0 || o != s.order(i) {
			t.Fatalf("order %d: %+v", i, o)
		}
		if o.Customer == "" || o.Customer == "☠" {
			odd[o.Customer]++
		}
	}
	if kinds["burst"] < 5 || kinds["amount"] < 5 || odd[""] < 5 || odd["☠"] < 5 {
		t.Errorf("alerts %v, odd names %v", kinds, odd)
	}
	if got := s.ends(); got[0]+got[1]+got[2]+got[3] != 5000 {
		t.Errorf("the partitions end at %v", got)
	}
}
