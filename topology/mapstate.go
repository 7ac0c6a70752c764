package topology

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/troupestream/troupe/internal/codec"
)

// MapState is a map for each key. It belongs to the key whose record or timer is
// being handled.
type MapState[K comparable, V any] struct {
	declared
	keys    codec.Codec[K]
	refused error // why K cannot be a key
	values  codec.Codec[V]
	journal []mapChange[K, V] // of the call at hand
	saved   *mapCell[K, V]
}

type mapCell[K comparable, V any] struct{ entries map[K]element[V] }

// mapChange is how to undo one change: by the whole map that there was, or by
// one entry.
type mapChange[K comparable, V any] struct {
	whole map[K]element[V]
	key   K
	old   element[V]
	had   bool
}

// MapOf declares a map. Call it in the setup function of a Process. K is a
// string, a number, a boolean, or an array or struct of those; V must be a type
// that can be stored.
func MapOf[K comparable, V any](p StateOwner, name string, opts ...StateOption) *MapState[K, V] {
	h := &MapState[K, V]{values: codec.For[V]()}
	h.keys, h.refused = codec.KeyCodec[K]()
	p.states().declare(h, name, opts)
	return h
}

// Get returns the value of an entry, and whether there is one.
func (h *MapState[K, V]) Get(key K) (v V, ok bool) {
	if c, _ := h.owner.cell(&h.declared).(*mapCell[K, V]); c != nil {
		if e, found := c.entries[key]; found && h.live(e.expires) {
			return e.value, true
		}
	}
	return v, false
}

// Set adds or replaces an entry.
func (h *MapState[K, V]) Set(key K, v V) {
	c := h.change()
	h.note(c, key)
	c.entries[key] = element[V]{v, h.expires()}
	limit := h.owner.limits.Entries
	if len(c.entries) > limit {
		h.owner.expired(h.purge(c)) // what nobody can see needs no undoing
	}
	if len(c.entries) > limit {
		panic(overLimit(h.owner.key(), limit, "Entries", "entries in map "+h.name))
	}
}

// Delete removes an entry, if it is there.
func (h *MapState[K, V]) Delete(key K) {
	c, _ := h.owner.cell(&h.declared).(*mapCell[K, V])
	if c == nil {
		return
	}
	if _, ok := c.entries[key]; ok {
		h.note(h.change(), key)
		delete(c.entries, key)
	}
}

// Clear removes all entries.
func (h *MapState[K, V]) Clear() {
	if h.owner.cell(&h.declared) != nil {
		c := h.change()
		h.journal = append(h.journal, mapChange[K, V]{whole: c.entries})
		c.entries = map[K]element[V]{}
	}
}

// Len is the number of entries.
func (h *MapState[K, V]) Len() (n int) {
	if c, _ := h.owner.cell(&h.declared).(*mapCell[K, V]); c != nil {
		for _, e := range c.entries {
			if h.live(e.expires) {
				n++
			}
		}
	}
	return n
}

// All yields the entries in the order of their keys' bytes. The map may be
// changed meanwhile: entries that were removed are not yielded any more, new
// ones not yet.
func (h *MapState[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		c, _ := h.owner.cell(&h.declared).(*mapCell[K, V])
		if c == nil {
			return
		}
		sorted, err := h.sorted(c)
		if err != nil {
			panic(err)
		}
		for _, e := range sorted {
			if v, ok := h.Get(e.key); ok && !yield(e.key, v) {
				return
			}
		}
	}
}

type namedKey[K comparable] struct {
	key   K
	bytes []byte
}

func (h *MapState[K, V]) sorted(c *mapCell[K, V]) ([]namedKey[K], error) {
	all := make([]namedKey[K], 0, len(c.entries))
	for k := range c.entries {
		b, err := h.keys.Append(nil, k)
		if err != nil {
			return nil, err
		}
		all = append(all, namedKey[K]{k, b})
	}
	slices.SortFunc(all, func(a, b namedKey[K]) int { return bytes.Compare(a.bytes, b.bytes) })
	return all, nil
}

// change returns the cell, to be changed.
func (h *MapState[K, V]) change() *mapCell[K, V] {
	c, _ := h.owner.cell(&h.declared).(*mapCell[K, V])
	if c == nil {
		c = &mapCell[K, V]{entries: map[K]element[V]{}}
		h.owner.setCell(&h.declared, c)
	}
	if h.saved == nil {
		h.saved = c
		h.owner.touched(h)
	}
	return c
}

// note remembers an entry that is about to change.
func (h *MapState[K, V]) note(c *mapCell[K, V], key K) {
	old, had := c.entries[key]
	h.journal = append(h.journal, mapChange[K, V]{key: key, old: old, had: had})
}

func (h *MapState[K, V]) undo() {
	for _, j := range slices.Backward(h.journal) {
		switch {
		case j.whole != nil:
			h.saved.entries = j.whole
		case j.had:
			h.saved.entries[j.key] = j.old
		default:
			delete(h.saved.entries, j.key)
		}
	}
	h.keep()
}

func (h *MapState[K, V]) keep() {
	clear(h.journal)
	h.journal, h.saved = h.journal[:0], nil
}

func (h *MapState[K, V]) schema() string { return "map " + typeName[K]() + " → " + typeName[V]() }

func (h *MapState[K, V]) form() *StateForm {
	return &StateForm{Kind: "map", Key: codec.FormOf[K](), Elem: codec.FormOf[V]()}
}

func (h *MapState[K, V]) check() error {
	if h.refused != nil {
		return h.refused
	}
	return codec.CheckType[V]()
}

func (h *MapState[K, V]) empty(cell any) bool {
	for _, e := range cell.(*mapCell[K, V]).entries {
		if h.live(e.expires) {
			return false
		}
	}
	return true
}

func (h *MapState[K, V]) stale(cell any) bool {
	if h.ttl == 0 {
		return false
	}
	for _, e := range cell.(*mapCell[K, V]).entries {
		if !h.live(e.expires) {
			return true
		}
	}
	return false
}

func (h *MapState[K, V]) purge(cell any) (n int) {
	if h.ttl == 0 {
		return 0
	}
	entries := cell.(*mapCell[K, V]).entries
	for k, e := range entries {
		if !h.live(e.expires) {
			delete(entries, k)
			n++
		}
	}
	return n
}

func (h *MapState[K, V]) encode(dst []byte, cell any) ([]byte, error) {
	c := cell.(*mapCell[K, V])
	sorted, err := h.sorted(c)
	if err != nil {
		return dst, err
	}
	var value []byte
	for _, k := range sorted {
		e := c.entries[k.key]
		if !h.live(e.expires) {
			continue
		}
		if value, err = h.values.Append(value[:0], e.value); err != nil {
			return dst, err
		}
		dst = appendSized(appendSized(binary.AppendVarint(dst, e.expires), k.bytes), value)
	}
	return dst, nil
}

func (h *MapState[K, V]) decode(b []byte) (any, error) {
	c := &mapCell[K, V]{entries: map[K]element[V]{}}
	for len(b) > 0 {
		expires, w := binary.Varint(b)
		if w <= 0 {
			return nil, errCorruptState
		}
		rawKey, rest, err := cutSized(b[w:])
		if err != nil {
			return nil, err
		}
		raw, rest, err := cutSized(rest)
		if err != nil {
			return nil, err
		}
		k, err := h.keys.Decode(rawKey)
		if err != nil {
			return nil, err
		}
		v, err := h.values.Decode(raw)
		if err != nil {
			return nil, err
		}
		c.entries[k], b = element[V]{v, expires}, rest
	}
	return c, nil
}
