package ledger

import (
	"cmp"
	"maps"
	"slices"
)

// Check compares everything that was noted.
func (l *Ledger) Check() *Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &checker{Ledger: l, sent: map[ID]*message{}}
	c.checkComplete()
	c.indexSends()
	if c.logs {
		c.checkLog()
	}
	for i := range c.sinks {
		c.checkSink(&c.sinks[i])
	}
	c.checkUndeclared()
	for _, s := range c.states {
		c.v.add(StateMismatch, "%s: %s", s.what, s.text)
	}
	return &c.v
}

// checker holds the indexes of one check.
type checker struct {
	*Ledger
	v    Verdict
	sent map[ID]*message
	ids  []ID // of sent, by producer and sequence
}

// message is what all attempts to send one message add up to.
type message struct {
	Send         // of the attempt that decides
	acked []Send // attempts that were acknowledged with an offset
}

// checkComplete makes sure that there was something to see and that somebody
// looked at all of it.
func (c *checker) checkComplete() {
	v := &c.v
	v.Logged, v.Delivered, v.Reads, v.States = len(c.entries), len(c.deliveries), len(c.reads), c.compared
	if len(c.sends) == 0 && c.compared == 0 {
		v.add(Incomplete, "nothing was sent, so nothing can be missing")
	}
	if !c.logs && len(c.sinks) == 0 && c.compared == 0 {
		v.add(Incomplete, "neither logs nor sinks nor states were looked at")
	}
	if (c.logs || len(c.sinks) > 0) && len(c.reads) == 0 {
		v.add(Incomplete, "no reader said how far it came")
	}
	for _, r := range c.reads {
		if r.Got < r.Want {
			v.add(Incomplete, "the reader of %s came to record %d of %d", r.What, r.Got, r.Want)
		}
		if r.Errors > 0 {
			v.add(Incomplete, "the reader of %s met %d errors, first: %s", r.What, r.Errors, r.Problem)
		}
	}
}

// indexSends combines the attempts of each message: one acknowledgement
// decides, and a failure only if no attempt is in doubt.
func (c *checker) indexSends() {
	for _, s := range c.sends {
		m := c.sent[s.ID]
		if m == nil {
			m = &message{Send: s}
			c.sent[s.ID] = m
		}
		if stronger(s.Outcome, m.Outcome) {
			m.Outcome = s.Outcome
		}
		if s.Outcome == OK && s.Offset != NoOffset {
			m.acked = append(m.acked, s)
		}
	}
	for _, m := range c.sent {
		switch m.Outcome {
		case OK:
			c.v.OK++
		case Fail:
			c.v.Fail++
		default:
			c.v.Info++
		}
	}
	c.ids = sortedIDs(maps.Keys(c.sent))
}

func stronger(a, b Outcome) bool {
	rank := [...]int{OK: 2, Info: 1, Fail: 0}
	return rank[a] > rank[b]
}

func sortedIDs(ids func(func(ID) bool)) []ID {
	return slices.SortedFunc(ids, func(a, b ID) int {
		return cmp.Or(cmp.Compare(a.Producer, b.Producer), cmp.Compare(a.Seq, b.Seq))
	})
}

// span is the range of a producer's sequences that are at a place.
type span struct{ first, last uint64 }

// checkLost compares the messages that must be at a place with those that are.
func (c *checker) checkLost(place string, there map[ID]bool, expect func(Send) bool) {
	spans := map[string]span{}
	for id := range there {
		s, ok := spans[id.Producer]
		if !ok {
			s = span{id.Seq, id.Seq}
		}
		spans[id.Producer] = span{min(s.first, id.Seq), max(s.last, id.Seq)}
	}
	for _, id := range c.ids {
		m := c.sent[id]
		if m.Outcome == OK && !there[id] && (expect == nil || expect(m.Send)) {
			s, any := spans[id.Producer]
			c.v.add(lostClass(id.Seq, s, any), "%s was acknowledged and is not in %s", id, place)
		}
	}
}

// lostClass: of a producer of whom nothing is there, the end is lost.
func lostClass(seq uint64, s span, any bool) Class {
	switch {
	case !any || seq > s.last:
		return LostPostfix
	case seq < s.first:
		return LostPrefix
	default:
		return LostMiddle
	}
}

// checkSent reports what is at a place and should not be.
func (c *checker) checkSent(place string, id ID, expect func(Send) bool) {
	m := c.sent[id]
	switch {
	case m == nil:
		c.v.add(Unexpected, "%s is in %s and was never sent", id, place)
	case m.Outcome == Fail:
		c.v.add(Aborted, "%s is in %s although every attempt to send it failed", id, place)
	case expect != nil && !expect(m.Send):
		c.v.add(Unexpected, "%s is in %s and does not belong there", id, place)
	}
}

// keyed is a key of one producer: the unit of order.
type keyed struct{ producer, key string }

// sequencer checks that the messages of a key come in the order they were sent.
type sequencer map[keyed]uint64

func (s sequencer) next(c *checker, place string, id ID, key string) {
	k := keyed{id.Producer, key}
	if last, ok := s[k]; ok && id.Seq < last {
		c.v.add(WrongOrder, "%s comes after %s/%d in %s, both have key %q", id, id.Producer, last, place, key)
		return
	}
	s[k] = id.Seq
}
