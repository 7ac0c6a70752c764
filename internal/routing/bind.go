package routing

import (
	"fmt"
	"maps"
	"slices"
)

func (t *Table) bind(b Binding) error {
	b, err := b.checked(&t.limits)
	if err != nil {
		return err
	}
	source, target := t.lookup(b.Source), t.find(b.Destination)
	switch {
	case source == nil:
		return missing(Destination{ToExchange, b.Source})
	case target == nil:
		return missing(b.Destination)
	}
	id := identity{target, b.Key, argsIdentity(b.Args)}
	if source.bindings[id] != nil {
		return nil
	}
	added := &bound{Binding: b, source: source, target: target}
	if err := t.fits(added); err != nil {
		return err
	}
	source.bindings[id] = added
	added.at = len(target.bindings)
	target.bindings = append(target.bindings, added)
	source.index.add(added)
	t.note(Bound{b})
	return nil
}

// fits checks what depends on the type of the exchange.
func (t *Table) fits(b *bound) (err error) {
	if len(b.source.bindings) >= t.limits.ExchangeBindings {
		return over("ExchangeBindings", t.limits.ExchangeBindings, fmt.Sprintf("exchange %q would have more bindings", b.Source))
	}
	switch x := b.source.index.(type) {
	case *headerIndex:
		_, _, err = matchArgs(b.Args)
	case *consistentIndex:
		if b.weight, err = weightOf(b.Key, &t.limits); err == nil {
			err = x.fits(b, &t.limits)
		}
	}
	return err
}

// unbind removes a binding. What cannot be bound is not there, so nothing else
// is checked: a binding from before a limit was lowered can be removed.
func (t *Table) unbind(b Binding) error {
	if b.Source == "" {
		return ErrDefaultExchange
	}
	source, target := t.lookup(b.Source), t.find(b.Destination)
	if source == nil || target == nil {
		return nil
	}
	id := identity{target, b.Key, argsIdentity(sortedArgs(b.Args))}
	if found := source.bindings[id]; found != nil {
		t.remove(found)
		t.autoDelete(source)
	}
	return nil
}

// remove takes a binding out of its exchange, and off the list of its target.
func (t *Table) remove(b *bound) {
	b.source.index.remove(b)
	delete(b.source.bindings, identity{b.target, b.Key, argsIdentity(b.Args)})
	list := b.target.bindings
	last := list[len(list)-1]
	list[b.at], last.at = last, b.at
	list[len(list)-1] = nil
	b.target.bindings = list[:len(list)-1]
	t.note(Unbound{b.Binding})
}

// removeAllTo removes all bindings to a target that is gone, and then the
// exchanges that have none left and want to go with their last.
func (t *Table) removeAllTo(target *Target) {
	all := slices.SortedFunc(slices.Values(target.bindings), compareBound)
	for _, b := range all {
		t.remove(b)
	}
	for _, b := range all {
		t.autoDelete(b.source)
	}
}

// autoDelete removes an exchange that lost a binding, if that was the last and
// the exchange is there still.
func (t *Table) autoDelete(x *exchange) {
	if x.AutoDelete && len(x.bindings) == 0 && t.lookup(x.Name) == x {
		t.drop(x, true)
	}
}

func sorted(bindings map[identity]*bound) []*bound {
	return slices.SortedFunc(maps.Values(bindings), compareBound)
}

func compareBound(a, b *bound) int { return a.compare(b.Binding) }
