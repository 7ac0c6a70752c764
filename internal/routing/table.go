package routing

import (
	"cmp"
	"fmt"
	"slices"
)

// Table is the exchanges, what they are bound to, and the queues and topics that
// can be reached. It changes by Apply alone. One goroutine at a time may call its
// methods, but for Router, which anyone may call.
type Table struct {
	limits Limits
	hasher hasher

	// What routers read too.
	exchanges smap[string, *exchange] // by name; that of the default one is ""

	targets map[Destination]*Target // queues and topics
	ids     ids                     // of targets, exchanges included
	direct  *directIndex            // of the default exchange
	effects []Effect                // of the command at hand
	data    func(Destination) any   // nil: targets carry nothing
}

// exchange is an exchange of the table.
type exchange struct {
	Exchange
	index    index
	self     *Target // as a destination
	bindings map[identity]*bound
}

// bound is a binding of the table.
type bound struct {
	Binding
	source *exchange
	target *Target
	at     int // in target.bindings

	weight  int      // in a consistent-hash exchange
	matcher *matcher // in a headers exchange
}

// New returns a table that holds the default exchange and nothing else. Limits
// that are 0 have their defaults.
func New(limits Limits) *Table {
	t := &Table{limits: limits.withDefaults(), hasher: newHasher(), targets: map[Destination]*Target{}}
	t.direct = &directIndex{hasher: t.hasher}
	t.add(Exchange{Type: Direct, Durable: true}, t.direct)
	return t
}

// Carry sets what the queues and topics that are declared from now on carry: what f
// returns is their Target.Data. f is called when nothing speaks against the target any
// more, and before any message can reach it.
func (t *Table) Carry(f func(Destination) any) { t.data = f }

// Apply carries out a command and returns what it changed, in order. The error
// is one of those of this package; then nothing is changed.
func (t *Table) Apply(c Command) ([]Effect, error) {
	t.effects = nil
	var err error
	switch c := c.(type) {
	case DeclareExchange:
		err = t.declareExchange(c.Exchange)
	case DeleteExchange:
		err = t.deleteExchange(c)
	case DeclareTarget:
		err = t.declareTarget(c.Destination)
	case DeleteTarget:
		err = t.deleteTarget(c.Destination)
	case Bind:
		err = t.bind(c.Binding)
	case Unbind:
		err = t.unbind(c.Binding)
	default:
		err = invalid("there is no command %T", c)
	}
	return t.effects, err
}

func (t *Table) note(e Effect) { t.effects = append(t.effects, e) }

// lookup is for routers too.
func (t *Table) lookup(name string) *exchange {
	if x := t.exchanges.get(t.hasher.of(name), name); x != nil {
		return *x
	}
	return nil
}

// Exchange returns what an exchange was declared with.
func (t *Table) Exchange(name string) (x Exchange, ok bool) {
	if found := t.lookup(name); found != nil {
		return found.Exchange, true
	}
	return Exchange{}, false
}

// Has says whether a queue, a topic or an exchange is there.
func (t *Table) Has(d Destination) bool { return t.find(d) != nil }

func (t *Table) find(d Destination) *Target {
	if d.Kind != ToExchange {
		return t.targets[d]
	}
	if x := t.lookup(d.Name); x != nil {
		return x.self
	}
	return nil
}

// Exchanges returns all exchanges but the default one, by name.
func (t *Table) Exchanges() []Exchange {
	var all []Exchange
	for e := range t.exchanges.entries() {
		if e.key != "" {
			all = append(all, e.value.Exchange)
		}
	}
	slices.SortFunc(all, func(a, b Exchange) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Targets returns all queues and topics: the queues first, each by name.
func (t *Table) Targets() []Destination {
	all := make([]Destination, 0, len(t.targets))
	for d := range t.targets {
		all = append(all, d)
	}
	slices.SortFunc(all, Destination.compare)
	return all
}

// From returns the bindings of an exchange as the source, sorted.
func (t *Table) From(exchange string) []Binding {
	x := t.lookup(exchange)
	if x == nil {
		return nil
	}
	all := make([]Binding, 0, len(x.bindings))
	for _, b := range x.bindings {
		all = append(all, b.Binding)
	}
	slices.SortFunc(all, Binding.compare)
	return all
}

// To returns the bindings that lead to a queue, a topic or an exchange, sorted.
func (t *Table) To(d Destination) []Binding {
	target := t.find(d)
	if target == nil {
		return nil
	}
	all := make([]Binding, 0, len(target.bindings))
	for _, b := range target.bindings {
		all = append(all, b.Binding)
	}
	slices.SortFunc(all, Binding.compare)
	return all
}

// Commands returns commands that make this table out of a new one. Tables that
// hold the same return the same.
func (t *Table) Commands() []Command {
	var all []Command
	exchanges := t.Exchanges()
	for _, x := range exchanges {
		all = append(all, DeclareExchange{x})
	}
	for _, d := range t.Targets() {
		all = append(all, DeclareTarget{d})
	}
	for _, x := range exchanges {
		for _, b := range t.From(x.Name) {
			all = append(all, Bind{b})
		}
	}
	return all
}

func missing(d Destination) error {
	return fmt.Errorf("%s: %w: declare it before binding it", d, ErrNotFound)
}
