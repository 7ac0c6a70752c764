package codec

import (
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// HashBytes is the stable hash of a key's bytes: XXH64 with seed 0.
func HashBytes(b []byte) uint64 { return xxhash.Sum64(b) }

// HashUint is the stable hash of an integer: the finalizer of SplitMix64.
// Source: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014).
func HashUint(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// Hasher returns the function that spreads keys over key groups and
// partitions. Equal keys have equal hashes on every machine and in every
// release, for ever: what is stored depends on it.
//
// Strings and types made of bytes are hashed by HashBytes, integers and
// booleans by HashUint of their value, whatever their width. 0 and -0 are one
// key. All NaNs have one hash, but are no keys, since none equals itself: see
// MayDifferFromItself. Arrays and
// structs combine the hashes of what they hold, in order. Keys that hold
// pointers, interfaces or channels, and times (whose equality depends on their
// zone) are refused with an ErrType.
func Hasher[K comparable]() (func(K) uint64, error) {
	t := reflect.TypeFor[K]()
	switch t.Kind() {
	case reflect.String:
		return stringHasher[K](), nil
	case reflect.Array, reflect.Struct:
		return compositeHasher[K](t)
	}
	if f := scalarHasher[K](t.Kind()); f != nil {
		return f, nil
	}
	return nil, refuse(t.String(), t, "a key is a string, a number, a boolean, or an array or struct of those")
}

// MayDifferFromItself says whether there are keys of this type that do not equal
// themselves, and so can never be found again: those that are, or hold, a NaN.
func MayDifferFromItself[K comparable]() bool { return holdsFloat(reflect.TypeFor[K]()) }

func holdsFloat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128, reflect.Interface:
		return true
	case reflect.Array:
		return t.Len() > 0 && holdsFloat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsFloat(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

func stringHasher[K comparable]() func(K) uint64 {
	if f, ok := any(xxhash.Sum64String).(func(K) uint64); ok {
		return f
	}
	return func(k K) uint64 { return xxhash.Sum64String(*(*string)(unsafe.Pointer(&k))) }
}

// scalarHasher returns nil for other kinds. Each of its functions reads K as
// the kind it was declared as.
func scalarHasher[K comparable](kind reflect.Kind) func(K) uint64 {
	switch kind {
	case reflect.Bool:
		return func(k K) uint64 { return HashUint(uint64(*(*uint8)(unsafe.Pointer(&k)))) }
	case reflect.Int, reflect.Int64:
		return func(k K) uint64 { return HashUint(uint64(*(*int64)(unsafe.Pointer(&k)))) }
	case reflect.Int8:
		return func(k K) uint64 { return HashUint(uint64(*(*int8)(unsafe.Pointer(&k)))) }
	case reflect.Int16:
		return func(k K) uint64 { return HashUint(uint64(*(*int16)(unsafe.Pointer(&k)))) }
	case reflect.Int32:
		return func(k K) uint64 { return HashUint(uint64(*(*int32)(unsafe.Pointer(&k)))) }
	case reflect.Uint, reflect.Uint64:
		return func(k K) uint64 { return HashUint(*(*uint64)(unsafe.Pointer(&k))) }
	case reflect.Uint8:
		return func(k K) uint64 { return HashUint(uint64(*(*uint8)(unsafe.Pointer(&k)))) }
	case reflect.Uint16:
		return func(k K) uint64 { return HashUint(uint64(*(*uint16)(unsafe.Pointer(&k)))) }
	case reflect.Uint32:
		return func(k K) uint64 { return HashUint(uint64(*(*uint32)(unsafe.Pointer(&k)))) }
	case reflect.Float32:
		return func(k K) uint64 { return hashFloat(float64(*(*float32)(unsafe.Pointer(&k)))) }
	case reflect.Float64:
		return func(k K) uint64 { return hashFloat(*(*float64)(unsafe.Pointer(&k))) }
	}
	return nil
}

func hashFloat(v float64) uint64 {
	if v == 0 {
		v = 0 // -0
	}
	if math.IsNaN(v) {
		v = math.NaN()
	}
	return HashUint(math.Float64bits(v))
}

// part is one piece of a composite key: what is at an offset.
type part struct {
	kind   reflect.Kind // Uint8 with size > 0: that many bytes
	offset uintptr
	size   uintptr
}

// maxKeyParts bounds the pieces of a composite key.
const maxKeyParts = 1024

// compositeHasher flattens the key into parts, so that hashing is a loop over
// data: with a call through a function value for each part, the key would
// escape to the heap.
func compositeHasher[K comparable](t reflect.Type) (func(K) uint64, error) {
	parts, err := flatten(nil, t, 0, t.String())
	if err != nil {
		return nil, err
	}
	return func(k K) uint64 { return hashParts(unsafe.Pointer(&k), parts) }, nil
}

func flatten(parts []part, t reflect.Type, at uintptr, path string) ([]part, error) {
	if len(parts) > maxKeyParts {
		return nil, refuse(path, t, fmt.Sprintf("a key has at most %d parts", maxKeyParts))
	}
	if t == timeType {
		return nil, refuse(path, t, "equal times can differ as keys: use UnixMilli")
	}
	var err error
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name == "_" {
				continue
			}
			if parts, err = flatten(parts, f.Type, at+f.Offset, path+"."+f.Name); err != nil {
				return nil, err
			}
		}
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return append(parts, part{reflect.Uint8, at, t.Size()}), nil
		}
		for i := range t.Len() {
			if parts, err = flatten(parts, t.Elem(), at+uintptr(i)*t.Elem().Size(), path+"[]"); err != nil {
				return nil, err
			}
		}
	case reflect.Pointer, reflect.Interface, reflect.Chan, reflect.UnsafePointer, reflect.Uintptr,
		reflect.Complex64, reflect.Complex128:
		return nil, refuse(path, t, "a key is a string, a number, a boolean, or an array or struct of those")
	default:
		parts = append(parts, part{kind: t.Kind(), offset: at})
	}
	return parts, nil
}

func hashParts(p unsafe.Pointer, parts []part) uint64 {
	h := uint64(len(parts))
	for i := range parts {
		h = HashUint(h ^ hashPart(unsafe.Add(p, parts[i].offset), &parts[i]))
	}
	return h
}

func hashPart(p unsafe.Pointer, f *part) uint64 {
	switch f.kind {
	case reflect.String:
		return xxhash.Sum64String(*(*string)(p))
	case reflect.Uint8:
		if f.size > 0 {
			return xxhash.Sum64(unsafe.Slice((*byte)(p), f.size))
		}
		return HashUint(uint64(*(*uint8)(p)))
	case reflect.Bool:
		return HashUint(uint64(*(*uint8)(p)))
	case reflect.Int8:
		return HashUint(uint64(*(*int8)(p)))
	case reflect.Int16:
		return HashUint(uint64(*(*int16)(p)))
	case reflect.Int32:
		return HashUint(uint64(*(*int32)(p)))
	case reflect.Uint16:
		return HashUint(uint64(*(*uint16)(p)))
	case reflect.Uint32:
		return HashUint(uint64(*(*uint32)(p)))
	case reflect.Float32:
		return hashFloat(float64(*(*float32)(p)))
	case reflect.Float64:
		return hashFloat(*(*float64)(p))
	default: // Int, Int64, Uint, Uint64
		return HashUint(*(*uint64)(p))
	}
}
