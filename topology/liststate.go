package topology

import (
	"encoding/binary"

	"github.com/troupestream/troupe/internal/codec"
)

// List is a list of elements for each key. It belongs to the key whose record
// or timer is being handled.
type List[E any] struct {
	declared
	codec  codec.Codec[E]
	before []element[E] // as it was before the call at hand, when that has changed it
	saved  *listCell[E]
}

type listCell[E any] struct{ elements []element[E] }

type element[E any] struct {
	value   E
	expires int64
}

// ListOf declares a list. Call it in the setup function of a Process; E must be
// a type that can be stored.
func ListOf[E any](p StateOwner, name string, opts ...StateOption) *List[E] {
	h := &List[E]{codec: codec.For[E]()}
	p.states().declare(h, name, opts)
	return h
}

// Add appends elements.
func (h *List[E]) Add(values ...E) { h.append(h.change(), values) }

// Get returns a copy of the elements, oldest first.
func (h *List[E]) Get() []E {
	c, _ := h.owner.cell(&h.declared).(*listCell[E])
	if c == nil {
		return nil
	}
	values := make([]E, 0, len(c.elements))
	for i := range c.elements {
		if h.live(c.elements[i].expires) {
			values = append(values, c.elements[i].value)
		}
	}
	return values
}

// Len is the number of elements.
func (h *List[E]) Len() (n int) {
	c, _ := h.owner.cell(&h.declared).(*listCell[E])
	if c == nil {
		return 0
	}
	for i := range c.elements {
		if h.live(c.elements[i].expires) {
			n++
		}
	}
	return n
}

// Update replaces all elements.
func (h *List[E]) Update(values []E) {
	c := h.change()
	c.elements = nil
	h.append(c, values)
}

// Clear removes all elements.
func (h *List[E]) Clear() {
	if h.owner.cell(&h.declared) != nil {
		h.change().elements = nil
	}
}

// change returns the cell, to be changed.
//
// Up to the end of the call, elements are only ever appended or replaced as a
// whole: so the old slice is all that it takes to undo.
func (h *List[E]) change() *listCell[E] {
	c, _ := h.owner.cell(&h.declared).(*listCell[E])
	if c == nil {
		c = &listCell[E]{}
		h.owner.setCell(&h.declared, c)
	}
	if h.saved == nil {
		h.saved, h.before = c, c.elements
		h.owner.touched(h)
	}
	return c
}

func (h *List[E]) append(c *listCell[E], values []E) {
	limit := h.owner.limits.Entries
	h.owner.expired(h.purge(c))
	if len(c.elements)+len(values) > limit {
		panic(overLimit(h.owner.key(), limit, "Entries", "elements in list "+h.name))
	}
	for _, v := range values {
		c.elements = append(c.elements, element[E]{v, h.expires()})
	}
}

func (h *List[E]) undo() {
	h.saved.elements = h.before
	h.keep()
}

func (h *List[E]) keep() { h.saved, h.before = nil, nil }

func (h *List[E]) schema() string { return "list " + typeName[E]() }
func (h *List[E]) form() *StateForm {
	return &StateForm{Kind: "list", Elem: codec.FormOf[E]()}
}
func (h *List[E]) check() error { return codec.CheckType[E]() }

func (h *List[E]) empty(cell any) bool {
	for _, e := range cell.(*listCell[E]).elements {
		if h.live(e.expires) {
			return false
		}
	}
	return true
}

func (h *List[E]) stale(cell any) bool {
	c := cell.(*listCell[E])
	return len(c.elements) > 0 && !h.live(c.elements[0].expires)
}

// purge cuts off the front of the list: what was added first expires first.
func (h *List[E]) purge(cell any) (n int) {
	c := cell.(*listCell[E])
	for n < len(c.elements) && !h.live(c.elements[n].expires) {
		n++
	}
	c.elements = c.elements[n:]
	return n
}

func (h *List[E]) encode(dst []byte, cell any) ([]byte, error) {
	var value []byte
	var err error
	for _, e := range cell.(*listCell[E]).elements {
		if !h.live(e.expires) {
			continue
		}
		if value, err = h.codec.Append(value[:0], e.value); err != nil {
			return dst, err
		}
		dst = appendSized(binary.AppendVarint(dst, e.expires), value)
	}
	return dst, nil
}

func (h *List[E]) decode(b []byte) (any, error) {
	c := &listCell[E]{}
	for len(b) > 0 {
		expires, w := binary.Varint(b)
		if w <= 0 {
			return nil, errCorruptState
		}
		value, rest, err := cutSized(b[w:])
		if err != nil {
			return nil, err
		}
		v, err := h.codec.Decode(value)
		if err != nil {
			return nil, err
		}
		c.elements, b = append(c.elements, element[E]{v, expires}), rest
	}
	return c, nil
}
