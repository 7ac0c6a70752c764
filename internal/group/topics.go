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
		has := 0
		if known := g.topics[t.Name]; known != nil {
			has = len(known.parts)
		} else {
			count++
			growth += topicSize + len(t.Name)
		}
		more := max(t.Partitions-has, 0)
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

// grow makes topics known. It says whether one that somebody subscribes to grew.
func (g *Group) grow(topics []Topic) (matters bool) {
	for _, t := range topics {
		known := g.topics[t.Name]
		if known != nil && len(known.parts) >= t.Partitions {
			continue
		}
		matters = matters || known != nil && g.isSubscribed(known)
		g.emit(resized{t.Name, t.Partitions})
	}
	return matters
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
	g.emit(forgotten{t})
	if subscribed {
		g.rebalance()
	}
	return nil
}
