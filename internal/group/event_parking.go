package group

import "slices"

// parked: a key was set aside with its first record, or put back, or a record in front.
type parked struct {
	part        *part
	id          keyID
	record      ParkedRecord
	attempts    int
	at          int64
	reason, err string
}

func (parked) kind() byte { return kindParked }

func (e parked) put(w *writer) {
	w.part(e.part, nil)
	w.key(e.id)
	w.record(e.record)
	w.Num(uint64(e.attempts))
	w.Num(uint64(max(e.at, 0)))
	w.Text(e.reason)
	w.Text(e.err)
}

func readParked(r *reader) event {
	p, id, k := r.parkedPart(false)
	e := parked{p, id, r.record(), int(r.Int64()), r.Int64(), r.Text(), r.Text()}
	if k != nil && k.records[0].Offset < e.record.Offset {
		r.Fail("key %.40q is parked already, from offset %d, before %d", id.key, k.records[0].Offset, e.record.Offset)
	}
	return e
}

func (e parked) apply(g *Group) {
	k := e.part.parked[e.id]
	if k == nil {
		k = &parkedKey{records: []ParkedRecord{e.record}, since: max(e.at, 0)}
		if e.part.parked == nil {
			e.part.parked = map[keyID]*parkedKey{}
		}
		e.part.parked[e.id] = k
		g.parked.keys++
		g.parked.bytes += int64(e.record.Bytes)
	} else {
		g.size -= k.size(e.id)
		if k.records[0].Offset > e.record.Offset {
			k.records = slices.Insert(k.records, 0, e.record)
			g.parked.bytes += int64(e.record.Bytes)
		}
	}
	k.releasing, k.attempts, k.reason, k.err = false, e.attempts, e.reason, e.err
	g.size += k.size(e.id)
}

// unpark takes a key out of the parking.
func (g *Group) unpark(p *part, id keyID, k *parkedKey) {
	for _, r := range k.records {
		g.parked.bytes -= int64(r.Bytes)
	}
	g.parked.keys--
	g.size -= k.size(id)
	delete(p.parked, id)
}

// held: a record was put behind the first of its key, in its place.
type held struct {
	part   *part
	id     keyID
	record ParkedRecord
}

func (held) kind() byte { return kindHeld }

func (e held) put(w *writer) {
	w.part(e.part, nil)
	w.key(e.id)
	w.record(e.record)
}

func readHeld(r *reader) event {
	p, id, k := r.parkedPart(true)
	e := held{p, id, r.record()}
	if k != nil {
		if i, found := k.place(e.record.Offset); found || i == 0 {
			r.Fail("offset %d of key %.40q is not behind what is parked of it", e.record.Offset, id.key)
		}
	}
	return e
}

func (e held) apply(g *Group) {
	k := e.part.parked[e.id]
	i, _ := k.place(e.record.Offset)
	k.records = slices.Insert(k.records, i, e.record)
	g.parked.bytes += int64(e.record.Bytes)
	g.size += recordSize
}

// resolved: a parked record is dealt with. With the last one the key is free.
type resolved struct {
	part   *part
	id     keyID
	offset uint64
}

func (resolved) kind() byte { return kindResolved }

func (e resolved) put(w *writer) {
	w.part(e.part, nil)
	w.key(e.id)
	w.Num(e.offset)
}

func readResolved(r *reader) event {
	p, id, k := r.parkedPart(true)
	e := resolved{p, id, r.Num()}
	r.mustHold(k, e.offset)
	return e
}

func (r *reader) mustHold(k *parkedKey, offset uint64) {
	if k == nil {
		return
	}
	if _, found := k.place(offset); !found {
		r.Fail("offset %d is not parked", offset)
	}
}

func (e resolved) apply(g *Group) {
	k := e.part.parked[e.id]
	if len(k.records) == 1 {
		g.unpark(e.part, e.id, k)
		return
	}
	i, _ := k.place(e.offset)
	g.parked.bytes -= int64(k.records[i].Bytes)
	g.size -= recordSize
	k.records = slices.Delete(k.records, i, i+1)
}

// keyReleased: a parked key is being replayed.
type keyReleased struct {
	part *part
	id   keyID
}

func (keyReleased) kind() byte { return kindKeyReleased }

func (e keyReleased) put(w *writer) {
	w.part(e.part, nil)
	w.key(e.id)
}

func readKeyReleased(r *reader) event {
	p, id, _ := r.parkedPart(true)
	return keyReleased{p, id}
}

func (e keyReleased) apply(*Group) { e.part.parked[e.id].releasing = true }

// edited: a parked record has another body.
type edited struct {
	part   *part
	id     keyID
	record ParkedRecord
}

func (edited) kind() byte { return kindEdited }

func (e edited) put(w *writer) {
	w.part(e.part, nil)
	w.key(e.id)
	w.record(e.record)
}

func readEdited(r *reader) event {
	p, id, k := r.parkedPart(true)
	e := edited{p, id, r.record()}
	r.mustHold(k, e.record.Offset)
	return e
}

func (e edited) apply(g *Group) {
	k := e.part.parked[e.id]
	i, _ := k.place(e.record.Offset)
	g.parked.bytes += int64(e.record.Bytes) - int64(k.records[i].Bytes)
	k.records[i] = e.record
}
