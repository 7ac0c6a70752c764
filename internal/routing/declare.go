package routing

import "fmt"

func (t *Table) declareExchange(x Exchange) error {
	if err := x.check(&t.limits); err != nil {
		return err
	}
	if current := t.lookup(x.Name); current != nil {
		return current.equivalent(&x)
	}
	if int(t.exchanges.live) > t.limits.Exchanges { // the default one is not counted
		return over("Exchanges", t.limits.Exchanges, "one exchange more is too many")
	}
	t.add(x, newIndex(t, &x))
	t.note(ExchangeDeclared{x})
	return nil
}

func (t *Table) add(x Exchange, i index) {
	added := &exchange{Exchange: x, index: i, bindings: map[identity]*bound{}}
	added.self = &Target{Destination: Destination{ToExchange, x.Name}, id: t.ids.take(), exchange: added}
	t.exchanges.put(t.hasher.of(x.Name), x.Name, added)
}

func (t *Table) deleteExchange(c DeleteExchange) error {
	if c.Name == "" {
		return ErrDefaultExchange
	}
	x := t.lookup(c.Name)
	if x == nil {
		return nil
	}
	if c.IfUnused && len(x.bindings) > 0 {
		return fmt.Errorf("exchange %q: %w: %d bindings lead from it: unbind them, or delete it all the same", c.Name, ErrInUse, len(x.bindings))
	}
	t.drop(x, false)
	return nil
}

// drop removes an exchange with its bindings. It is out of sight first, so that
// nothing that follows from the bindings comes back to it.
func (t *Table) drop(x *exchange, auto bool) {
	t.exchanges.delete(t.hasher.of(x.Name), x.Name)
	t.note(ExchangeDeleted{x.Exchange, auto})
	for _, b := range sorted(x.bindings) {
		t.remove(b)
	}
	t.removeAllTo(x.self)
	t.ids.give(x.self.id)
}

func (t *Table) declareTarget(d Destination) error {
	if d.Kind == ToExchange {
		return invalid("%s is no queue or topic: exchanges are declared with DeclareExchange", d)
	}
	if err := d.check(&t.limits); err != nil {
		return err
	}
	if t.targets[d] != nil {
		return nil
	}
	if len(t.targets) == t.limits.Targets {
		return over("Targets", t.limits.Targets, "one queue or topic more is too many")
	}
	target := &Target{Destination: d, id: t.ids.take()}
	if t.data != nil {
		target.Data = t.data(d)
	}
	t.targets[d] = target
	if d.Kind == ToQueue {
		t.direct.add(byName(target))
	}
	t.note(TargetDeclared{d})
	return nil
}

func (t *Table) deleteTarget(d Destination) error {
	if d.Kind == ToExchange {
		return invalid("%s is no queue or topic: exchanges are deleted with DeleteExchange", d)
	}
	target := t.targets[d]
	if target == nil {
		return nil
	}
	delete(t.targets, d)
	if d.Kind == ToQueue {
		t.direct.remove(byName(target))
	}
	t.note(TargetDeleted{d})
	t.removeAllTo(target)
	t.ids.give(target.id)
	return nil
}

// byName is how the default exchange reaches a queue. It is no binding that
// anyone could see or remove.
func byName(t *Target) *bound {
	return &bound{Binding: Binding{Destination: t.Destination, Key: t.Name}, target: t}
}
