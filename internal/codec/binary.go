package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// binaryForm is the codec of types with MarshalBinary and UnmarshalBinary. It
// writes what the library would, a bin of msgpack, without its reflection. A
// type that also has AppendBinary is written without an allocation.
type binaryForm[T any] struct{ boxes sync.Pool }

// box is a place for a value at which its methods can be called. It is used
// again, since a value whose address goes into an interface is allocated.
type box[T any] struct {
	v         T
	append    encoding.BinaryAppender // nil: T only marshals
	marshal   encoding.BinaryMarshaler
	unmarshal encoding.BinaryUnmarshaler
}

// newBinaryForm returns nil for types that have no such form, or one that the
// library prefers.
func newBinaryForm[T any](t reflect.Type) Codec[T] {
	p := reflect.PointerTo(t)
	for _, preferred := range []reflect.Type{reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder](),
		reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()} {
		if p.Implements(preferred) {
			return nil
		}
	}
	if t == timeType || !p.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) ||
		!p.Implements(reflect.TypeFor[encoding.BinaryUnmarshaler]()) {
		return nil
	}
	return &binaryForm[T]{boxes: sync.Pool{New: func() any { return newBox[T]() }}}
}

func newBox[T any]() *box[T] {
	b := new(box[T])
	b.append, _ = any(&b.v).(encoding.BinaryAppender)
	b.marshal = any(&b.v).(encoding.BinaryMarshaler)
	b.unmarshal = any(&b.v).(encoding.BinaryUnmarshaler)
	return b
}

func (c *binaryForm[T]) Name() string { return "msgpack" }

// release empties the box, so that it keeps nothing alive.
func (c *binaryForm[T]) release(b *box[T]) {
	b.v = *new(T)
	c.boxes.Put(b)
}

func (c *binaryForm[T]) Append(dst []byte, v T) ([]byte, error) {
	b := c.boxes.Get().(*box[T])
	defer c.release(b)
	b.v = v
	out, err := b.appendTo(dst)
	if err != nil {
		return dst, fmt.Errorf("encode %T: %w", v, err)
	}
	return out, nil
}

func (b *box[T]) appendTo(dst []byte) ([]byte, error) {
	if b.append == nil {
		bytes, err := b.marshal.MarshalBinary()
		if err != nil {
			return nil, err
		}
		return appendBin(dst, bytes), nil
	}
	// The length is known afterwards. Room is left for that of short values;
	// longer ones are moved.
	const head = 2
	out, err := b.append.AppendBinary(append(dst, mpBin8, 0))
	if err != nil {
		return nil, err
	}
	n := len(out) - len(dst) - head
	if n < 0 {
		return nil, fmt.Errorf("its AppendBinary returned less than it was given")
	}
	if n < 1<<8 {
		out[len(dst)+1] = byte(n)
		return out, nil
	}
	var room [5]byte
	long := appendBinHead(room[:0], n)
	out = slices.Insert(out, len(dst)+head, long[head:]...)
	copy(out[len(dst):], long)
	return out, nil
}

func (c *binaryForm[T]) Decode(data []byte) (v T, err error) {
	b := c.boxes.Get().(*box[T])
	defer c.release(b)
	if err := c.decode(data, b.unmarshal); err != nil {
		return v, err
	}
	return b.v, nil
}

func (c *binaryForm[T]) decodeInto(data []byte, v *T) error {
	*v = *new(T)
	return c.decode(data, any(v).(encoding.BinaryUnmarshaler))
}

// decode has a zero value decode itself.
func (c *binaryForm[T]) decode(data []byte, v encoding.BinaryUnmarshaler) error {
	if len(data) == 1 && data[0] == mpNil {
		return nil
	}
	r := reader{b: data}
	bytes := r.bytes()
	if r.bad || r.left() != 0 {
		return corrupt(fmt.Sprintf("the %T", *new(T)), r.pos, "it is no bin of msgpack")
	}
	if err := v.UnmarshalBinary(bytes); err != nil {
		return fmt.Errorf("decode %T: the bytes are %w: %w", *new(T), ErrCorrupt, err)
	}
	return nil
}
