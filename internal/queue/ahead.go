package queue

// What a replayed journal says of messages that are yet to be taken again. A
// message counts as taken as soon as the journal says that it is gone: its record
// may not be there any more.

const pageBits = 12

// page is what is known of 4,096 offsets of a log.
type page struct {
	gone  [1 << pageBits / 64]uint64
	marks map[uint64]mark
}

func (f *feed) page(offset uint64) *page {
	if f.ahead == nil {
		f.ahead = map[uint64]*page{}
	}
	p := f.ahead[offset>>pageBits]
	if p == nil {
		p = &page{}
		f.ahead[offset>>pageBits] = p
	}
	return p
}

func (p *page) bit(offset uint64) (*uint64, uint64) {
	i := offset & (1<<pageBits - 1)
	return &p.gone[i/64], 1 << (i % 64)
}

// setGone reports whether the offset was not gone before.
func (p *page) setGone(offset uint64) bool {
	word, bit := p.bit(offset)
	was := *word&bit != 0
	*word |= bit
	delete(p.marks, offset)
	return !was
}

// goneAhead says whether the journal has seen the end of a message that is taken now.
func (f *feed) goneAhead(offset uint64) bool {
	if f.purge != nil && offset < f.purge.below && !f.purge.kept.has(offset) {
		return true
	}
	if p := f.ahead[offset>>pageBits]; p != nil {
		word, bit := p.bit(offset)
		return *word&bit != 0
	}
	return false
}

func (f *feed) markAhead(offset uint64) (mark, bool) {
	p := f.ahead[offset>>pageBits]
	if p == nil {
		return mark{}, false
	}
	m, found := p.marks[offset]
	return m, found
}

// passed forgets what is known of messages before the cursor.
func (f *feed) passed() {
	if f.purge != nil && f.next >= f.purge.below {
		f.purge = nil
	}
	for n := range f.ahead {
		if (n+1)<<pageBits <= f.next {
			delete(f.ahead, n)
		}
	}
	if len(f.ahead) == 0 {
		f.ahead = nil
	}
}

// purge is a purge of everything before an offset but for some.
type purge struct {
	below uint64
	kept  ranges
}
