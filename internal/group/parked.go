package group

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// releaseKey has a key replayed. Its owner is told again if it is already.
func (g *Group) releaseKey(c ReleaseKey) error {
	p, k, err := g.mustBeParked(c.Key)
	if err != nil {
		return err
	}
	if !k.releasing {
		g.emit(keyReleased{p, c.Key.id()})
	}
	g.tellKey(p, c.Key.id())
	return nil
}

// skip drops a record of a key.
func (g *Group) skip(c Skip) error {
	p, _, err := g.mustHold(c.Key, c.Offset)
	if err != nil {
		return err
	}
	g.emit(resolved{p, c.Key.id(), c.Offset})
	g.changed(p, c.Key.id(), c.Release)
	return nil
}

// changed releases a key if that was asked for, and tells its owner.
func (g *Group) changed(p *part, id keyID, release bool) {
	if release && p.parked[id] != nil {
		g.emit(keyReleased{p, id})
	}
	g.tellKey(p, id)
}

// edit replaces the body of a record.
func (g *Group) edit(c Edit) error {
	p, r, err := g.mustHold(c.Key, c.Offset)
	if err != nil {
		return err
	}
	if c.Bytes < 0 || g.parked.bytes+int64(c.Bytes)-int64(r.Bytes) > g.config.Limits.ParkedBytes {
		return fmt.Errorf("%w: a body of %d bytes, the limit ParkedBytes is %d for all", ErrParkingFull, c.Bytes, g.config.Limits.ParkedBytes)
	}
	g.emit(edited{p, c.Key.id(), ParkedRecord{c.Offset, c.Parking, c.Bytes, true}})
	g.changed(p, c.Key.id(), c.Release)
	return nil
}

func (g *Group) mustBeParked(ref KeyRef) (*part, *parkedKey, error) {
	p, err := g.find(ref.Topic, ref.Partition)
	if err != nil {
		return nil, nil, err
	}
	k := p.parked[ref.id()]
	if k == nil {
		return nil, nil, fmt.Errorf("%w: key %.40q in topic %s, partition %d", ErrNotParked, ref.Key, ref.Topic, ref.Partition)
	}
	return p, k, nil
}

// mustHold returns a record of a key that is parked and not being replayed.
func (g *Group) mustHold(ref KeyRef, offset uint64) (*part, ParkedRecord, error) {
	p, k, err := g.mustBeParked(ref)
	if err != nil {
		return nil, ParkedRecord{}, err
	}
	i, found := k.place(offset)
	switch {
	case k.releasing:
		return nil, ParkedRecord{}, fmt.Errorf("key %.40q is %w: wait for the outcome", ref.Key, ErrReplaying)
	case !found:
		return nil, ParkedRecord{}, fmt.Errorf("%w: offset %d of key %.40q in topic %s, partition %d", ErrNotParked, offset, ref.Key, ref.Topic, ref.Partition)
	}
	return p, k.records[i], nil
}

// tellKey tells the owner of a partition what has become of a key.
func (g *Group) tellKey(p *part, id keyID) {
	if p.owner != nil {
		g.tell(KeyChanged{p.owner.id, p.epoch, p.describe(id)})
	}
}

// describe returns a parked key; without records if it is free.
func (p *part) describe(id keyID) ParkedKey {
	ref := KeyRef{Topic: p.topic.name, Partition: p.index, Key: id.key}
	if id.alone > 0 {
		ref.Keyless, ref.Offset = true, id.alone-1
	}
	k := p.parked[id]
	if k == nil {
		return ParkedKey{KeyRef: ref}
	}
	return ParkedKey{KeyRef: ref, Releasing: k.releasing, Records: slices.Clone(k.records),
		Attempts: k.attempts, Since: k.since, Reason: k.reason, Error: k.err}
}

// listParked returns the keys parked in a partition by their first offsets.
func (p *part) listParked() []ParkedKey {
	if len(p.parked) == 0 {
		return nil
	}
	list := make([]ParkedKey, 0, len(p.parked))
	for id := range p.parked {
		list = append(list, p.describe(id))
	}
	slices.SortFunc(list, func(a, b ParkedKey) int {
		// A record has one key; but whoever says otherwise is still listed in one order.
		return cmp.Or(cmp.Compare(a.Records[0].Offset, b.Records[0].Offset), strings.Compare(a.Key, b.Key), cmp.Compare(a.id().alone, b.id().alone))
	})
	return list
}
