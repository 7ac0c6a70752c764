package group

import (
	"fmt"
	"math"
	"time"
)

// leave ends a membership, or interrupts that of a static member.
func (g *Group) leave(now int64, c Leave) error {
	m, err := g.senderWith(now, c.Member, c.Epoch)
	if err != nil {
		return err
	}
	if m.instance == "" || c.Final {
		g.emit(left{m, now})
		g.rebalance()
		return nil
	}
	g.goAway(m)
	return nil
}

// goAway lets a static member go for a while. It keeps what it owns, but neither
// what it was to release nor what it was still to get.
func (g *Group) goAway(m *member) {
	m.absent, m.gone = true, g.generation
	var drop []*part
	for _, p := range g.partsOwnedBy(m) {
		if p.revoking {
			drop = append(drop, p)
		}
	}
	g.drop(drop)
	waiting := false
	g.eachPart(func(p *part) { waiting = waiting || p.target == m && p.owner != m })
	if waiting {
		g.rebalance()
	} else {
		g.reconcile()
	}
}

// release takes partitions back from a member that has stopped working on them.
func (g *Group) release(now int64, c Release) error {
	m, err := g.sender(now, c.Member)
	if err != nil {
		return err
	}
	var drop []*part
	for _, claim := range c.Partitions {
		// A release that comes late, again, or crosses a rewind is no error. What
		// the member was given after it sent it stays with the member.
		p, err := g.find(claim.Topic, claim.Partition)
		if err == nil && p.owner == m && claim.Epoch >= p.since && claim.Epoch <= p.epoch && g.once(p) == nil {
			drop = append(drop, p)
		}
	}
	if len(drop) > 0 {
		m.moved = max(m.moved, now)
		g.drop(drop)
		g.reconcile()
	}
	return nil
}

// evict ends a membership from outside.
func (g *Group) evict(now int64, c Evict) error {
	m := g.members[c.Member]
	if m == nil {
		return fmt.Errorf("%w: %q", ErrUnknownMember, c.Member)
	}
	g.expel(now, m, c.Reason)
	g.rebalance()
	return nil
}

// expel ends a membership without the member's consent. A rebalance must follow.
func (g *Group) expel(now int64, m *member, reason string) {
	g.tell(Fenced{m.id, reason})
	g.emit(left{m, now})
}

// heartbeat notes that a member is alive, and whether it makes progress. Having
// nothing to do is progress.
func (g *Group) heartbeat(now int64, c Heartbeat) error {
	m, err := g.senderWith(now, c.Member, c.Epoch)
	if err != nil {
		return err
	}
	if c.Progress != m.progress || c.InFlight == 0 && m.owed == 0 {
		m.moved, m.stuck = max(m.moved, now), false
	}
	m.progress, m.inFlight = c.Progress, c.InFlight
	return nil
}

// tick ends sessions, finds stuck members, and lets offsets expire.
func (g *Group) tick(now int64) {
	changed := false
	for _, m := range g.inOrder() {
		switch {
		case now >= m.seen+m.session:
			g.expel(now, m, fmt.Sprintf("no sign of life for %v", time.Duration(m.session)*time.Millisecond))
			changed = true
		case now >= m.progressBy(&g.config):
			m.stuck = true
			g.tell(Stuck{m.id, m.moved, m.inFlight, g.config.EvictStuck})
			if g.config.EvictStuck {
				g.expel(now, m, fmt.Sprintf("alive, but no progress for %v (ProgressTimeout)", g.config.ProgressTimeout))
				changed = true
			}
		}
	}
	if changed {
		g.rebalance()
	}
	if now >= g.forgetBy() {
		g.emit(expired{})
	}
}

// never is later than any time.
const never = math.MaxInt64

// progressBy is when a member is stuck, if it makes no progress until then.
func (m *member) progressBy(c *Config) int64 {
	if m.absent || m.stuck {
		return never
	}
	return m.moved + c.ProgressTimeout.Milliseconds()
}

// forgetBy is when the offsets of a group without members expire.
func (g *Group) forgetBy() int64 {
	if g.config.OffsetsRetention <= 0 || g.emptySince == 0 {
		return never
	}
	return g.emptySince + g.config.OffsetsRetention.Milliseconds()
}

// Deadline returns the time, in Unix ms, when a Tick has something to do if
// nothing happens until then. ok is false when it never has.
func (g *Group) Deadline() (at int64, ok bool) {
	at = g.forgetBy()
	for _, m := range g.members {
		at = min(at, m.seen+m.session, m.progressBy(&g.config))
	}
	return at, at != never
}

// recover makes a restored group ready. See Recover.
func (g *Group) recover(now int64) {
	renew := g.balanced != g.generation
	for _, m := range g.inOrder() {
		if m.instance == "" {
			g.emit(left{m, now})
			renew = true
			continue
		}
		m.absent, m.gone, m.seen, m.owed = true, g.generation, now, 0
	}
	g.syncing = false
	g.eachPart(func(p *part) { p.target, p.revoking = p.owner, false })
	if renew {
		g.rebalance()
	}
}
