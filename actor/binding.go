package actor

import (
	"fmt"

	"github.com/troupestream/troupe/internal/routing"
)

// Binding leads from an exchange to one destination: a queue, a topic or another
// exchange. All of it together is its identity: to unbind takes the same.
type Binding struct {
	Exchange   string
	Queue      string // of the destinations,
	Topic      string // exactly one
	ToExchange string // is given
	// RoutingKey is what the exchange's type makes of it: a key, a pattern, a weight.
	RoutingKey string
	// Args are what a headers exchange matches; x-match among them says how.
	Args []MessageHeader
}

// String is for people: orders → queue "email", key "orders.#".
func (b Binding) String() string {
	r, err := b.routing()
	if err != nil {
		return fmt.Sprintf("%s → ?", b.Exchange)
	}
	return r.String()
}

func (b *Binding) routing() (routing.Binding, error) {
	var to []routing.Destination
	for _, d := range []routing.Destination{{Kind: routing.ToQueue, Name: b.Queue}, {Kind: routing.ToTopic, Name: b.Topic}, {Kind: routing.ToExchange, Name: b.ToExchange}} {
		if d.Name != "" {
			to = append(to, d)
		}
	}
	if len(to) != 1 {
		return routing.Binding{}, fmt.Errorf("%w: a binding needs exactly one of Queue, Topic and ToExchange", ErrInvalid)
	}
	return routing.Binding{Source: b.Exchange, Destination: to[0], Key: b.RoutingKey, Args: b.Args}, nil
}

func bindingOf(r routing.Binding) Binding {
	b := Binding{Exchange: r.Source, RoutingKey: r.Key, Args: r.Args}
	switch r.Kind {
	case routing.ToQueue:
		b.Queue = r.Name
	case routing.ToTopic:
		b.Topic = r.Name
	case routing.ToExchange:
		b.ToExchange = r.Name
	}
	return b
}
