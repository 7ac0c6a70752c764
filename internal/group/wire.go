package group

import "github.com/troupestream/troupe/internal/wire"

// writer puts down what a group is made of.
type writer struct{ wire.Writer }

// part names a partition. The topic is left out where it is that of the one
// before in the same list; names are never empty.
func (w *writer) part(p, before *part) {
	if before != nil && before.topic == p.topic {
		w.Text("")
	} else {
		w.Text(p.topic.name)
	}
	w.Num(uint64(p.index))
}

func (w *writer) parts(parts []*part) {
	w.Num(uint64(len(parts)))
	var before *part
	for _, p := range parts {
		w.part(p, before)
		before = p
	}
}

func (w *writer) record(r ParkedRecord) {
	w.Num(r.Offset)
	w.Num(r.Parking)
	w.Num(uint64(r.Bytes))
	w.Flag(r.Edited)
}

func (w *writer) key(id keyID) {
	w.Num(id.alone)
	w.Text(id.key)
}

// reader reads what writer wrote.
type reader struct {
	wire.Reader
	g *Group
}

func (r *reader) topic() *topic {
	name := r.Text()
	t := r.g.topics[name]
	if t == nil {
		r.Fail("topic %.40q is not known", name)
	}
	return t
}

// part reads a partition; nil if something is wrong.
func (r *reader) part(before *part) *part {
	var t *topic
	if name := r.Text(); name != "" {
		t = r.g.topics[name]
	} else if before != nil {
		t = before.topic
	}
	index := r.Num()
	if t == nil || index >= uint64(len(t.parts)) {
		r.Fail("partition %d of a topic is not known", index)
		return nil
	}
	return t.parts[index]
}

func (r *reader) parts() (parts []*part) {
	n := r.Count(2)
	parts = make([]*part, 0, n)
	var before *part
	for ; n > 0 && r.Err() == nil; n-- {
		before = r.part(before)
		parts = append(parts, before)
	}
	return parts
}

func (r *reader) member() *member {
	id := r.Text()
	m := r.g.members[id]
	if m == nil {
		r.Fail("member %.40q is not known", id)
	}
	return m
}

func (r *reader) record() ParkedRecord {
	return ParkedRecord{uint64(r.Int64()), r.Num(), int(r.Int64()), r.Flag()}
}

func (r *reader) key() keyID {
	return keyID{alone: uint64(r.Int64()), key: r.Text()}
}

// parkedPart reads a partition, a key, and what is parked of it.
func (r *reader) parkedPart(must bool) (*part, keyID, *parkedKey) {
	p, id := r.part(nil), r.key()
	if p == nil || r.Err() != nil {
		return nil, id, nil
	}
	k := p.parked[id]
	if k == nil && must {
		r.Fail("key %.40q is not parked", id.key)
	}
	return p, id, k
}
