package group

import "fmt"

// resize tells the group of topics and of their growth.
func (g *Group) resize(c Resize) error {
	growth, err := g.checkTopics(c.Topics)
	if err != nil {
		return err
	}
	if err := g.room(growth); err != nil {
		return err
	}
	if g.grow(c.Topics) {
		g.rebalance()
	}
	return nil
}

// checkTopics checks topics that a command names, against the limits too, and
// returns by how much they make the state grow.
func (g *Group) checkTopics(topics []Topic) (growth int, err error) {
	l := &g.config.Limits
	count, partitions := len(g.topics), g.partitions
	seen := map[string]bool{}
	for _, t := range topics {
		if t.Name == "" || t.Partitions < 1 || seen[t.Name] {
			return 0, fmt.Errorf("%w: topic %q with %d partitions: a topic needs a name, partitions, and to be named once", ErrInvalid, t.Name, t.Partitions)
		}
		if err := l.checkName(t.Name); err != nil {
			return 0, err
		}
		seen[t.Name] = true
		known := g.topics[t.Name]
		if known == nil {
			count++
			growth += topicSize + len(t.Name)
		}
		more := known.growth(t)
		if more > l.Partitions-partitions {
			return 0, tooMany("partitions", t.Partitions, "Partitions of all topics of a group", l.Partitions)
		}
		partitions += more
		growth += partSize * more
	}
	if count > l.Topics {
		return 0, tooMany("topics", count, "Topics", l.Topics)
	}
	return growth, nil
}

// growth is by how many partitions a topic grows with what is said of it. It may
// shrink if it is another topic.
func (t *topic) growth(said Topic) int {
	switch {
	case t == nil:
		return said.Partitions
	case said.Incarnation > t.incarnation:
		return said.Partitions - len(t.parts)
	case said.Incarnation < t.incarnation:
		return 0
	}
	return max(said.Partitions-len(t.parts), 0)
}

// grow makes topics known. It says whether one that somebody subscribes to grew, or
// is another than before.
func (g *Group) grow(topics []Topic) (matters bool) {
	for _, t := range topics {
		known := g.topics[t.Name]
		anew := t.Incarnation > 0 && (known == nil || t.Incarnation > known.incarnation)
		if !anew && known.growth(t) == 0 {
			continue
		}
		matters = matters || known != nil && g.isSubscribed(known)
		if !anew {
			g.emit(resized{t.Name, t.Partitions})
			continue
		}
		g.lose(known)
		g.emit(replaced{t.Name, t.Partitions, t.Incarnation})
	}
	return matters
}

// lose takes the partitions of a topic that is gone from their owners.
func (g *Group) lose(t *topic) {
	if t == nil {
		return
	}
	var lost []*part
	for _, p := range t.parts {
		if p.owner != nil {
			lost = append(lost, p)
		}
	}
	eachMember(lost, func(p *part) *member { return p.owner }, func(m *member, run []*part) {
		g.tell(Lost{m.id, claims(run)})
	})
	g.drop(lost)
}

// forget drops a topic.
func (g *Group) forget(c Forget) error {
	t := g.topics[c.Topic]
	if t == nil {
		return fmt.Errorf("%w: the group knows no topic %q", ErrUnknownPartition, c.Topic)
	}
	subscribed := g.isSubscribed(t)
	if subscribed && !c.Force {
		return fmt.Errorf("%w that subscribe to topic %s: stop them first", ErrGroupActive, c.Topic)
	}
	g.lose(t)
	g.emit(forgotten{t})
	if subscribed {
		g.rebalance()
	}
	return nil
}
