package routing

import (
	"fmt"
	"slices"
)

// Target is a destination that messages reach. There is one Target for as long
// as the queue or topic is declared, so its address can stand for it.
type Target struct {
	Destination

	// Data is what Table.Carry has given it; nil: nothing.
	Data any

	id       uint32    // for marks
	exchange *exchange // what it leads to, if it is an exchange
	bindings []*bound  // of the writer alone: those that lead here
}

// Result is what Route found out about one message. Its memory is used again by
// the next Route that is given it.
type Result struct {
	// Targets are the queues and topics that the message goes to, each once, in
	// no particular order. With none the message is unroutable.
	Targets []*Target
	// Alternates is how many alternate exchanges it was sent to because
	// something before them matched no binding.
	Alternates int
	// MissingAlternate names the first alternate exchange that was needed and
	// does not exist; "": none.
	MissingAlternate string
}

// Router routes messages by a table, and keeps the memory that this takes from
// one message to the next. Each goroutine needs its own; any number may route
// while the table changes. A message that is routed while a binding is made or
// removed is routed by either the bindings before or those after.
type Router struct {
	table   *Table
	message *Message
	out     *Result

	reached marks       // targets, and exchanges, that the message came to
	pending []*exchange // came to, but yet to be routed by
	matched bool        // a binding of the exchange at hand
	walk    walk        // through the trie of a topic exchange
	cache   keyCache    // of such walks
}

// Router returns a new router. It may be asked for by any goroutine.
func (t *Table) Router() *Router { return &Router{table: t} }

// Route finds the queues and topics that a message published to an exchange goes
// to. The message goes to all targets of the bindings that match, through
// exchanges that are bound to exchanges, and through the alternate exchange of
// each exchange on the way of which no binding matches; every exchange routes it
// once. In the steady state it allocates nothing.
//
// The error is an ErrNotFound, an ErrInternal or an ErrLimit; nothing is routed
// then. That there are no targets is no error.
func (r *Router) Route(exchange string, m *Message, out *Result) error {
	*out = Result{Targets: out.Targets[:0]}
	x, err := r.enter(exchange, m)
	if err != nil {
		return err
	}
	r.message, r.out = m, out
	err = r.run(x)
	r.message, r.out = nil, nil
	if err != nil {
		*out = Result{Targets: out.Targets[:0]}
	}
	return err
}

func (r *Router) enter(exchange string, m *Message) (*exchange, error) {
	if err := m.check(&r.table.limits); err != nil {
		return nil, err
	}
	x := r.table.lookup(exchange)
	if x == nil {
		return nil, fmt.Errorf("exchange %q: %w: declare it before publishing to it", exchange, ErrNotFound)
	}
	if x.Internal && !m.Inside {
		return nil, fmt.Errorf("%w: %q takes messages from other exchanges only: publish to one that is bound to it", ErrInternal, exchange)
	}
	return x, nil
}

func (r *Router) run(x *exchange) error {
	r.reached.reset()
	r.reached.add(x.self.id)
	r.pending = append(r.pending[:0], x)
	for hops := 0; len(r.pending) > 0; hops++ {
		if hops == r.table.limits.Hops {
			return over("Hops", hops, "the message passes through more exchanges")
		}
		last := len(r.pending) - 1
		x, r.pending = r.pending[last], r.pending[:last]
		r.matched = false
		x.index.route(r)
		if !r.matched && x.Alternate != "" {
			r.alternate(x.Alternate)
		}
	}
	return nil
}

// alternate sends the message to an alternate exchange, unless it was there.
func (r *Router) alternate(name string) {
	x := r.table.lookup(name)
	switch {
	case x == nil && r.out.MissingAlternate == "":
		r.out.MissingAlternate = name
	case x != nil && r.reached.add(x.self.id):
		r.out.Alternates++
		r.pending = append(r.pending, x)
	}
}

// few is up to how many targets are told apart by looking at them. Most messages
// reach no more, and the marks of 10,000 targets are more memory than is near.
const few = 8

// reach is for indexes: a binding to the target matches.
func (r *Router) reach(t *Target) {
	r.matched = true
	targets := r.out.Targets
	switch {
	case t.exchange != nil:
		if r.reached.add(t.id) {
			r.pending = append(r.pending, t.exchange)
		}
	case len(targets) < few:
		if !slices.Contains(targets, t) {
			r.out.Targets = append(targets, t)
		}
	default:
		r.reachMany(t)
	}
}

// reachMany tells targets apart by marks, and marks the first few when the next
// comes.
func (r *Router) reachMany(t *Target) {
	if len(r.out.Targets) == few {
		for _, before := range r.out.Targets {
			r.reached.add(before.id)
		}
	}
	if r.reached.add(t.id) {
		r.out.Targets = append(r.out.Targets, t)
	}
}

func (r *Router) reachAll(targets []*Target) {
	for _, t := range targets {
		r.reach(t)
	}
}
