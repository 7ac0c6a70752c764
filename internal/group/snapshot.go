package group

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/wire"
)

// Snapshot returns the durable state. A group that is restored from it is the
// one that is restored from all events up to now.
func (g *Group) Snapshot() []byte {
	w := writer{wire.Writer{B: append(make([]byte, 0, g.size), snapshotVersion)}}
	for _, v := range []uint64{g.generation, g.epoch, g.balanced, uint64(g.assignor), uint64(g.emptySince)} {
		w.Num(v)
	}
	place := map[*topic]uint64{}
	w.Num(uint64(len(g.sorted)))
	for i, t := range g.sorted {
		place[t] = uint64(i)
		w.Text(t.name)
		w.Num(uint64(len(t.parts)))
		w.Num(t.incarnation)
	}
	number := w.members(g, place)
	g.eachPart(func(p *part) { w.state(p, number) })
	return sum(w.B)
}

// members puts the members down and returns their numbers, from 1.
func (w *writer) members(g *Group, place map[*topic]uint64) map[*member]uint64 {
	members := g.inOrder()
	slices.SortFunc(members, func(a, b *member) int { return strings.Compare(a.id, b.id) })
	number := map[*member]uint64{}
	w.Num(uint64(len(members)))
	for i, m := range members {
		number[m] = uint64(i) + 1
		w.Text(m.id)
		w.Text(m.instance)
		w.Text(m.client)
		w.Num(m.epoch)
		w.Num(uint64(m.session))
		w.Num(uint64(len(m.topics)))
		for _, t := range m.topics {
			w.Num(place[t])
		}
	}
	return number
}

func (w *writer) state(p *part, number map[*member]uint64) {
	if w.Num(number[p.owner]); p.owner != nil {
		w.Num(p.since)
		w.Num(p.epoch)
	}
	if w.Flag(p.committed); p.committed {
		w.Num(p.next)
		w.Text(p.metadata)
	}
	w.Num(uint64(len(p.parked)))
	for _, k := range p.listParked() {
		id := k.id()
		w.key(id)
		w.Flag(k.Releasing)
		w.Num(uint64(k.Attempts))
		w.Num(uint64(k.Since))
		w.Text(k.Reason)
		w.Text(k.Error)
		w.Num(uint64(len(k.Records)))
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
	r := reader{wire.NewReader(body, ErrCorrupt), g}
	r.restore(version)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("snapshot of a group: %w", err)
	}
	return g, nil
}

func (r *reader) restore(version byte) {
	g := r.g
	g.generation, g.epoch, g.balanced, g.assignor, g.emptySince = r.Num(), r.Num(), r.Num(), r.assignor(), r.Int64()
	for n := r.Count(2); n > 0 && r.Err() == nil; n-- {
		r.restoreTopic(version)
	}
	emptySince, assignor := g.emptySince, g.assignor
	members := []*member{nil}
	for n := r.Count(6); n > 0 && r.Err() == nil; n-- {
		members = append(members, r.restoreMember(assignor))
	}
	g.emptySince = emptySince
	g.eachPart(func(p *part) { r.restorePart(p, members) })
}

func (r *reader) restoreTopic(version byte) {
	e := readResized(r).(resized)
	if r.Err() == nil && r.g.topics[e.name] != nil {
		r.Fail("a topic is there twice")
	}
	if r.Err() != nil {
		return
	}
	e.apply(r.g)
	if version >= 2 {
		r.g.topics[e.name].incarnation = r.Num()
	}
}

// restoreMember reads a member and lets it join.
func (r *reader) restoreMember(a Assignor) *member {
	e := joined{id: r.Text(), instance: r.Text(), client: r.Text(), epoch: r.Num(), session: r.Int64(), assignor: a}
	n := r.Count(1)
	e.topics = make([]*topic, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		i := r.Num()
		if i >= uint64(len(r.g.sorted)) {
			r.Fail("there is no topic %d", i)
			return nil
		}
		e.topics = append(e.topics, r.g.sorted[i])
	}
	r.checkJoined(e)
	if r.Err() != nil {
		return nil
	}
	e.apply(r.g)
	return r.g.members[e.id]
}

func (r *reader) restorePart(p *part, members []*member) {
	if r.Err() != nil {
		return
	}
	i := r.Num()
	if i >= uint64(len(members)) {
		r.Fail("there is no member %d", i)
		return
	}
	if p.owner = members[i]; p.owner != nil {
		if p.since, p.epoch = r.Num(), r.epochUpTo(r.g.epoch); p.since > p.epoch {
			r.Fail("an epoch is below the one it began with")
		}
	}
	if r.Flag() {
		line{p, uint64(r.Int64()), r.Text()}.apply(r.g)
	}
	for n := r.Count(8); n > 0 && r.Err() == nil; n-- {
		r.restoreKey(p)
	}
}

func (r *reader) epochUpTo(highest uint64) uint64 {
	e := r.Num()
	if e > highest {
		r.Fail("epoch %d was never given out, the highest is %d", e, highest)
	}
	return e
}

// restoreKey reads a parked key.
func (r *reader) restoreKey(p *part) {
	id := r.key()
	k := &parkedKey{releasing: r.Flag(), attempts: int(r.Int64()), since: r.Int64(), reason: r.Text(), err: r.Text()}
	n := r.Count(4)
	k.records = make([]ParkedRecord, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		k.records = append(k.records, r.record())
	}
	ordered := isAscending(k.records, func(a, b ParkedRecord) int { return cmp.Compare(a.Offset, b.Offset) })
	if r.Err() == nil && (len(k.records) == 0 || p.parked[id] != nil || !ordered) {
		r.Fail("key %.40q is parked wrongly", id.key)
	}
	if r.Err() != nil {
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
