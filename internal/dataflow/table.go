package dataflow

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/keygroup"
)

// Table is keyed state: one value for each key, divided into key groups, and
// snapshot as Stateful describes. It belongs to one goroutine.
//
// Each group has an index of its own (open addressing with linear probing, by
// the lower half of the key's hash), so that growing it never stops the world
// for more than a group's keys. Entries lie densely in a slice; those that were
// deleted are used again.
//
// Changes are tracked by epochs. An entry remembers the epoch in which it last
// changed, 0 when a segment holds it as it is. Freeze only begins a new epoch:
// an entry of an older one is frozen, which is to say that it is still owed to
// the snapshot, as it is. Whoever wants to change a frozen entry has it encoded
// first.
type Table[K comparable, V any] struct {
	form     Form[K, V]
	groups   int // of the job
	first    int // first group of this table
	parts    []part[K, V]
	epoch    uint32
	encoding int    // part that Encode is at
	spare    []byte // the last segment, to be used again
	keys     int
	err      error // of an entry that had to be encoded in passing
}

// Form is how the keys and values of a table are hashed and written. Values
// are only read and written in place.
type Form[K comparable, V any] struct {
	Hash        func(K) uint64
	AppendKey   func(dst []byte, k K) ([]byte, error)
	DecodeKey   func(b []byte) (K, error)
	AppendValue func(dst []byte, v *V) ([]byte, error)
	DecodeValue func(b []byte, v *V) error
	// Own returns a copy of a key that keeps nothing else alive: keys are often
	// cut out of large buffers. It refuses keys that are too long. Nil when keys
	// hold no pointers.
	Own func(K) (K, error)
	// MaxBytes is the longest a value may become when written.
	MaxBytes int
}

// part is the state of one key group.
type part[K comparable, V any] struct {
	slots   []slot // a power of two of them, or none
	entries []entry[K, V]
	free    []uint32
	used    int      // slots in use
	dirty   bitset   // entries that changed in this epoch
	frozen  bitset   // entries that the snapshot is owed, and others
	next    int      // word of frozen that encodePart is at
	segment []byte   // encoded, and yet to be handed out
	_       [32]byte // parts fill cache lines, so that what Upsert reads of one is in a single line
}

// slot is a place in the index. ref is 0 when it is empty, else 1 + the entry.
type slot struct{ tag, ref uint32 }

type entry[K comparable, V any] struct {
	key   K
	value V
	tag   uint32 // lower half of the hash
	epoch uint32 // of the last change; gone is set where that was its deletion
	state entryState
}

type entryState uint8

const (
	vacant   entryState = iota // in the free list
	fresh                      // no segment knows of it
	recorded                   // some segment has a value for it
)

const gone = 1 << 31

// Ref names an entry for as long as it is not deleted.
type Ref uint64

func refOf(part int, at uint32) Ref  { return Ref(part)<<32 | Ref(at) }
func (r Ref) split() (int, uint32)   { return int(r >> 32), uint32(r) }
func (e *entry[K, V]) live() bool    { return e.state != vacant && e.epoch&gone == 0 }
func (e *entry[K, V]) since() uint32 { return e.epoch &^ gone }

// NewTable returns an empty table for a task's groups, of so many in all.
func NewTable[K comparable, V any](groups int, own keygroup.Range, f Form[K, V]) *Table[K, V] {
	return &Table[K, V]{form: f, groups: groups, first: own.First, parts: make([]part[K, V], own.Len()), epoch: 1}
}

// Keys is the number of keys with a value.
func (t *Table[K, V]) Keys() int { return t.keys }

// Upsert returns the value of a key, to be changed in place; a key without one
// gets a zero value. hash is the key's. The pointer is good until the next
// Upsert. It panics with the error of Form.Own about a key that this refuses:
// such a record is to fail as one does on which user code panics.
func (t *Table[K, V]) Upsert(hash uint64, key K) *V {
	p := &t.parts[keygroup.Of(hash, t.groups)-t.first]
	if tag := uint32(hash); len(p.slots) > 0 {
		mask := uint32(len(p.slots) - 1)
		for i := tag & mask; p.slots[i].ref != 0; i = (i + 1) & mask {
			if p.slots[i].tag != tag {
				continue
			}
			if e := &p.entries[p.slots[i].ref-1]; e.key == key {
				if e.epoch != t.epoch {
					t.touch(p, p.slots[i].ref-1)
				}
				return &e.value
			}
		}
	}
	return &p.entries[t.insert(p, uint32(hash), key)].value
}

// Find returns the entry of a key, and touches nothing.
func (t *Table[K, V]) Find(hash uint64, key K) (Ref, bool) {
	g := keygroup.Of(hash, t.groups) - t.first
	at, ok := t.parts[g].find(uint32(hash), key)
	return refOf(g, at), ok && t.parts[g].entries[at].live()
}

func (p *part[K, V]) find(tag uint32, key K) (at uint32, ok bool) {
	if len(p.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(p.slots) - 1)
	for i := tag & mask; p.slots[i].ref != 0; i = (i + 1) & mask {
		if p.slots[i].tag == tag && p.entries[p.slots[i].ref-1].key == key {
			return p.slots[i].ref - 1, true
		}
	}
	return 0, false
}

// Peek returns an entry, not to be changed.
func (t *Table[K, V]) Peek(r Ref) (K, *V) {
	g, at := r.split()
	e := &t.parts[g].entries[at]
	return e.key, &e.value
}

// Touch returns the value of an entry, to be changed in place.
func (t *Table[K, V]) Touch(r Ref) *V {
	g, at := r.split()
	p := &t.parts[g]
	t.touch(p, at)
	return &p.entries[at].value
}

// Group is the key group of an entry.
func (t *Table[K, V]) Group(r Ref) int { return int(r>>32) + t.first }

// All yields every entry. Entries may be changed and deleted meanwhile, and
// none inserted.
func (t *Table[K, V]) All() iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		for g := range t.parts {
			for at := range t.parts[g].entries {
				if t.parts[g].entries[at].live() && !yield(refOf(g, uint32(at))) {
					return
				}
			}
		}
	}
}

// Scan calls f with the entries among the next n places from a position on,
// and returns the position behind them; 0 is the beginning, and comes after
// the end. f may delete the entry.
func (t *Table[K, V]) Scan(from Ref, n int, f func(Ref)) Ref {
	g, at := from.split()
	for ; g < len(t.parts); g, at = g+1, 0 {
		for ; int(at) < len(t.parts[g].entries); at, n = at+1, n-1 {
			if n <= 0 {
				return refOf(g, at)
			}
			if t.parts[g].entries[at].live() {
				f(refOf(g, at))
			}
		}
	}
	return 0
}

// insert adds an entry with a zero value.
func (t *Table[K, V]) insert(p *part[K, V], tag uint32, key K) uint32 {
	if 2*(p.used+1) > len(p.slots) {
		p.grow()
	}
	if t.form.Own != nil {
		own, err := t.form.Own(key)
		if err != nil {
			panic(err)
		}
		key = own
	}
	at := p.place()
	e := &p.entries[at]
	e.key, e.tag, e.state = key, tag, fresh
	p.put(slot{tag, at + 1})
	t.keys++
	t.note(p, at, e)
	return at
}

// place returns a vacant entry.
func (p *part[K, V]) place() uint32 {
	if n := len(p.free); n > 0 {
		at := p.free[n-1]
		p.free = p.free[:n-1]
		return at
	}
	if n := len(p.entries); n == cap(p.entries) {
		p.entries = slices.Grow(p.entries, n/2+8) // append would grow by a quarter, and copy twice as much in all
	}
	p.entries = append(p.entries, entry[K, V]{})
	return uint32(len(p.entries) - 1)
}

// reserve makes room for n entries in a part without any, so that nothing is
// copied as it grows while state is restored.
func (p *part[K, V]) reserve(n int) {
	size := 8
	for size < 2*n {
		size *= 2
	}
	p.slots, p.entries = make([]slot, size), make([]entry[K, V], 0, n)
}

func (p *part[K, V]) grow() {
	old := p.slots
	p.slots, p.used = make([]slot, max(8, 2*len(old))), 0
	for _, s := range old {
		if s.ref != 0 {
			p.put(s)
		}
	}
}

func (p *part[K, V]) put(s slot) {
	mask := uint32(len(p.slots) - 1)
	i := s.tag & mask
	for p.slots[i].ref != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = s
	p.used++
}

// touch makes an entry ready to be changed: a frozen one is encoded, a deleted
// one comes back to life with a zero value.
func (t *Table[K, V]) touch(p *part[K, V], at uint32) {
	e := &p.entries[at]
	if e.epoch == t.epoch {
		return
	}
	if since := e.since(); since != 0 && since < t.epoch {
		t.encode(p, e)
	}
	if e.epoch&gone != 0 {
		e.epoch &^= gone
		t.keys++
		if e.epoch == 0 { // its deletion is on record: nothing is left of it
			e.state = fresh
		}
	}
	t.note(p, at, e)
}

// note records that an entry changes in this epoch.
func (t *Table[K, V]) note(p *part[K, V], at uint32, e *entry[K, V]) {
	if e.epoch != t.epoch {
		e.epoch = t.epoch
		p.dirty.set(at)
	}
}

// Delete removes a key, if it is there.
func (t *Table[K, V]) Delete(hash uint64, key K) {
	if r, ok := t.Find(hash, key); ok {
		t.DeleteAt(r)
	}
}

// DeleteAt removes an entry.
func (t *Table[K, V]) DeleteAt(r Ref) {
	g, at := r.split()
	p := &t.parts[g]
	t.touch(p, at)
	e := &p.entries[at]
	clearValue(&e.value)
	t.keys--
	if e.state == fresh {
		p.vacate(at)
		return
	}
	// The key stays in the index until a segment holds its deletion: so a key
	// has one entry at any time, and what is written of it keeps its order.
	e.epoch |= gone
}

func clearValue[V any](v *V) { *v = *new(V) }

// vacate removes an entry from the index, and shifts back those behind it that
// could otherwise no longer be found (Knuth, The Art of Computer Programming
// 3, 6.4, algorithm R).
func (p *part[K, V]) vacate(at uint32) {
	e := &p.entries[at]
	mask := uint32(len(p.slots) - 1)
	hole := e.tag & mask
	for p.slots[hole].ref != at+1 {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; p.slots[i].ref != 0; i = (i + 1) & mask {
		if home := p.slots[i].tag & mask; (i-home)&mask >= (i-hole)&mask {
			p.slots[hole], hole = p.slots[i], i
		}
	}
	p.slots[hole] = slot{}
	p.used--
	clearValue(&e.key)
	clearValue(&e.value)
	e.state = vacant
	p.free = append(p.free, at)
}

// fail keeps the first error for Encode to report.
func (t *Table[K, V]) fail(key K, err error) {
	if t.err == nil {
		t.err = fmt.Errorf("state of key %s: %w", KeyText(key), err)
	}
}

// keyTextBytes is how much of a key errors show: 100 bytes.
const keyTextBytes = 100

// KeyText is a key as errors show it.
func KeyText(key any) string {
	s := fmt.Sprint(key)
	if len(s) <= keyTextBytes {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(s[:keyTextBytes], ""), len(s))
}

// Live says whether an entry is there.
func (t *Table[K, V]) Live(r Ref) bool {
	g, at := r.split()
	return t.parts[g].entries[at].live()
}

// SortByKey sorts entries by the bytes of their keys.
func (t *Table[K, V]) SortByKey(refs []Ref) error {
	if len(refs) < 2 {
		return nil
	}
	ends, text := make([]int, 0, len(refs)), []byte(nil)
	for _, r := range refs {
		key, _ := t.Peek(r)
		var err error
		if text, err = t.form.AppendKey(text, key); err != nil {
			return fmt.Errorf("key %s: %w", KeyText(key), err)
		}
		ends = append(ends, len(text))
	}
	type named struct {
		key []byte
		ref Ref
	}
	all, start := make([]named, len(refs)), 0
	for i, r := range refs {
		all[i], start = named{text[start:ends[i]], r}, ends[i]
	}
	slices.SortFunc(all, func(a, b named) int { return bytes.Compare(a.key, b.key) })
	for i := range all {
		refs[i] = all[i].ref
	}
	return nil
}

// GroupOf is the key group of a hash.
func (t *Table[K, V]) GroupOf(hash uint64) int { return keygroup.Of(hash, t.groups) }

// Places is the number of entries there is room for: what Scan goes through.
func (t *Table[K, V]) Places() (n int) {
	for g := range t.parts {
		n += len(t.parts[g].entries)
	}
	return n
}
