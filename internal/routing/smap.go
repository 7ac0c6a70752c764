package routing

import (
	"hash/maphash"
	"sync/atomic"
)

// smap is a hash table with one writer and any number of readers, which take no
// lock and never wait: a reader finds what was there when it began, and of a
// change made meanwhile either all or nothing. Values live in their entries, so
// that the address of a value holds for as long as its key is there.
//
// One entry alone needs no slots. More are in open addressing with linear probing. A key is removed by putting a
// tombstone into its slot; slots that are full of entries and tombstones are
// replaced as a whole, while readers go on with those they hold. The caller
// hashes: see hasher.
type smap[K comparable, V any] struct {
	// only is the entry of a map that never had two since it was empty. When the
	// second comes the first stays here as well, because a reader that saw no
	// slots looks here next.
	only  atomic.Pointer[entry[K, V]]
	slots atomic.Pointer[[]atomic.Pointer[entry[K, V]]]
	// Of the writer alone.
	live int32 // entries
	used int32 // entries and tombstones in slots
}

type entry[K comparable, V any] struct {
	hash  uint64 // 0 for tombstones alone
	key   K
	value V
}

// minSlots is the size of the smallest table. Sizes are powers of two.
const minSlots = 4

// hasher hashes keys of smaps. The seed differs from process to process, so
// nobody can choose keys that collide.
type hasher struct{ seed maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed()} }

// of is never 0, so that it is never that of a tombstone.
func (h hasher) of(s string) uint64 { return maphash.String(h.seed, s) | 1<<63 }

// get returns the address of the key's value, or nil.
func (m *smap[K, V]) get(hash uint64, key K) *V {
	slots := m.slots.Load()
	if slots == nil {
		if e := m.only.Load(); e != nil && e.hash == hash && e.key == key {
			return &e.value
		}
		return nil
	}
	mask := uint64(len(*slots) - 1)
	for i := hash; ; i++ {
		e := (*slots)[i&mask].Load()
		if e == nil {
			return nil
		}
		if e.hash == hash && e.key == key {
			return &e.value
		}
	}
}

// put adds a key that is not there, and returns the address of its value, which
// is v. Readers see the key with v.
func (m *smap[K, V]) put(hash uint64, key K, v V) *V {
	e := &entry[K, V]{hash: hash, key: key, value: v}
	if m.live == 0 {
		m.only.Store(e)
	} else {
		m.makeRoom()
		place(*m.slots.Load(), e)
		m.used++
	}
	m.live++
	return &e.value
}

// getOrPut returns the address of the key's value, which is zero if it was not
// there.
func (m *smap[K, V]) getOrPut(hash uint64, key K) *V {
	if v := m.get(hash, key); v != nil {
		return v
	}
	var zero V
	return m.put(hash, key, zero)
}

// delete removes a key, if it is there.
func (m *smap[K, V]) delete(hash uint64, key K) {
	if m.get(hash, key) == nil {
		return
	}
	m.live--
	if e := m.only.Load(); e != nil && e.hash == hash && e.key == key {
		m.only.Store(nil)
	}
	slots := m.slots.Load()
	switch {
	case slots == nil:
	case m.live == 0:
		m.slots.Store(nil)
		m.used = 0
	default:
		bury(*slots, hash, key)
		if int(m.live)*8 < len(*slots) {
			m.resize()
		}
	}
}

// bury puts a tombstone into the slot of a key.
func bury[K comparable, V any](slots []atomic.Pointer[entry[K, V]], hash uint64, key K) {
	mask := uint64(len(slots) - 1)
	for i := hash; ; i++ {
		if e := slots[i&mask].Load(); e.hash == hash && e.key == key {
			slots[i&mask].Store(new(entry[K, V]))
			return
		}
	}
}

// makeRoom makes sure that one more slot may be used, and that one of four is
// always free, so that every search ends.
func (m *smap[K, V]) makeRoom() {
	if slots := m.slots.Load(); slots == nil || int(m.used+1)*4 > len(*slots)*3 {
		m.resize()
	}
}

// resize replaces the slots by as many as the entries and one more need, to be
// at most half full, without tombstones.
func (m *smap[K, V]) resize() {
	size := minSlots
	for size < int(m.live+1)*2 {
		size *= 2
	}
	slots := make([]atomic.Pointer[entry[K, V]], size)
	for e := range m.entries() {
		place(slots, e)
	}
	m.slots.Store(&slots)
	m.used = m.live
}

// entries yields the entries, in no order. It is for the writer.
func (m *smap[K, V]) entries() func(func(*entry[K, V]) bool) {
	return func(yield func(*entry[K, V]) bool) {
		slots := m.slots.Load()
		if slots == nil {
			if e := m.only.Load(); e != nil {
				yield(e)
			}
			return
		}
		for i := range *slots {
			if e := (*slots)[i].Load(); e != nil && e.hash != 0 && !yield(e) {
				return
			}
		}
	}
}

// place puts an entry into the first free slot of its hash.
func place[K comparable, V any](slots []atomic.Pointer[entry[K, V]], e *entry[K, V]) {
	mask := uint64(len(slots) - 1)
	i := e.hash
	for slots[i&mask].Load() != nil {
		i++
	}
	slots[i&mask].Store(e)
}
