// Package compaction decides which records of a log survive when only the newest
// of each key is kept. It has no clock and does no I/O.
package compaction

import (
	"crypto/sha256"
	"maps"
)

// KeyBytes is about what Keys needs for one key, however long that is.
const KeyBytes = 64

// Keys remembers at which offset the newest record of each key is, of a part of a
// log. Keys are told apart by 128 bits of their SHA-256: nobody can make two that
// are taken for one.
type Keys struct {
	most   int
	newest map[digest]uint64
}

type digest [16]byte

func digestOf(key []byte) (d digest) {
	sum := sha256.Sum256(key)
	copy(d[:], sum[:])
	return d
}

// NewKeys returns Keys that are full with as many keys as fit into so many bytes,
// and at least one.
func NewKeys(bytesMax int) *Keys {
	return &Keys{most: max(bytesMax/KeyBytes, 1), newest: map[digest]uint64{}}
}

// Note takes a record in. Records come in the order of their offsets. It notes the
// record even when it is full: whoever fills it stops at the end of a batch.
func (k *Keys) Note(key []byte, offset uint64) {
	if key != nil {
		k.newest[digestOf(key)] = offset
	}
}

// Full says whether it has reached its limit.
func (k *Keys) Full() bool { return len(k.newest) >= k.most }

// Len is how many keys it knows.
func (k *Keys) Len() int { return len(k.newest) }

// superseded says whether there is a newer record of the key than the one at an
// offset.
func (k *Keys) superseded(key []byte, offset uint64) bool {
	newest, known := k.newest[digestOf(key)]
	return known && newest > offset
}

// Newest returns what was noted last of a key.
func (k *Keys) Newest(key []byte) (offset uint64, known bool) {
	offset, known = k.newest[digestOf(key)]
	return offset, known
}

// Forget forgets the keys whose newest record is before an offset.
func (k *Keys) Forget(before uint64) {
	maps.DeleteFunc(k.newest, func(_ digest, offset uint64) bool { return offset < before })
}

// Reset forgets all.
func (k *Keys) Reset() { clear(k.newest) }
