package dataflow

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/keygroup"
)

// Lengths of the segments that a table hands out: about segmentBytes, and at most
// segmentMax, unless a single entry is longer.
const (
	segmentBytes = 256 << 10
	segmentMax   = 2 * segmentBytes
)

// handing is how many bytes can be handed out, and so copied, while one is encoded.
const handing = 8

// ErrStateLimit: a limit on keyed state is exceeded; the message names it.
var ErrStateLimit = errors.New("over a limit of keyed state")

// Freeze implements Stateful, in time proportional to the number of groups.
// Where the snapshot before was not encoded to its end, what is missing of it
// becomes part of this one.
func (t *Table[K, V]) Freeze() {
	for g := range t.parts {
		p := &t.parts[g]
		if p.next < len(p.frozen) {
			p.dirty.add(p.frozen)
		}
		p.frozen, p.dirty = p.dirty, p.frozen[:0]
		p.next = 0
	}
	t.epoch++
	t.encoding = 0
}

// Encode implements Stateful.
func (t *Table[K, V]) Encode(budget int, emit func(group int, segment []byte)) (more bool, err error) {
	for t.encoding < len(t.parts) && budget > 0 && t.err == nil {
		p := &t.parts[t.encoding]
		budget -= t.encodePart(p, budget)
		all := p.next == len(p.frozen)
		if n := len(p.segment); n >= segmentBytes || all && n > 0 {
			budget -= t.hand(p, emit) / handing
		}
		if all && len(p.segment) == 0 {
			t.encoding++
		}
	}
	return t.encoding < len(t.parts), t.err
}

// hand gives out what is encoded of a part, or the beginning of it: what was
// encoded in passing may be all of the part. It returns how many bytes went.
func (t *Table[K, V]) hand(p *part[K, V], emit func(group int, segment []byte)) int {
	n := len(p.segment)
	if n > segmentMax {
		n = cut(p.segment, segmentBytes)
	}
	emit(t.first+t.encoding, p.segment[:n])
	if n < len(p.segment) {
		p.segment = p.segment[n:]
	} else {
		t.spare, p.segment = p.segment[:0], nil
	}
	return n
}

// encodePart encodes frozen entries of a part, in the order in which they lie in
// memory, until its segment is full or it has encoded budget bytes. It returns how
// many those were.
func (t *Table[K, V]) encodePart(p *part[K, V], budget int) int {
	if p.next < len(p.frozen) && cap(p.segment) < cap(t.spare) {
		p.segment, t.spare = append(t.spare[:0], p.segment...), nil
	}
	began := len(p.segment)
	size := began + min(budget, segmentBytes-began)
	for p.next < len(p.frozen) && len(p.segment) < size && t.err == nil {
		at, ok := p.frozen.take(p.next)
		if !ok {
			p.next++
			continue
		}
		e := &p.entries[at]
		if since := e.since(); since == 0 || since == t.epoch {
			continue // encoded already, when it was touched
		}
		t.encode(p, e)
		if e.epoch&gone != 0 {
			e.epoch = 0
			p.vacate(at)
		}
	}
	return len(p.segment) - began
}

// encode adds a frozen entry to its part's segment. What it leaves of epoch is
// the flag that the entry is gone.
func (t *Table[K, V]) encode(p *part[K, V], e *entry[K, V]) {
	e.epoch &= gone
	if e.state == vacant {
		return
	}
	s, err := t.appendKey(p.segment, e.key)
	if err == nil && e.epoch&gone != 0 {
		s = append(s, 0)
	} else if err == nil {
		s, err = t.appendValue(s, &e.value)
		e.state = recorded
	}
	if err != nil {
		t.fail(e.key, err)
		return
	}
	p.segment = s
}

func (t *Table[K, V]) appendKey(s []byte, key K) ([]byte, error) {
	return appendSized(s, MaxSegmentEntry, "at most %d are possible in a key", 0,
		func(s []byte) ([]byte, error) { return t.form.AppendKey(s, key) })
}

func (t *Table[K, V]) appendValue(s []byte, v *V) ([]byte, error) {
	limit := t.form.MaxBytes
	if limit <= 0 || limit > MaxSegmentEntry {
		limit = MaxSegmentEntry
	}
	return appendSized(s, limit, "the limit KeyLimits.Bytes is %d", 1,
		func(s []byte) ([]byte, error) { return t.form.AppendValue(s, v) })
}

// appendSized appends what f appends behind its length, to which bias is added.
// Most lengths take one byte, so room for one is left; others move the bytes.
func appendSized(s []byte, limit int, is string, bias uint64, f func([]byte) ([]byte, error)) ([]byte, error) {
	start := len(s)
	s, err := f(append(s, 0))
	if err != nil {
		return s, err
	}
	n := len(s) - start - 1
	if n > limit {
		return s, fmt.Errorf("%w: it takes %d bytes, "+is, ErrStateLimit, n, limit)
	}
	if u := uint64(n) + bias; u < 0x80 {
		s[start] = byte(u)
		return s, nil
	}
	return widen(s, start, n, uint64(n)+bias), nil
}

func widen(s []byte, start, n int, u uint64) []byte {
	var head [binary.MaxVarintLen64]byte
	w := binary.PutUvarint(head[:], u)
	s = append(s, head[:w-1]...)
	copy(s[start+w:], s[start+1:start+1+n])
	copy(s[start:], head[:w])
	return s
}

// Restore implements Stateful.
func (t *Table[K, V]) Restore(group int, entries []Entry) error {
	p := &t.parts[group-t.first]
	p.reserve(len(entries))
	for i := range entries {
		e := &entries[i]
		key, err := t.form.DecodeKey(e.Key)
		if err != nil {
			return &StateError{Err: fmt.Errorf("key: %w", err)}
		}
		hash := t.form.Hash(key)
		if g := keygroup.Of(hash, t.groups); g != group {
			return &StateError{Err: fmt.Errorf("%w: key %s belongs to key group %d, not %d", ErrCorrupt, KeyText(key), g, group)}
		}
		if err := t.restore(p, uint32(hash), key, e); err != nil {
			return &StateError{Err: fmt.Errorf("state of key %s: %w", KeyText(key), err)}
		}
	}
	return nil
}

// StateError says that what is stored of an operator is whole, as its checksum
// says, and that the operator's types cannot take it: they were others when it was
// written. No older checkpoint helps against that.
type StateError struct {
	Operator, State string // its name, and the schema of its state
	Err             error
}

func (e *StateError) Error() string {
	return fmt.Sprintf("operator %q cannot take the state that is stored of it (%s now): %v; "+
		"change the types back, give the operator another name, or begin anew with FreshState", e.Operator, e.State, e.Err)
}

func (e *StateError) Unwrap() error { return e.Err }

// restore takes one entry in. There may be one with its key: written by a
// release of the user's program that had another form for keys.
func (t *Table[K, V]) restore(p *part[K, V], tag uint32, key K, e *Entry) error {
	at, ok := p.find(tag, key)
	if e.Deleted {
		if ok {
			t.keys--
			p.vacate(at)
		}
		return nil
	}
	if !ok {
		at = p.place()
		n := &p.entries[at]
		n.key, n.tag, n.state = key, tag, recorded
		p.put(slot{tag, at + 1})
		t.keys++
	}
	v := &p.entries[at].value
	clearValue(v)
	return t.form.DecodeValue(e.Value, v)
}

// Restored implements Stateful.
func (t *Table[K, V]) Restored() error { return nil }
