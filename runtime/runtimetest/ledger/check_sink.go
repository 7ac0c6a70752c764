package ledger

import "fmt"

func (c *checker) checkSink(s *Sink) {
	place := fmt.Sprintf("sink %q", s.Name)
	there := map[ID]bool{}
	order := sequencer{}
	repeats := 0
	for i := range c.deliveries {
		d := &c.deliveries[i]
		if d.Sink != s.Name {
			continue
		}
		if there[d.ID] {
			repeats++
			c.checkRepeat(s, d)
			continue
		}
		there[d.ID] = true
		c.checkSent(place, d.ID, s.Expect)
		if !s.Unordered {
			order.next(c, place, d.ID, d.Key)
		}
	}
	if !s.EffectivelyOnce {
		c.v.Repeated += repeats
		if repeats > s.MaxRepeats {
			c.v.add(DuplicateDelivery, "%s has %d repeated deliveries, at most %d are explained by the faults", place, repeats, s.MaxRepeats)
		}
	}
	c.checkLost(place, there, s.Expect)
}

func (c *checker) checkRepeat(s *Sink, d *Delivery) {
	switch {
	case s.EffectivelyOnce:
		c.v.add(VisibleDuplicate, "%s came to sink %q again (attempt %d, %s)", d.ID, s.Name, d.Attempt, causeOf(d))
	case d.Cause == "":
		c.v.add(DuplicateDelivery, "%s came to sink %q again (attempt %d) and nothing says why", d.ID, s.Name, d.Attempt)
	}
}

func causeOf(d *Delivery) string {
	if d.Cause == "" {
		return "no cause given"
	}
	return d.Cause
}

// checkUndeclared makes a misspelt sink show: its deliveries would otherwise be
// checked by nobody.
func (c *checker) checkUndeclared() {
	declared := map[string]bool{}
	for i := range c.sinks {
		declared[c.sinks[i].Name] = true
	}
	for i := range c.deliveries {
		if name := c.deliveries[i].Sink; !declared[name] {
			declared[name] = true
			c.v.add(Incomplete, "deliveries to sink %q, which was not declared", name)
		}
	}
}
