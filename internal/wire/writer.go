package wire

import "encoding/binary"

// Writer appends values to B.
type Writer struct{ B []byte }

// Num appends a number.
func (w *Writer) Num(v uint64) { w.B = binary.AppendUvarint(w.B, v) }

// Signed appends a number that may be negative.
func (w *Writer) Signed(v int64) { w.B = binary.AppendVarint(w.B, v) }

// Flag appends a one or a zero.
func (w *Writer) Flag(v bool) {
	if v {
		w.Num(1)
	} else {
		w.Num(0)
	}
}

// Text appends a text with its length in front.
func (w *Writer) Text(s string) { w.B = AppendText(w.B, s) }

// AppendText appends a text with its length in front.
func AppendText[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
