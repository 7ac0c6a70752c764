package dataflow

import "math/bits"

// bitset is a set of small numbers, in their order.
type bitset []uint64

func (b *bitset) set(n uint32) {
	w := int(n / 64)
	for w >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[w] |= 1 << (n % 64)
}

// take removes the lowest number of a word, if there is one.
func (b bitset) take(word int) (n uint32, ok bool) {
	rest := b[word]
	if rest == 0 {
		return 0, false
	}
	b[word] = rest & (rest - 1)
	return uint32(word*64 + bits.TrailingZeros64(rest)), true
}

// add adds what is in another set.
func (b *bitset) add(other bitset) {
	for len(*b) < len(other) {
		*b = append(*b, 0)
	}
	for i, w := range other {
		(*b)[i] |= w
	}
}
