package codec

import (
	"encoding/binary"
	"math"
)

// The msgpack formats that are written and read by hand.
// Source: https://github.com/msgpack/msgpack/blob/master/spec.md
const (
	mpFixMap   = 0x80
	mpFixArray = 0x90
	mpFixStr   = 0xa0
	mpNil      = 0xc0
	mpFalse    = 0xc2
	mpTrue     = 0xc3
	mpBin8     = 0xc4
	mpBin16    = 0xc5
	mpBin32    = 0xc6
	mpExt8     = 0xc7
	mpExt32    = 0xc9
	mpFloat32  = 0xca
	mpFloat64  = 0xcb
	mpUint8    = 0xcc
	mpUint16   = 0xcd
	mpUint32   = 0xce
	mpUint64   = 0xcf
	mpInt8     = 0xd0
	mpInt16    = 0xd1
	mpInt32    = 0xd2
	mpInt64    = 0xd3
	mpFixExt1  = 0xd4
	mpFixExt4  = 0xd6
	mpFixExt8  = 0xd7
	mpFixExt16 = 0xd8
	mpStr8     = 0xd9
	mpStr16    = 0xda
	mpStr32    = 0xdb
	mpArray16  = 0xdc
	mpArray32  = 0xdd
	mpMap16    = 0xde
	mpMap32    = 0xdf
	mpNegFix   = 0xe0
)

func appendBinHead(dst []byte, n int) []byte {
	switch {
	case n < 1<<8:
		return append(dst, mpBin8, byte(n))
	case n < 1<<16:
		return append(dst, mpBin16, byte(n>>8), byte(n))
	default:
		return append(dst, mpBin32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

// appendBin writes nil as nil: an absent key is not an empty one.
func appendBin(dst, b []byte) []byte {
	if b == nil {
		return append(dst, mpNil)
	}
	return append(appendBinHead(dst, len(b)), b...)
}

func appendStr(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, mpFixStr|byte(n))
	case n < 1<<8:
		dst = append(dst, mpStr8, byte(n))
	case n < 1<<16:
		dst = append(dst, mpStr16, byte(n>>8), byte(n))
	default:
		dst = append(dst, mpStr32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, s...)
}

func appendArrayHead(dst []byte, n int) []byte {
	switch {
	case n < 16:
		return append(dst, mpFixArray|byte(n))
	case n < 1<<16:
		return append(dst, mpArray16, byte(n>>8), byte(n))
	default:
		return append(dst, mpArray32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

func appendUint(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(dst, byte(v))
	case v < 1<<8:
		return append(dst, mpUint8, byte(v))
	case v < 1<<16:
		return append(dst, mpUint16, byte(v>>8), byte(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, mpUint32), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(dst, mpUint64), v)
	}
}

func appendInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUint(dst, uint64(v))
	case v >= -32:
		return append(dst, byte(v))
	case v >= math.MinInt8:
		return append(dst, mpInt8, byte(v))
	case v >= math.MinInt16:
		return append(dst, mpInt16, byte(v>>8), byte(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, mpInt32), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(dst, mpInt64), uint64(v))
	}
}

// appendTime has one width, so that it costs one store: nil, or an int64.
func appendTime(dst []byte, ms int64) []byte {
	if ms == NoTime {
		return append(dst, mpNil)
	}
	return binary.BigEndian.AppendUint64(append(dst, mpInt64), uint64(ms))
}

// reader takes msgpack values off b. The first value that does not fit sets
// bad, and everything read after that is zero: callers check once at the end.
type reader struct {
	b   []byte
	pos int
	bad bool
}

func (r *reader) left() int { return len(r.b) - r.pos }

// take returns the next n bytes, or nil.
func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > r.left() {
		r.bad = true
		return nil
	}
	r.pos += n
	return r.b[r.pos-n : r.pos : r.pos]
}

func (r *reader) code() byte {
	if r.bad || r.pos >= len(r.b) {
		r.bad = true
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// be reads a big-endian number of n bytes.
func (r *reader) be(n int) uint64 {
	var v uint64
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// integer reads an integer of any width. It returns its bits and whether it is
// below zero.
func (r *reader) integer() (bits uint64, negative bool) {
	switch c := r.code(); {
	case c < mpFixMap:
		return uint64(c), false
	case c >= mpNegFix:
		return uint64(int64(int8(c))), true
	case c >= mpUint8 && c <= mpUint64:
		return r.be(1 << (c - mpUint8)), false
	case c >= mpInt8 && c <= mpInt64:
		width := 1 << (c - mpInt8)
		shift := 64 - 8*width
		v := int64(r.be(width)<<shift) >> shift
		return uint64(v), v < 0
	}
	r.bad = true
	return 0, false
}

func (r *reader) uint() uint64 {
	v, negative := r.integer()
	if negative {
		r.bad = true
		return 0
	}
	return v
}

func (r *reader) int() int64 {
	v, negative := r.integer()
	if !negative && v > math.MaxInt64 {
		r.bad = true
		return 0
	}
	return int64(v)
}

// count reads a number that must fit an int32, such as a length.
func (r *reader) count() int {
	v := r.uint()
	if v > math.MaxInt32 {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) time() int64 {
	if r.pos < len(r.b) && r.b[r.pos] == mpNil {
		r.pos++
		return NoTime
	}
	return r.int()
}

// bytes reads a bin; nil comes back as nil, an empty one as empty.
func (r *reader) bytes() []byte {
	switch r.code() {
	case mpBin8:
		return r.take(int(r.be(1)))
	case mpBin16:
		return r.take(int(r.be(2)))
	case mpBin32:
		return r.take(int(r.be(4)))
	case mpNil:
		return nil
	}
	r.bad = true
	return nil
}

// str reads the bytes of a str.
func (r *reader) str() []byte {
	switch c := r.code(); {
	case c&0xe0 == mpFixStr:
		return r.take(int(c & 0x1f))
	case c == mpStr8:
		return r.take(int(r.be(1)))
	case c == mpStr16:
		return r.take(int(r.be(2)))
	case c == mpStr32:
		return r.take(int(r.be(4)))
	}
	r.bad = true
	return nil
}

// array reads the head of an array whose items take at least width bytes each.
// A length that cannot fit into what is left is refused here, before anybody
// allocates by it.
func (r *reader) array(width int) int {
	n := 0
	switch c := r.code(); {
	case c&0xf0 == mpFixArray:
		n = int(c & 0x0f)
	case c == mpArray16:
		n = int(r.be(2))
	case c == mpArray32:
		n = int(r.be(4))
	default:
		r.bad = true
	}
	if n > r.left()/width {
		r.bad = true
		return 0
	}
	return n
}
