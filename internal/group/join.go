package group

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// join makes a member, changes one, or brings a static one back.
func (g *Group) join(now int64, c Join) error {
	before := g.members[c.Member]
	if before == nil && c.Instance != "" {
		before = g.instances[c.Instance]
	}
	assignor, session, err := g.checkJoin(&c, before)
	if err != nil {
		return err
	}
	still := before != nil && before.id == c.Member && !before.absent
	e := joined{id: c.Member, instance: c.Instance, client: c.Client, session: session.Milliseconds(), assignor: assignor, epoch: g.nextEpoch()}
	renewed := before == nil || assignor != g.assignor || !slices.EqualFunc(before.topics, c.Topics,
		func(t *topic, n Topic) bool { return t.name == n.Name })
	if before != nil {
		e.replaces = before.id
		renewed = renewed || before.absent && before.gone != g.generation
	}
	if still {
		e.epoch = before.epoch
	}
	renewed = g.grow(c.Topics) || renewed
	for _, t := range c.Topics {
		e.topics = append(e.topics, g.topics[t.Name])
	}
	g.emit(e)
	m := g.members[c.Member]
	m.absent, m.seen = false, now
	if before != nil && !still {
		g.comeBack(now, m, e.replaces, renewed)
		return nil
	}
	if renewed {
		g.beginGeneration()
	}
	if still {
		g.remind(m)
	} else {
		m.moved = now
		g.welcome(m)
	}
	g.reconcile()
	return nil
}

func (g *Group) welcome(m *member) { g.tell(Welcome{m.id, m.epoch, g.generation, g.assignor}) }

// remind tells a member that asks again what it was told before.
func (g *Group) remind(m *member) {
	g.welcome(m)
	var keep, release []*part
	for _, p := range g.partsOwnedBy(m) {
		if keep = append(keep, p); p.revoking {
			release = append(release, p)
		}
	}
	g.tellAssigned(m, keep)
	g.tellRevoke(m, release)
}

// comeBack gives a static member that joins under a new id what the one before
// had. The new one has not begun to work on anything, so that what is to go to
// others can go at once.
func (g *Group) comeBack(now int64, m *member, old string, renewed bool) {
	if old != m.id {
		g.tell(Fenced{old, fmt.Sprintf("member %s joined as the same instance %s; of two with the same instance the younger one stays", m.id, m.instance)})
	}
	m.moved, m.progress, m.inFlight, m.stuck = now, 0, 0, false
	if renewed {
		g.beginGeneration()
	}
	var keep, drop []*part
	for _, p := range g.partsOwnedBy(m) {
		if p.revoking || p.target != m || g.syncing {
			drop = append(drop, p)
		} else {
			keep = append(keep, p)
		}
	}
	g.drop(drop)
	if len(keep) > 0 {
		g.emit(given{m, g.nextEpoch(), keep})
	}
	g.welcome(m)
	g.tellAssigned(m, keep)
	g.reconcile()
}

// checkJoin checks all that can be wrong with a Join, sorts its topics, and
// returns what its defaults are.
func (g *Group) checkJoin(c *Join, before *member) (Assignor, time.Duration, error) {
	l := &g.config.Limits
	session := c.SessionTimeout
	if session == 0 {
		session = g.config.SessionTimeout
	}
	switch {
	case c.Member == "":
		return 0, 0, fmt.Errorf("%w: a member needs an id", ErrInvalid)
	case before != nil && before.id == c.Member && before.instance != c.Instance:
		return 0, 0, fmt.Errorf("%w: member %q joined as instance %q and cannot become %q: join with a new id", ErrInvalid, c.Member, before.instance, c.Instance)
	case before == nil && len(g.members) >= l.Members:
		return 0, 0, tooMany("members", len(g.members)+1, "Members", l.Members)
	case session < l.MinSessionTimeout || session > l.MaxSessionTimeout:
		return 0, 0, fmt.Errorf("%w: a session timeout of %v; MinSessionTimeout is %v, MaxSessionTimeout %v", ErrInvalid, session, l.MinSessionTimeout, l.MaxSessionTimeout)
	}
	for _, s := range []string{c.Member, c.Instance, c.Client} {
		if err := l.checkName(s); err != nil {
			return 0, 0, err
		}
	}
	c.Topics = slices.Clone(c.Topics)
	slices.SortFunc(c.Topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	growth, err := g.checkTopics(c.Topics)
	if err != nil {
		return 0, 0, err
	}
	growth += memberSize + len(c.Member) + len(c.Instance) + len(c.Client) + joinSize*len(c.Topics)
	if before != nil {
		growth -= before.size()
	}
	if err := g.room(growth); err != nil {
		return 0, 0, err
	}
	assignor, err := g.chooseAssignor(c.Assignor, before)
	return assignor, session, err
}

// chooseAssignor: the first member of an empty group decides.
func (g *Group) chooseAssignor(wanted Assignor, before *member) (Assignor, error) {
	others := len(g.members)
	if before != nil {
		others--
	}
	switch {
	case wanted != AnyAssignor && !wanted.Valid():
		return 0, fmt.Errorf("%w: %v does not exist", ErrInvalid, wanted)
	case others == 0 && wanted != AnyAssignor:
		return wanted, nil
	case len(g.members) == 0:
		return g.config.Assignor, nil
	case wanted == AnyAssignor || wanted == g.assignor:
		return g.assignor, nil
	}
	return 0, fmt.Errorf("%w: the group assigns by %v, the member asks for %v: let all members ask for the same, or for none", ErrConflict, g.assignor, wanted)
}

func (l *Limits) checkName(s string) error {
	if len(s) > l.NameBytes {
		return fmt.Errorf("%w: %.40q... has %d bytes, the limit NameBytes is %d", ErrLimit, s, len(s), l.NameBytes)
	}
	return nil
}
