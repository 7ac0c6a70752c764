package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Reader reads what a Writer wrote. After the first thing that is wrong it returns zeros,
// and nothing is left: so whoever reads looks at Err once, at the end, and within loops
// whose length was read. What it is asked to allocate is bounded by the bytes there are.
type Reader struct {
	b       []byte
	corrupt error
	err     error
}

// NewReader returns a reader of bytes. Its errors wrap corrupt.
func NewReader(b []byte, corrupt error) Reader { return Reader{b: b, corrupt: corrupt} }

// Err is what was wrong first; nil: nothing.
func (r *Reader) Err() error { return r.err }

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

// Rest returns the bytes that are left.
func (r *Reader) Rest() []byte { return r.b }

// Fail says what is wrong, unless something was before.
func (r *Reader) Fail(format string, args ...any) {
	r.Abort(fmt.Errorf("%w: "+format, append([]any{r.corrupt}, args...)...))
}

// Abort ends reading with an error of its own, unless something was wrong before.
func (r *Reader) Abort(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// End sees to it that nothing is left, and returns Err.
func (r *Reader) End() error {
	if len(r.b) > 0 {
		r.Fail("%d bytes follow its end", len(r.b))
	}
	return r.err
}

// Num reads a number.
func (r *Reader) Num() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.Fail("it ends too early")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Below reads a number that is below a bound.
func (r *Reader) Below(bound uint64) uint64 {
	v := r.Num()
	if v >= bound && r.err == nil {
		r.Fail("%d is not below %d", v, bound)
		return 0
	}
	return v
}

// Int64 reads a number that fits into an int64.
func (r *Reader) Int64() int64 { return int64(r.Below(math.MaxInt64 + 1)) }

// Int reads a number that fits into 31 bits.
func (r *Reader) Int() int { return int(r.Below(math.MaxInt32 + 1)) }

// Signed reads a number that may be negative.
func (r *Reader) Signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail("it ends too early")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Flag reads a one or a zero.
func (r *Reader) Flag() bool { return r.Below(2) == 1 }

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.Fail("it ends too early")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// Count reads how many items follow, each of at least size bytes: no more than there can
// be.
func (r *Reader) Count(size int) int {
	n := r.Num()
	if n > uint64(len(r.b)/size) {
		r.Fail("%d items are announced, and %d bytes are left", n, len(r.b))
		return 0
	}
	return int(n)
}

// Take reads so many bytes, which stay where they are; nil if there are not as many.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail("%d bytes are announced, and %d are left", n, len(r.b))
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// Bytes reads a text, whose bytes stay where they are.
func (r *Reader) Bytes() []byte { return r.Take(r.Count(1)) }

// Text reads a text.
func (r *Reader) Text() string { return string(r.Bytes()) }
