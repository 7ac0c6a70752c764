package main

import (
	"fmt"
	"time"

	"github.com/troupestream/troupe/topology"
)

// What is suspicious.
const (
	burstWindow  = time.Minute
	burstMax     = 5 // orders of one card in a window
	amountTimes  = 6 // the mean of the card, as an amount,
	amountOrders = 5 // once it has so many orders
)

// Alert is a card, or an order, that somebody should look at.
type Alert struct {
	Kind   string `json:"alert"` // "burst" or "amount"
	Card   int    `json:"card"`
	At     string `json:"at"`                 // a burst: the beginning of its window
	Order  string `json:"order_id,omitempty"` // an amount: whose
	Cents  int64  `json:"cents,omitempty"`
	Mean   int64  `json:"mean_cents,omitempty"` // of the card's orders before
	Orders int    `json:"orders,omitempty"`     // a burst: how many
}

func (a Alert) key() string { return fmt.Sprintf("%s %s %d %s", a.At, a.Kind, a.Card, a.Order) }

// Fraud looks for cards that are used too often in a short time, and for amounts that
// are far from what a card usually pays.
func Fraud(in topology.Source[Order], out topology.Sink[Alert]) *topology.Builder {
	b := topology.New(jobFraud)
	orders := topology.EventTime(topology.From(b, "orders", in), "event-time", disorderMax, Order.time)
	byCard := topology.KeyBy(orders, "by-card", func(o Order) int { return o.Card })

	counts, _ := topology.WindowFold(byCard, "count", topology.Tumbling(burstWindow), func(_, n int, _ Order) int { return n + 1 })
	many := topology.Filter(counts, "too-many", func(w topology.Window[int, int]) bool { return w.Value > burstMax })
	bursts := topology.Map(many, "burst", func(w topology.Window[int, int]) Alert {
		return Alert{Kind: "burst", Card: w.Key, At: w.Start.Format(time.RFC3339), Orders: w.Value}
	})
	amounts := topology.Process(byCard, "compare", compare)

	alerts := topology.Merge(bursts, "alert", amounts)
	topology.To(inOrder(alerts, "sort", Alert.key), "alerts", out)
	return b
}

// paid is what is known of a card.
type paid struct {
	Orders int64
	Cents  int64
}

// compare keeps the mean of each card. An amount that is far off is not part of it.
func compare(p *topology.Processor[int, Order, Alert]) {
	before := topology.ValueOf[paid](p, "paid")
	p.OnRecord(func(o Order) {
		b := before.Get()
		if b.Orders >= amountOrders && o.Cents > amountTimes*b.Cents/b.Orders {
			p.Emit(Alert{Kind: "amount", Card: o.Card, At: o.time().UTC().Format(time.RFC3339), Order: o.ID, Cents: o.Cents, Mean: b.Cents / b.Orders})
			return
		}
		before.Set(paid{Orders: b.Orders + 1, Cents: b.Cents + o.Cents})
	})
}
