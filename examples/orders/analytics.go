package main

import (
	"time"

	"github.com/troupestream/troupe/topology"
)

// Minute is what was sold in a country, in a minute of event time.
type Minute struct {
	Start   string `json:"minute"`
	Country string `json:"country"`
	Orders  int    `json:"orders"`
	Cents   int64  `json:"cents"`
}

// sales is what a window knows of its orders.
type sales struct {
	Orders int
	Cents  int64
}

// Analytics computes revenue per minute. It adds up to the orders: none comes later than
// disorderMax behind the newest of its partition, and event time waits for that.
func Analytics(in topology.Source[Order], out topology.Sink[Minute]) *topology.Builder {
	b := topology.New(jobAnalytics)
	orders := topology.EventTime(topology.From(b, "orders", in), "event-time", disorderMax, Order.time)
	byCountry := topology.KeyBy(orders, "by-country", func(o Order) string { return o.Country })
	windows, _ := topology.WindowFold(byCountry, "sum-up", topology.Tumbling(time.Minute), func(_ string, s sales, o Order) sales {
		return sales{Orders: s.Orders + 1, Cents: s.Cents + o.Cents}
	})
	minutes := topology.Map(windows, "minute", newMinute)
	topology.To(inOrder(minutes, "sort", func(m Minute) string { return m.Start + m.Country }), "revenue", out)
	return b
}

func newMinute(w topology.Window[string, sales]) Minute {
	return Minute{Start: w.Start.Format(time.RFC3339), Country: w.Key, Orders: w.Value.Orders, Cents: w.Value.Cents}
}
