package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/troupestream/troupe/actor/topics"
)

// Order is what a customer has bought.
type Order struct {
	ID       string `json:"order_id"`
	Card     int    `json:"card"`
	Customer string `json:"customer"`
	Country  string `json:"country"`
	Cents    int64  `json:"cents"`
	At       int64  `json:"at"` // when, in Unix milliseconds
}

func (o Order) time() time.Time { return time.UnixMilli(o.At) }

// partitions is how many the topic has. The orders of a card are in one of them, in
// the order in which they were placed.
const partitions = 4

func (o Order) partition() int { return o.Card % partitions }

// bus is the topic that everybody reads.
var bus = topics.Of[Order]("orders").Partitions(partitions).AsJSON()

// shop is where orders come from. Everything about an order follows from the seed and
// its number: whoever makes it again makes the same one, and no result depends on when
// or how often the program ran.
type shop struct {
	seed   uint64
	orders int
}

// What happens in the shop.
const (
	orderEvery  = 250 * time.Millisecond // in event time: 240 a minute
	disorderMax = 20 * time.Second       // so much later than they were placed orders come, at most

	ordersPerCard = 20 // on average
	burstEvery    = 500
	burstOrders   = 12 // that one card places in a row
	hugeOneIn     = 250
	hugeTimes     = 25 // as much as usual
	nobodyOneIn   = 200
	skullOneIn    = 300
)

// opening is when the shop opens.
var opening = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

var (
	countries = []string{"DE", "FR", "IT", "SE", "US"}
	names     = []string{"Ada", "Barbara", "Edsger", "Grace", "Joe", "Leslie", "Tony"}
)

// order makes the order of a number, 0 to orders-1.
func (s shop) order(i int) Order {
	random := rand.New(rand.NewPCG(s.seed, uint64(i)))
	card := s.card(i, random)
	usual := 1000 + int64(rand.New(rand.NewPCG(s.seed, ^uint64(card))).IntN(20_000))
	o := Order{
		ID:       fmt.Sprintf("ord-%06d", i+1),
		Card:     card,
		Customer: names[random.IntN(len(names))],
		Country:  countries[card%len(countries)],
		Cents:    usual/2 + random.Int64N(usual),
		At:       opening.Add(time.Duration(i)*orderEvery - time.Duration(random.Int64N(int64(disorderMax)))).UnixMilli(),
	}
	if random.IntN(hugeOneIn) == 0 {
		o.Cents *= hugeTimes
	}
	switch {
	case random.IntN(nobodyOneIn) == 0:
		o.Customer = ""
	case random.IntN(skullOneIn) == 0:
		o.Customer = "☠"
	}
	return o
}

// card says who orders: now and then somebody with a stolen card, many times in a row.
func (s shop) card(i int, random *rand.Rand) int {
	cards := max(partitions, s.orders/ordersPerCard)
	if i%burstEvery < burstOrders && i >= burstEvery {
		return rand.New(rand.NewPCG(s.seed, uint64(i/burstEvery)<<32)).IntN(cards)
	}
	return random.IntN(cards)
}

// ends is where the partitions end when all orders are published.
func (s shop) ends() (ends [partitions]uint64) {
	for i := range s.orders {
		ends[s.order(i).partition()]++
	}
	return ends
}
