package codec

import "encoding/binary"

// maxDepth is how deeply arrays and maps may nest in one value: 64.
const maxDepth = 64

// walker steps over one msgpack value without building anything. It refuses a
// declared length that exceeds the bytes that are left, which is what makes it
// safe to hand those bytes to a decoder that allocates by declared lengths.
type walker struct {
	b      []byte
	pos    int
	values int
	err    error
}

// checkValue reports whether b is exactly one msgpack value, and of how many
// values it consists.
func checkValue(b []byte) (values int, err error) {
	w := walker{b: b}
	w.value(0)
	if w.err == nil && w.pos != len(b) {
		w.fail("%d bytes follow the value", len(b)-w.pos)
	}
	return w.values, w.err
}

func (w *walker) fail(format string, args ...any) {
	if w.err == nil {
		w.err = corrupt("the value", w.pos, format, args...)
	}
	w.pos = len(w.b)
}

func (w *walker) value(depth int) {
	if depth > maxDepth {
		w.fail("it nests deeper than %d levels", maxDepth)
		return
	}
	for items, _ := w.head(); items > 0 && w.err == nil; items-- {
		w.value(depth + 1)
	}
}

// head steps over everything of a value but its items, and returns how many
// values those are: twice the entries of a map.
func (w *walker) head() (items int, isMap bool) {
	w.values++
	if w.pos >= len(w.b) {
		w.fail("it ends too early")
		return 0, false
	}
	c := w.b[w.pos]
	w.pos++
	switch {
	case c < mpFixMap || c >= mpNegFix:
		return 0, false
	case c < mpFixArray:
		return w.items(2 * int(c&0x0f)), true
	case c < mpFixStr:
		return w.items(int(c & 0x0f)), false
	case c < mpNil:
		w.skip(int(c & 0x1f))
		return 0, false
	}
	return w.longHead(c)
}

func (w *walker) longHead(c byte) (items int, isMap bool) {
	switch c {
	case mpNil, mpFalse, mpTrue:
	case mpBin8, mpBin16, mpBin32:
		w.skip(w.length(1 << (c - mpBin8)))
	case mpStr8, mpStr16, mpStr32:
		w.skip(w.length(1 << (c - mpStr8)))
	case mpExt8, mpExt8 + 1, mpExt32:
		w.skip(1 + w.length(1<<(c-mpExt8)))
	case mpFloat32:
		w.skip(4)
	case mpFloat64:
		w.skip(8)
	case mpUint8, mpUint16, mpUint32, mpUint64:
		w.skip(1 << (c - mpUint8))
	case mpInt8, mpInt16, mpInt32, mpInt64:
		w.skip(1 << (c - mpInt8))
	case mpFixExt1, mpFixExt1 + 1, mpFixExt4, mpFixExt8, mpFixExt16:
		w.skip(1 + 1<<(c-mpFixExt1))
	case mpArray16, mpArray32:
		return w.items(w.length(2 << (c - mpArray16))), false
	case mpMap16, mpMap32:
		return w.items(2 * w.length(2<<(c-mpMap16))), true
	default:
		w.fail("there is no format %#x", c)
	}
	return 0, false
}

func (w *walker) skip(n int) {
	if n > len(w.b)-w.pos {
		w.fail("%d bytes were announced and %d are left", n, len(w.b)-w.pos)
		return
	}
	w.pos += n
}

// items checks a number of items: each takes a byte at least.
func (w *walker) items(n int) int {
	if n > len(w.b)-w.pos {
		w.fail("%d values were announced and %d bytes are left", n, len(w.b)-w.pos)
		return 0
	}
	return n
}

func (w *walker) length(width int) int {
	if width > len(w.b)-w.pos {
		w.fail("it ends too early")
		return 0
	}
	var wide [4]byte
	copy(wide[4-width:], w.b[w.pos:w.pos+width])
	w.pos += width
	return int(binary.BigEndian.Uint32(wide[:]))
}
