package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/vmihailenco/msgpack/v5"
)

// DecodedBytes bounds what decoding one value may allocate beyond a small
// multiple of its encoded size: 64 MiB.
const DecodedBytes = 64 << 20

// structured is the codec of types that need reflection.
type structured[T any] struct {
	shape shape
	utc   func(reflect.Value) // nil when T holds no time
}

func newStructured[T any]() Codec[T] {
	t := reflect.TypeFor[T]()
	s, _ := inspect(t) // For has checked it
	return &structured[T]{shape: s, utc: utcOf(t, s)}
}

func (c *structured[T]) Name() string { return "msgpack" }

// sink lets the library append to a slice of the caller.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error)       { s.b = append(s.b, p...); return len(p), nil }
func (s *sink) WriteByte(c byte) error            { s.b = append(s.b, c); return nil }
func (s *sink) WriteString(p string) (int, error) { s.b = append(s.b, p...); return len(p), nil }

func (c *structured[T]) Append(dst []byte, v T) ([]byte, error) {
	e := msgpack.GetEncoder()
	defer msgpack.PutEncoder(e)
	out := sink{dst}
	e.Reset(&out)
	e.UseCompactInts(true)
	if err := e.Encode(&v); err != nil {
		return dst, fmt.Errorf("encode %T: %w", v, err)
	}
	if c.shape.maps {
		sortMaps(out.b[len(dst):])
	}
	return out.b, nil
}

// Decode checks the bytes before the library sees them: it would allocate by
// any length that they declare.
func (c *structured[T]) Decode(b []byte) (v T, err error) {
	values, err := checkValue(b)
	if err != nil {
		return v, fmt.Errorf("decode %T: %w", v, err)
	}
	if need := values * int(c.shape.itemBytes); need > DecodedBytes && need/16 > len(b) {
		return v, fmt.Errorf("decode %T: %w", v, overLimit("the value", "bytes to allocate", need, "DecodedBytes", DecodedBytes))
	}
	d := msgpack.GetDecoder()
	defer msgpack.PutDecoder(d)
	d.Reset(bytes.NewReader(b))
	if err = d.Decode(&v); err != nil {
		return *new(T), &mismatch{*new(T), err}
	}
	if c.utc != nil {
		c.utc(reflect.ValueOf(&v).Elem())
	}
	return v, nil
}

// sortMaps puts the entries of all maps in b, which was just encoded, into the
// order of their encoded keys, so that equal values give equal bytes. Go's
// order of iteration would not.
func sortMaps(b []byte) { (&mapSorter{walker{b: b}}).value() }

type mapSorter struct{ walker }

type mapEntry struct{ key, all []byte }

func byKey(x, y mapEntry) int { return bytes.Compare(x.key, y.key) }

func (s *mapSorter) value() {
	items, isMap := s.head()
	if isMap {
		s.entries(items / 2)
		return
	}
	for ; items > 0 && s.err == nil; items-- {
		s.value()
	}
}

func (s *mapSorter) entries(n int) {
	entries := make([]mapEntry, 0, n)
	first := s.pos
	for range n {
		begin := s.pos
		s.value()
		end := s.pos
		s.value()
		entries = append(entries, mapEntry{s.b[begin:end], s.b[begin:s.pos]})
	}
	if s.err != nil || slices.IsSortedFunc(entries, byKey) {
		return
	}
	slices.SortStableFunc(entries, byKey)
	sorted := make([]byte, 0, s.pos-first)
	for _, e := range entries {
		sorted = append(sorted, e.all...)
	}
	copy(s.b[first:], sorted)
}
