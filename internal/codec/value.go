package codec

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec is the binary form of values of one type. A user may bring one.
//
// Decode must not keep b, and must give an error, not panic, for bytes that
// are not its own. Encoding equal values must give equal bytes. A Codec is
// used by several goroutines at once.
type Codec[T any] interface {
	// Append appends the encoded value to dst. On error it returns dst unchanged.
	Append(dst []byte, v T) ([]byte, error)
	Decode(b []byte) (T, error)
	// Name says in a checkpoint how its values were written.
	Name() string
}

// For returns the codec that is used unless another is asked for: msgpack.
// Booleans, numbers, strings, []byte and times, named ones too, are written
// without reflection, and so are types with MarshalBinary and UnmarshalBinary,
// with AppendBinary as well even without an allocation. Everything else goes
// through vmihailenco/msgpack, as maps by field name, so that fields can be
// added and removed.
//
// What comes back equals what went in, with these exceptions. A time keeps its
// instant to the nanosecond and comes back in UTC without a monotonic clock.
// Values must be trees: a pointer that is reached twice comes back as two.
//
// A type that would lose something (see CheckType) gets a codec whose every
// call returns that error.
func For[T any]() Codec[T] {
	t := reflect.TypeFor[T]()
	if err := CheckType[T](); err != nil {
		return refused[T]{err}
	}
	if c := newBinaryForm[T](t); c != nil {
		return c
	}
	if hasOwnForm(t) {
		return newStructured[T]()
	}
	if c := primitive[T](t); c != nil {
		return c
	}
	return newStructured[T]()
}

// DecoderInto returns what decodes a value to where it is wanted, which saves
// large ones from being copied. After an error nothing is promised of the value.
func DecoderInto[T any](c Codec[T]) func(b []byte, v *T) error {
	if own, ok := c.(interface {
		decodeInto(b []byte, v *T) error
	}); ok {
		return own.decodeInto
	}
	return func(b []byte, v *T) (err error) {
		*v, err = c.Decode(b)
		return err
	}
}

// refused is the codec of a type that cannot be stored.
type refused[T any] struct{ err error }

func (c refused[T]) Append(dst []byte, _ T) ([]byte, error) { return dst, c.err }
func (c refused[T]) Decode([]byte) (v T, err error)         { return v, c.err }
func (c refused[T]) Name() string                           { return "refused" }

// JSON returns a codec that writes encoding/json. It is slower and larger than
// For, and readable by anything.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("encode %T as JSON: %w", v, err)
	}
	return append(dst, b...), nil
}

func (jsonCodec[T]) Decode(b []byte) (v T, err error) {
	if err = json.Unmarshal(b, &v); err != nil {
		return *new(T), fmt.Errorf("decode %T: the JSON is %w: %w", v, ErrCorrupt, err)
	}
	return v, nil
}

func (jsonCodec[T]) Name() string { return "json" }

// Raw returns the codec of bytes that are stored as they are. Decode copies.
// It does not tell nil from empty: both come back empty.
func Raw() Codec[[]byte] { return rawCodec{} }

type rawCodec struct{}

func (rawCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (rawCodec) Decode(b []byte) ([]byte, error)      { return append([]byte{}, b...), nil }
func (rawCodec) Name() string                         { return "raw" }

// String returns the codec of strings that are stored as they are.
func String() Codec[string] { return rawString[string]{} }
