package codec

import (
	"reflect"
	"unsafe"
)

// KeyCodec returns the codec of the keys of records and of keyed state.
// Strings are stored as they are, so that the key "de" of a program is the key
// "de" of the record; everything else is stored as For stores it. Keys that
// Hasher refuses are refused, and those that For would not bring back.
func KeyCodec[K comparable]() (Codec[K], error) {
	if _, err := Hasher[K](); err != nil {
		return nil, err
	}
	if err := CheckType[K](); err != nil {
		return nil, err
	}
	if t := reflect.TypeFor[K](); t.Kind() == reflect.String && !hasOwnForm(t) {
		return rawString[K]{}, nil
	}
	return For[K](), nil
}

// rawString stores the bytes of a K whose kind is string as they are.
type rawString[K comparable] struct{}

func (rawString[K]) Append(dst []byte, k K) ([]byte, error) {
	return append(dst, *(*string)(unsafe.Pointer(&k))...), nil
}

func (rawString[K]) Decode(b []byte) (K, error) {
	s := string(b)
	return *(*K)(unsafe.Pointer(&s)), nil
}

func (rawString[K]) Name() string { return "raw" }
