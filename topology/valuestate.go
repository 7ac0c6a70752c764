package topology

import (
	"encoding/binary"

	"github.com/troupestream/troupe/internal/codec"
)

// Value is one value for each key. It belongs to the key whose record or timer
// is being handled.
type Value[V any] struct {
	declared
	codec  codec.Codec[V]
	before valueCell[V] // as it was before the call at hand, when that has changed it
	saved  *valueCell[V]
}

type valueCell[V any] struct {
	value   V
	set     bool
	expires int64
}

// ValueOf declares a value. Call it in the setup function of a Process; V must
// be a type that can be stored.
func ValueOf[V any](p StateOwner, name string, opts ...StateOption) *Value[V] {
	h := &Value[V]{codec: codec.For[V]()}
	p.states().declare(h, name, opts)
	return h
}

// Get returns the value; V's zero value when there is none.
func (h *Value[V]) Get() V {
	v, _ := h.Lookup()
	return v
}

// Lookup returns the value, and whether there is one.
func (h *Value[V]) Lookup() (v V, ok bool) {
	c, _ := h.owner.cell(&h.declared).(*valueCell[V])
	if c == nil || !c.set || !h.live(c.expires) {
		return v, false
	}
	return c.value, true
}

// Set replaces the value.
func (h *Value[V]) Set(v V) {
	c, _ := h.owner.cell(&h.declared).(*valueCell[V])
	if c == nil {
		c = &valueCell[V]{}
		h.owner.setCell(&h.declared, c)
	}
	h.save(c)
	*c = valueCell[V]{v, true, h.expires()}
}

// Clear removes the value.
func (h *Value[V]) Clear() {
	if c, _ := h.owner.cell(&h.declared).(*valueCell[V]); c != nil {
		h.save(c)
		*c = valueCell[V]{}
	}
}

func (h *Value[V]) save(c *valueCell[V]) {
	if h.saved == nil {
		h.saved, h.before = c, *c
		h.owner.touched(h)
	}
}

func (h *Value[V]) undo() {
	*h.saved = h.before
	h.keep()
}

func (h *Value[V]) keep() { h.saved, h.before = nil, valueCell[V]{} }

func (h *Value[V]) schema() string   { return "value " + typeName[V]() }
func (h *Value[V]) form() *StateForm { return codec.FormOf[V]() }
func (h *Value[V]) check() error     { return codec.CheckType[V]() }

func (h *Value[V]) empty(cell any) bool {
	c := cell.(*valueCell[V])
	return !c.set || !h.live(c.expires)
}

func (h *Value[V]) stale(cell any) bool {
	c := cell.(*valueCell[V])
	return c.set && !h.live(c.expires)
}

func (h *Value[V]) purge(cell any) int {
	if !h.stale(cell) {
		return 0
	}
	*cell.(*valueCell[V]) = valueCell[V]{}
	return 1
}

func (h *Value[V]) encode(dst []byte, cell any) ([]byte, error) {
	c := cell.(*valueCell[V])
	return h.codec.Append(binary.AppendVarint(dst, c.expires), c.value)
}

func (h *Value[V]) decode(b []byte) (any, error) {
	expires, w := binary.Varint(b)
	if w <= 0 {
		return nil, errCorruptState
	}
	v, err := h.codec.Decode(b[w:])
	return &valueCell[V]{v, true, expires}, err
}
