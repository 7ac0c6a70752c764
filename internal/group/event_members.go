package group

// joined: a member is there, or subscribes to other topics, or took the place of
// another one as the same instance.
type joined struct {
	id, instance, client string
	replaces             string // the id before; "": the member is new
	epoch                uint64
	session              int64 // ms
	assignor             Assignor
	topics               []*topic
}

func (joined) kind() byte { return kindJoined }

func (e joined) put(w *writer) {
	for _, s := range []string{e.id, e.instance, e.client, e.replaces} {
		w.Text(s)
	}
	w.Num(e.epoch)
	w.Num(uint64(e.session))
	w.Num(uint64(e.assignor))
	w.Num(uint64(len(e.topics)))
	for _, t := range e.topics {
		w.Text(t.name)
	}
}

func readJoined(r *reader) event {
	e := joined{id: r.Text(), instance: r.Text(), client: r.Text(), replaces: r.Text()}
	e.epoch, e.session = r.Num(), r.Int64()
	e.assignor = r.assignor()
	n := r.Count(2)
	e.topics = make([]*topic, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		e.topics = append(e.topics, r.topic())
	}
	r.checkJoined(e)
	return e
}

// checkJoined checks that the member can be.
func (r *reader) checkJoined(e joined) {
	before, other, static := r.g.members[e.replaces], r.g.members[e.id], r.g.instances[e.instance]
	switch {
	case r.Err() != nil:
	case e.id == "", e.replaces != "" && before == nil, other != nil && other != before,
		before != nil && before.instance != e.instance, static != nil && static != before,
		!isAscending(e.topics, compareTopics):
		r.Fail("member %.40q cannot join", e.id)
	}
}

func (r *reader) assignor() Assignor {
	a := r.Num()
	if a > 255 || !Assignor(a).Valid() {
		r.Fail("there is no assignor %d", a)
	}
	return Assignor(a)
}

func (e joined) apply(g *Group) {
	m := g.members[e.replaces]
	if m == nil {
		m = &member{}
	} else {
		g.size -= m.size()
		delete(g.members, m.id)
	}
	m.id, m.instance, m.client, m.epoch, m.session, m.topics = e.id, e.instance, e.client, e.epoch, e.session, e.topics
	g.members[m.id] = m
	if m.instance != "" {
		g.instances[m.instance] = m
	}
	g.size += m.size()
	g.epoch = max(g.epoch, e.epoch)
	g.assignor, g.emptySince = e.assignor, 0
}

// left: a member is gone, and owns nothing any more.
type left struct {
	member *member
	at     int64 // Unix ms
}

func (left) kind() byte { return kindLeft }

func (e left) put(w *writer) {
	w.Text(e.member.id)
	w.Num(uint64(max(e.at, 0)))
}

func (e left) apply(g *Group) {
	m := e.member
	g.eachPart(func(p *part) {
		if p.owner == m {
			p.disown()
		}
		if p.target == m {
			p.target = nil
		}
	})
	delete(g.members, m.id)
	delete(g.instances, m.instance)
	g.size -= m.size()
	if len(g.members) == 0 {
		g.emptySince = max(e.at, 0)
	}
}

// disown leaves a partition without an owner.
func (p *part) disown() {
	if p.revoking {
		p.owner.owed--
	}
	p.owner, p.since, p.epoch, p.revoking = nil, 0, 0, false
}

// rebalanced: a generation has begun.
type rebalanced struct{ generation uint64 }

func (rebalanced) kind() byte { return kindRebalanced }

func (e rebalanced) put(w *writer) { w.Num(e.generation) }

func (e rebalanced) apply(g *Group) { g.generation = e.generation }

func readRebalanced(r *reader) event {
	e := rebalanced{r.Num()}
	if e.generation < r.g.generation {
		r.Fail("generation %d comes after %d", e.generation, r.g.generation)
	}
	return e
}

// balanced: everybody owns what the generation gives them.
type balanced struct{}

func (balanced) kind() byte { return kindBalanced }

func (balanced) put(*writer) {}

func (balanced) apply(g *Group) { g.balanced = g.generation }

// given: partitions without an owner have one; or their owner, which has a new
// id, was given them again.
type given struct {
	member *member
	epoch  uint64
	parts  []*part
}

func (given) kind() byte { return kindGiven }

func (e given) put(w *writer) {
	w.Text(e.member.id)
	w.Num(e.epoch)
	w.parts(e.parts)
}

func readGiven(r *reader) event {
	e := given{r.member(), r.epoch(), r.parts()}
	for _, p := range e.parts {
		if p != nil && p.owner != nil && p.owner != e.member {
			r.Fail("topic %s, partition %d would have two owners", p.topic.name, p.index)
		}
	}
	return e
}

func (e given) apply(g *Group) {
	for _, p := range e.parts {
		p.owner, p.since, p.epoch = e.member, e.epoch, e.epoch
	}
	g.epoch = e.epoch
}

// released: partitions have no owner any more.
type released struct{ parts []*part }

func (released) kind() byte { return kindReleased }

func (e released) put(w *writer) { w.parts(e.parts) }

func (e released) apply(*Group) {
	for _, p := range e.parts {
		p.disown()
	}
}
