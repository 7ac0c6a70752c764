package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// castCodec is the codec of T by means of two functions of U. T and U have the
// same representation: T is U, or a type that was declared as U. A reader goes
// through get by value: behind a function that is not known its address would
// have to be allocated.
type castCodec[T, U any] struct {
	name string
	put  func([]byte, U) []byte
	get  func(reader) (U, reader)
}

func (c castCodec[T, U]) Append(dst []byte, v T) ([]byte, error) {
	return c.put(dst, *(*U)(unsafe.Pointer(&v))), nil
}

func (c castCodec[T, U]) Decode(b []byte) (v T, err error) {
	u, r := c.get(reader{b: b})
	if r.bad || r.left() != 0 {
		return v, corrupt(fmt.Sprintf("the %T", v), r.pos, "it is no %s of msgpack", c.name)
	}
	return *(*T)(unsafe.Pointer(&u)), nil
}

func (c castCodec[T, U]) Name() string { return "msgpack" }

// primitive returns the codec of a type that msgpack has a form for, or nil.
func primitive[T any](t reflect.Type) Codec[T] {
	switch t.Kind() {
	case reflect.Bool:
		return castCodec[T, bool]{"bool", appendBool, func(r reader) (bool, reader) { v := r.bool(); return v, r }}
	case reflect.String:
		return castCodec[T, string]{"string", appendStr, func(r reader) (string, reader) { v := string(r.str()); return v, r }}
	case reflect.Float32:
		return castCodec[T, float32]{"float32", appendFloat32, func(r reader) (float32, reader) { v := r.float32(); return v, r }}
	case reflect.Float64:
		return castCodec[T, float64]{"float64", appendFloat64, func(r reader) (float64, reader) { v := r.float64(); return v, r }}
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[byte]() {
			return castCodec[T, []byte]{"bytes", appendBin, func(r reader) ([]byte, reader) { v := r.ownBytes(); return v, r }}
		}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return castCodec[T, time.Time]{"timestamp", appendTimestamp, func(r reader) (time.Time, reader) { v := r.timestamp(); return v, r }}
		}
	}
	if c := signed[T](t); c != nil {
		return c
	}
	return unsigned[T](t)
}

func signed[T any](t reflect.Type) Codec[T] {
	switch t.Kind() {
	case reflect.Int:
		return intCodec[T, int](math.MinInt, math.MaxInt)
	case reflect.Int8:
		return intCodec[T, int8](math.MinInt8, math.MaxInt8)
	case reflect.Int16:
		return intCodec[T, int16](math.MinInt16, math.MaxInt16)
	case reflect.Int32:
		return intCodec[T, int32](math.MinInt32, math.MaxInt32)
	case reflect.Int64:
		return intCodec[T, int64](math.MinInt64, math.MaxInt64)
	}
	return nil
}

func unsigned[T any](t reflect.Type) Codec[T] {
	switch t.Kind() {
	case reflect.Uint:
		return uintCodec[T, uint](math.MaxUint)
	case reflect.Uint8:
		return uintCodec[T, uint8](math.MaxUint8)
	case reflect.Uint16:
		return uintCodec[T, uint16](math.MaxUint16)
	case reflect.Uint32:
		return uintCodec[T, uint32](math.MaxUint32)
	case reflect.Uint64:
		return uintCodec[T, uint64](math.MaxUint64)
	}
	return nil
}

func intCodec[T any, U int | int8 | int16 | int32 | int64](low, high int64) Codec[T] {
	return castCodec[T, U]{"integer",
		func(dst []byte, v U) []byte { return appendInt(dst, int64(v)) },
		func(r reader) (U, reader) {
			v := r.int()
			r.bad = r.bad || v < low || v > high
			return U(v), r
		}}
}

func uintCodec[T any, U uint | uint8 | uint16 | uint32 | uint64](high uint64) Codec[T] {
	return castCodec[T, U]{"unsigned integer",
		func(dst []byte, v U) []byte { return appendUint(dst, uint64(v)) },
		func(r reader) (U, reader) {
			v := r.uint()
			r.bad = r.bad || v > high
			return U(v), r
		}}
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, mpTrue)
	}
	return append(dst, mpFalse)
}

func (r *reader) bool() bool {
	c := r.code()
	r.bad = r.bad || c != mpTrue && c != mpFalse
	return c == mpTrue
}

func appendFloat32(dst []byte, v float32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, mpFloat32), math.Float32bits(v))
}

func (r *reader) float32() float32 {
	r.bad = r.code() != mpFloat32 || r.bad
	return math.Float32frombits(uint32(r.be(4)))
}

func appendFloat64(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, mpFloat64), math.Float64bits(v))
}

func (r *reader) float64() float64 {
	switch r.code() {
	case mpFloat64:
		return math.Float64frombits(r.be(8))
	case mpFloat32: // the type was widened since
		return float64(math.Float32frombits(uint32(r.be(4))))
	}
	r.bad = true
	return 0
}

// ownBytes copies: what a codec returns must not point into what it was given.
func (r *reader) ownBytes() []byte {
	b := r.bytes()
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// The timestamp extension of msgpack: type -1, seconds and nanoseconds. We
// write its longest form, which holds every time.Time.
const timestampExt = 0xff

func appendTimestamp(dst []byte, t time.Time) []byte {
	dst = append(dst, mpExt8, 12, timestampExt)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
	return binary.BigEndian.AppendUint64(dst, uint64(t.Unix()))
}

func (r *reader) timestamp() time.Time {
	code := r.code()
	if code == mpExt8 {
		r.bad = r.be(1) != 12 || r.bad
	}
	r.bad = r.code() != timestampExt || r.bad
	var sec, nsec uint64
	switch code {
	case mpFixExt4:
		sec = r.be(4)
	case mpFixExt8:
		v := r.be(8)
		sec, nsec = v&(1<<34-1), v>>34
	case mpExt8:
		nsec, sec = r.be(4), r.be(8)
	default:
		r.bad = true
	}
	r.bad = r.bad || nsec >= 1e9
	return time.Unix(int64(sec), int64(nsec)).UTC()
}
