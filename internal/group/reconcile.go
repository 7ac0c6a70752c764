package group

import (
	"cmp"
	"slices"
)

// rebalance begins a new generation and leads towards its assignment.
func (g *Group) rebalance() {
	g.beginGeneration()
	g.reconcile()
}

// beginGeneration computes who is to own what from now on.
func (g *Group) beginGeneration() {
	g.emit(rebalanced{g.generation + 1})
	g.retarget()
	g.syncing = g.assignor.Eager()
}

// retarget solves the assignment for the members that are present. What static
// members on leave own stays with them; they get nothing else.
func (g *Group) retarget() {
	var present []*member
	for _, m := range g.inOrder() {
		if !m.absent {
			m.position = len(present)
			present = append(present, m)
		}
	}
	q, parts := g.pose(present)
	g.eachPart(func(p *part) {
		p.target = nil
		if p.owner != nil && p.owner.absent {
			p.target = p.owner
		}
	})
	for i, m := range assignors[g.assignor].solve(q) {
		if m != none {
			parts[i].target = present[m]
		}
	}
}

// pose turns the group into numbers. parts are the partitions by their numbers.
func (g *Group) pose(present []*member) (q *problem, parts []*part) {
	subscribers := map[*topic][]int{}
	for i, m := range present {
		for _, t := range m.topics {
			subscribers[t] = append(subscribers[t], i)
		}
	}
	q = &problem{members: len(present)}
	for _, t := range g.sorted {
		if len(subscribers[t]) == 0 {
			continue
		}
		s := subject{subscribers: subscribers[t]}
		for _, p := range t.parts {
			if p.owner != nil && p.owner.absent {
				continue
			}
			s.partitions = append(s.partitions, len(parts))
			parts = append(parts, p)
			q.previous = append(q.previous, p.previous())
		}
		q.subjects = append(q.subjects, s)
	}
	return q, parts
}

// previous is the member that had the partition: the one that was to own it,
// because a move that has begun had better go on, or else its owner.
func (p *part) previous() int {
	for _, m := range []*member{p.target, p.owner} {
		if m != nil && !m.absent {
			return m.position
		}
	}
	return none
}

// reconcile does what can be done now to get from who owns what to who is to own
// it. A partition without an owner is given at once; one with an owner is first
// asked back. So no partition ever has two owners. A partition that was asked
// back is not left to its owner after all, even if the target changes so: the
// owner may have stopped working on it already.
//
// Eager assignors wait until everything has come back.
func (g *Group) reconcile() {
	var give, ask []*part
	held := false
	g.eachPart(func(p *part) {
		here := p.owner != nil && !p.owner.absent
		held = held || here
		switch {
		case p.owner == nil && p.target != nil && !p.target.absent:
			give = append(give, p)
		case here && !p.revoking && (g.syncing || p.target != p.owner):
			ask = append(ask, p)
		}
	})
	g.ask(ask)
	if g.syncing && held {
		return
	}
	g.syncing = false
	g.give(give)
	g.noteBalance()
}

// give makes the targets of partitions their owners.
func (g *Group) give(parts []*part) {
	epoch := g.nextEpoch()
	eachMember(parts, func(p *part) *member { return p.target }, func(m *member, run []*part) {
		g.emit(given{m, epoch, run})
		g.tellAssigned(m, run)
	})
}

// ask asks the owners of partitions to release them.
func (g *Group) ask(parts []*part) {
	for _, p := range parts {
		p.revoking = true
		p.owner.owed++
	}
	eachMember(parts, func(p *part) *member { return p.owner }, g.tellRevoke)
}

// drop takes partitions from their owners, who do not work on them.
func (g *Group) drop(parts []*part) {
	if len(parts) > 0 {
		slices.SortFunc(parts, compareParts)
		g.emit(released{parts})
	}
}

// eachMember calls f for every member that partitions belong to by the function
// of, with these partitions.
func eachMember(parts []*part, of func(*part) *member, f func(*member, []*part)) {
	slices.SortStableFunc(parts, func(a, b *part) int { return cmp.Compare(of(a).position, of(b).position) })
	for len(parts) > 0 {
		m, n := of(parts[0]), 1
		for n < len(parts) && of(parts[n]) == m {
			n++
		}
		f(m, parts[:n])
		parts = parts[n:]
	}
}

func (g *Group) tellAssigned(m *member, parts []*part) {
	if len(parts) > 0 {
		g.tell(Assigned{m.id, g.generation, assignments(parts)})
	}
}

func (g *Group) tellRevoke(m *member, parts []*part) {
	if len(parts) > 0 {
		g.tell(Revoke{m.id, g.generation, claims(parts)})
	}
}

// noteBalance journals that the generation's assignment was given out whole. A
// group that is restored in the middle of that begins a new generation, since
// the targets are not stored.
func (g *Group) noteBalance() {
	done := g.balanced != g.generation && !g.syncing
	for _, m := range g.members {
		done = done && !m.absent
	}
	if !done {
		return
	}
	g.eachPart(func(p *part) { done = done && p.owner == p.target && !p.revoking })
	if done {
		g.emit(balanced{})
	}
}
