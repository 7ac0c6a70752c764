package group

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// KeyRef names what is parked in a partition: a key with all its records, or one
// record that has no key.
type KeyRef struct {
	Topic     string
	Partition int
	Key       string
	Keyless   bool   // the record has no key, and nothing waits behind it
	Offset    uint64 // of the keyless record; of no account otherwise
}

// ParkedRecord is a record that is parked. Its body is in the group's parking
// topic, where the retention of its own topic cannot reach it.
type ParkedRecord struct {
	Offset  uint64 // in its own partition
	Parking uint64 // in the parking topic
	Bytes   int    // of the body
	Edited  bool   // the body is not the one that failed
}

// ParkedKey is a key that is held because a record of it failed. Later records
// of the key are put behind it, in their order, so that other keys go on and
// none of this one is processed out of order.
//
// A parked key is Released, skipped record by record, or edited from outside.
// When it is released its owner processes its records from the first, and
// Resolves each; new ones still go behind it. When the last is gone the key is
// free. When the first record fails again the owner Parks it again.
//
// After a rewind the owner meets records of parked keys once more. One before
// the first that is parked comes earlier, and is processed; one that is parked
// is passed over: to Hold it again changes nothing. One between, which was
// processed out of the parking already, is refused as invalid: pass over it.
type ParkedKey struct {
	KeyRef
	Releasing bool           // being replayed
	Records   []ParkedRecord // by offset; empty: the key is free
	Attempts  int            // tries of the first record, in all
	Since     int64          // Unix ms when it was parked first
	Reason    string
	Error     string
}

// keyID tells parked keys of a partition apart.
type keyID struct {
	key   string
	alone uint64 // offset of a keyless record, plus one; 0: it has a key
}

// parkedKey is a ParkedKey in the state.
type parkedKey struct {
	records   []ParkedRecord
	releasing bool
	attempts  int
	since     int64
	reason    string
	err       string
}

// parkedTotal counts what is parked in the whole group.
type parkedTotal struct {
	keys  int
	bytes int64
}

func (r KeyRef) id() keyID {
	if r.Keyless {
		return keyID{alone: r.Offset + 1}
	}
	return keyID{key: r.Key}
}

func (k *parkedKey) size(id keyID) int {
	return keySize + len(id.key) + len(k.reason) + len(k.err) + recordSize*len(k.records)
}

// place returns where the record with an offset is, or would be.
func (k *parkedKey) place(offset uint64) (int, bool) {
	return slices.BinarySearchFunc(k.records, offset, func(r ParkedRecord, o uint64) int { return cmp.Compare(r.Offset, o) })
}

// park sets a key aside, or puts one back whose replay failed, or puts a record in front
// of what is parked of its key: one that came again, since the group was moved back, or
// since what it had committed was less than what it had dealt with.
func (g *Group) park(now int64, c Park) error {
	p, k, err := g.parkedOf(now, c.Member, c.Epoch, c.Key)
	if err != nil {
		return err
	}
	again := false
	if k != nil {
		var i int
		if i, again = k.place(c.Record.Offset); i > 0 || again && !k.releasing {
			return g.holdBehind(p, k, c.Key, c.Record)
		}
	}
	l := &g.config.Limits
	e := parked{part: p, id: c.Key.id(), record: c.Record, attempts: max(c.Attempt, 0), at: now,
		reason: cut(c.Reason, l.ErrorBytes), err: cut(c.Error, l.ErrorBytes)}
	e.record.Edited = false
	if again {
		e.record = k.records[0]
		if g.room(len(e.reason)+len(e.err)-len(k.reason)-len(k.err)) != nil {
			e.reason, e.err = cut(e.reason, len(k.reason)), cut(e.err, len(k.err))
		}
	} else if err := g.checkPark(c.Key, k, e); err != nil {
		return err
	}
	g.emit(e)
	return nil
}

// checkPark reports whether a key can be parked, or a record in front of it.
func (g *Group) checkPark(ref KeyRef, k *parkedKey, e parked) error {
	l := &g.config.Limits
	switch {
	case ref.Keyless && ref.Offset != e.record.Offset:
		return fmt.Errorf("%w: the record without a key is at offset %d, not %d", ErrInvalid, ref.Offset, e.record.Offset)
	case len(e.id.key) > l.KeyBytes:
		return tooMany("bytes of a key", len(e.id.key), "KeyBytes", l.KeyBytes)
	case k != nil:
		if err := g.checkLength(k); err != nil {
			return err
		}
	case g.parked.keys >= l.ParkedKeys:
		return fmt.Errorf("%w: %d keys, the limit ParkedKeys is %d: release or skip some", ErrParkingFull, g.parked.keys, l.ParkedKeys)
	}
	return g.checkRecord(e.record, keySize+len(e.id.key)+2*l.ErrorBytes)
}

// checkRecord reports whether one more record can be parked, with so many bytes
// of state besides.
func (g *Group) checkRecord(r ParkedRecord, besides int) error {
	l := &g.config.Limits
	if r.Bytes < 0 || r.Offset >= math.MaxInt64 {
		return fmt.Errorf("%w: a record at offset %d with %d bytes", ErrInvalid, r.Offset, r.Bytes)
	}
	if g.parked.bytes+int64(r.Bytes) > l.ParkedBytes {
		return fmt.Errorf("%w: %d bytes and %d more, the limit ParkedBytes is %d: release or skip some", ErrParkingFull, g.parked.bytes, r.Bytes, l.ParkedBytes)
	}
	if err := g.room(recordSize + besides); err != nil {
		return fmt.Errorf("%w: release or skip some keys: %w", ErrParkingFull, err)
	}
	return nil
}

// hold puts a record behind those of its key.
func (g *Group) hold(now int64, c Hold) error {
	p, k, err := g.parkedOf(now, c.Member, c.Epoch, c.Key)
	switch {
	case err != nil:
		return err
	case k == nil && c.Anew:
		return g.parkAnew(now, p, c)
	case k == nil:
		return fmt.Errorf("%w: the key is free: process the record", ErrNotParked)
	}
	return g.holdBehind(p, k, c.Key, c.Record)
}

// parkAnew parks a key that has become free while a record of it was on its way,
// and releases it at once.
func (g *Group) parkAnew(now int64, p *part, c Hold) error {
	e := parked{part: p, id: c.Key.id(), record: c.Record, at: now, reason: "waited"}
	e.record.Edited = false
	if err := g.checkPark(c.Key, nil, e); err != nil {
		return err
	}
	g.emit(e)
	g.changed(p, e.id, true)
	return nil
}

func (g *Group) holdBehind(p *part, k *parkedKey, ref KeyRef, r ParkedRecord) error {
	i, found := k.place(r.Offset)
	switch {
	case found:
		return nil // delivered again
	case ref.Keyless:
		return fmt.Errorf("%w: nothing waits behind a record without a key", ErrInvalid)
	case i == 0:
		return fmt.Errorf("%w: offset %d is before what is parked of its key: it is no news", ErrInvalid, r.Offset)
	}
	if err := errors.Join(g.checkLength(k), g.checkRecord(r, 0)); err != nil {
		return err
	}
	r.Edited = false
	g.emit(held{p, ref.id(), r})
	return nil
}

func (g *Group) checkLength(k *parkedKey) error {
	if n, most := len(k.records), g.config.Limits.ParkedPerKey; n >= most {
		return fmt.Errorf("%w: %d records of one key, the limit ParkedPerKey is %d: release or skip some", ErrParkingFull, n, most)
	}
	return nil
}

// resolve takes the first record of a key off.
func (g *Group) resolve(now int64, c Resolve) error {
	p, k, err := g.parkedOf(now, c.Member, c.Epoch, c.Key)
	if err != nil || k == nil {
		return err
	}
	i, found := k.place(c.Offset)
	switch {
	case !found:
		return nil // resolved before, or skipped
	case i > 0:
		return fmt.Errorf("%w: offset %d is not the first of its key, %d is: replay in order", ErrInvalid, c.Offset, k.records[0].Offset)
	}
	g.emit(resolved{p, c.Key.id(), c.Offset})
	return nil
}

// parkedOf returns a partition that the sender owns, and the parked key, or nil
// if the key is not parked.
func (g *Group) parkedOf(now int64, id string, epoch uint64, ref KeyRef) (*part, *parkedKey, error) {
	m, err := g.sender(now, id)
	if err != nil {
		return nil, nil, err
	}
	if ref.Keyless && ref.Offset >= math.MaxInt64 {
		return nil, nil, fmt.Errorf("%w: %d is no offset", ErrInvalid, ref.Offset)
	}
	p, err := g.owned(m, Claim{ref.Topic, ref.Partition, epoch})
	if err != nil {
		return nil, nil, err
	}
	return p, p.parked[ref.id()], nil
}

// cut shortens a text to so many bytes, at the start of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
