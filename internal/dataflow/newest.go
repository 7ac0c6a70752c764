package dataflow

import (
	"bytes"
	"fmt"
	"hash/maphash"
	goruntime "runtime"
)

// newest finds out which entries of a key group's segments still hold: of each
// key the last one. Keys are compared as bytes, so nothing is decoded. It is used
// for one group after the other.
type newest struct {
	seed  maphash.Seed
	slots []slot // a power of two of them: an index of all, by open addressing
	all   []seen // every entry, in order
	keys  int

	patient bool // others may run in between
}

// seen is an entry that was read.
type seen struct {
	Entry
	tag  uint32
	held bool // none with its key came after it
}

// read takes the segments of a group, oldest first.
func (n *newest) read(segments [][]byte) error {
	if n.seed == (maphash.Seed{}) {
		n.seed = maphash.MakeSeed()
	}
	clear(n.slots)
	n.all, n.keys = n.all[:0], 0
	for i, s := range segments {
		if err := EachEntry(s, n.add); err != nil {
			return fmt.Errorf("segment %d of %d: %w", i+1, len(segments), err)
		}
	}
	return nil
}

func (n *newest) add(e Entry) error {
	if n.patient && len(n.all)%mergerPause == 0 {
		goruntime.Gosched()
	}
	if 2*(n.keys+1) > len(n.slots) {
		n.grow()
	}
	tag := uint32(maphash.Bytes(n.seed, e.Key))
	n.all = append(n.all, seen{e, tag, true})
	s := n.find(tag, e.Key)
	if s.ref == 0 {
		n.keys++
	} else {
		n.all[s.ref-1].held = false
	}
	*s = slot{tag, uint32(len(n.all))}
	return nil
}

// find returns the slot of a key, or the empty one that it is to have.
func (n *newest) find(tag uint32, key []byte) *slot {
	mask := uint32(len(n.slots) - 1)
	for i := tag & mask; ; i = (i + 1) & mask {
		s := &n.slots[i]
		if s.ref == 0 || s.tag == tag && bytes.Equal(n.all[s.ref-1].Key, key) {
			return s
		}
	}
}

func (n *newest) grow() {
	n.slots = make([]slot, max(64, 2*len(n.slots)))
	mask := uint32(len(n.slots) - 1)
	for at := range n.all {
		if r := &n.all[at]; r.held {
			i := r.tag & mask
			for n.slots[i].ref != 0 {
				i = (i + 1) & mask
			}
			n.slots[i] = slot{r.tag, uint32(at + 1)}
		}
	}
}

// held appends the entries that hold, in order.
func (n *newest) held(to []Entry) []Entry {
	for i := range n.all {
		if n.all[i].held {
			to = append(to, n.all[i].Entry)
		}
	}
	return to
}
