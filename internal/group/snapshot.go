package group

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Snapshot returns the durable state. A group that is restored from it is the
// one that is restored from all events up to now.
func (g *Group) Snapshot() []byte {
	w := writer{b: append(make([]byte, 0, g.size), snapshotVersion)}
	for _, v := range []uint64{g.generation, g.epoch, g.balanced, uint64(g.assignor), uint64(g.emptySince)} {
		w.num(v)
	}
	place := map[*topic]uint64{}
	w.num(uint64(len(g.sorted)))
	for i, t := range g.sorted {
		place[t] = uint64(i)
		w.text(t.name)
		w.num(uint64(len(t.parts)))
		w.num(t.incarnation)
	}
	number := w.members(g, place)
	g.eachPart(func(p *part) { w.state(p, number) })
	return sum(w.b)
}

// members puts the members down and returns their numbers, from 1.
func (w *writer) members(g *Group, place map[*topic]uint64) map[*member]uint64 {
	members := g.inOrder()
	slices.SortFunc(members, func(a, b *member) int { return strings.Compare(a.id, b.id) })
	number := map[*member]uint64{}
	w.num(uint64(len(members)))
	for i, m := range members {
		number[m] = uint64(i) + 1
		w.text(m.id)
		w.text(m.instance)
		w.text(m.client)
		w.num(m.epoch)
		w.num(uint64(m.session))
		w.num(uint64(len(m.topics)))
		for _, t := range m.topics {
			w.num(place[t])
		}
	}
	return number
}

func (w *writer) state(p *part, number map[*member]uint64) {
	if w.num(number[p.owner]); p.owner != nil {
		w.num(p.since)
		w.num(p.epoch)
	}
	if w.flag(p.committed); p.committed {
		w.num(p.next)
		w.text(p.metadata)
	}
	w.num(uint64(len(p.parked)))
	for _, k := range p.listParked() {
		id := k.id()
		w.key(id)
		w.flag(k.Releasing)
		w.num(uint64(k.Attempts))
		w.num(uint64(k.Since))
		w.text(k.Reason)
		w.text(k.Error)
		w.num(uint64(len(k.Records)))
		for _, r := range k.Records {
			w.record(r)
		}
	}
}

// Restore returns the group of a snapshot. Replay what was journalled after it,
// and then apply Recover. The error is an ErrCorrupt, an ErrVersion, or an
// ErrInvalid of the configuration.
func Restore(c Config, snapshot []byte) (*Group, error) {
	body, version, err := open(snapshot, snapshotVersion)
	if err != nil {
		return nil, err
	}
	g, err := New(c)
	if err != nil {
		return nil, err
	}
	r := reader{b: body, g: g}
	r.restore(version)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes are left over", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("snapshot of a group: %w", r.err)
	}
	return g, nil
}

func (r *reader) restore(version byte) {
	g := r.g
	g.generation, g.epoch, g.balanced, g.assignor, g.emptySince = r.num(), r.num(), r.num(), r.assignor(), r.small()
	for n := r.count(2); n > 0 && r.err == nil; n-- {
		r.restoreTopic(version)
	}
	emptySince, assignor := g.emptySince, g.assignor
	members := []*member{nil}
	for n := r.count(6); n > 0 && r.err == nil; n-- {
		members = append(members, r.restoreMember(assignor))
	}
	g.emptySince = emptySince
	g.eachPart(func(p *part) { r.restorePart(p, members) })
}

func (r *reader) restoreTopic(version byte) {
	e := readResized(r).(resized)
	if r.err == nil && r.g.topics[e.name] != nil {
		r.fail("a topic is there twice")
	}
	if r.err != nil {
		return
	}
	e.apply(r.g)
	if version >= 2 {
		r.g.topics[e.name].incarnation = r.num()
	}
}

// restoreMember reads a member and lets it join.
func (r *reader) restoreMember(a Assignor) *member {
	e := joined{id: r.text(), instance: r.text(), client: r.text(), epoch: r.num(), session: r.small(), assignor: a}
	n := r.count(1)
	e.topics = make([]*topic, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		i := r.num()
		if i >= uint64(len(r.g.sorted)) {
			r.fail("there is no topic %d", i)
			return nil
		}
		e.topics = append(e.topics, r.g.sorted[i])
	}
	r.checkJoined(e)
	if r.err != nil {
		return nil
	}
	e.apply(r.g)
	return r.g.members[e.id]
}

func (r *reader) restorePart(p *part, members []*member) {
	if r.err != nil {
		return
	}
	i := r.num()
	if i >= uint64(len(members)) {
		r.fail("there is no member %d", i)
		return
	}
	if p.owner = members[i]; p.owner != nil {
		if p.since, p.epoch = r.num(), r.epochUpTo(r.g.epoch); p.since > p.epoch {
			r.fail("an epoch is below the one it began with")
		}
	}
	if r.flag() {
		line{p, uint64(r.small()), r.text()}.apply(r.g)
	}
	for n := r.count(8); n > 0 && r.err == nil; n-- {
		r.restoreKey(p)
	}
}

func (r *reader) epochUpTo(highest uint64) uint64 {
	e := r.num()
	if e > highest {
		r.fail("epoch %d was never given out, the highest is %d", e, highest)
	}
	return e
}

// restoreKey reads a parked key.
func (r *reader) restoreKey(p *part) {
	id := r.key()
	k := &parkedKey{releasing: r.flag(), attempts: int(r.small()), since: r.small(), reason: r.text(), err: r.text()}
	n := r.count(4)
	k.records = make([]ParkedRecord, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		k.records = append(k.records, r.record())
	}
	ordered := isAscending(k.records, func(a, b ParkedRecord) int { return cmp.Compare(a.Offset, b.Offset) })
	if r.err == nil && (len(k.records) == 0 || p.parked[id] != nil || !ordered) {
		r.fail("key %.40q is parked wrongly", id.key)
	}
	if r.err != nil {
		return
	}
	if p.parked == nil {
		p.parked = map[keyID]*parkedKey{}
	}
	p.parked[id] = k
	r.g.parked.keys++
	for _, record := range k.records {
		r.g.parked.bytes += int64(record.Bytes)
	}
	r.g.size += k.size(id)
}
