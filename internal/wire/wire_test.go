package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

var errTest = errors.New("corrupt")

// What was written is read.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num, signed, flag := rapid.Uint64().Draw(t, "num"), rapid.Int64().Draw(t, "signed"), rapid.Bool().Draw(t, "flag")
		text, data := rapid.String().Draw(t, "text"), rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		var w Writer
		w.Num(num)
		w.Signed(signed)
		w.Flag(flag)
		w.Text(text)
		w.B = append(AppendText(w.B, data), 7)
		r := NewReader(w.B, errTest)
		if n, s, f := r.Num(), r.Signed(), r.Flag(); n != num || s != signed || f != flag {
			t.Errorf("%d, %d, %v", n, s, f)
		}
		if s, b, c := r.Text(), r.Bytes(), r.Byte(); s != text || !bytes.Equal(b, data) || c != 7 {
			t.Errorf("%q, %q, %d", s, b, c)
		}
		if err := r.End(); err != nil {
			t.Error(err)
		}
		for n := range w.B { // one byte is missing, or more
			short := NewReader(w.B[:n], errTest)
			short.Num()
			short.Signed()
			short.Flag()
			short.Text()
			short.Bytes()
			if short.Byte(); !errors.Is(short.Err(), errTest) || short.Len() != 0 {
				t.Errorf("%d of %d bytes: %v", n, len(w.B), short.Err())
			}
		}
	})
}

// The first thing that is wrong is what is told, and from then on there are zeros.
func TestWhatIsWrong(t *testing.T) {
	num := func(v uint64) []byte {
		var w Writer
		w.Num(v)
		return w.B
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		read  func(*Reader) any
		want  string
	}{
		{"nothing left", nil, func(r *Reader) any { return r.Num() }, "corrupt: it ends too early"},
		{"an endless number", bytes.Repeat([]byte{0x80}, 11), func(r *Reader) any { return r.Num() }, "corrupt: it ends too early"},
		{"no signed number", []byte{0x80}, func(r *Reader) any { return r.Signed() }, "corrupt: it ends too early"},
		{"no byte", nil, func(r *Reader) any { return r.Byte() }, "corrupt: it ends too early"},
		{"a high flag", num(2), func(r *Reader) any { return r.Flag() }, "corrupt: 2 is not below 2"},
		{"beyond int64", num(math.MaxInt64 + 1), func(r *Reader) any { return r.Int64() }, "corrupt: 9223372036854775808 is not below 9223372036854775808"},
		{"beyond int", num(math.MaxInt32 + 1), func(r *Reader) any { return r.Int() }, "corrupt: 2147483648 is not below 2147483648"},
		{"more items than bytes", append(num(3), 1, 2, 3, 4, 5), func(r *Reader) any { return r.Count(2) }, "corrupt: 3 items are announced, and 5 bytes are left"},
		{"a text that is cut off", append(num(3), 'a'), func(r *Reader) any { return r.Text() }, "corrupt: 3 items are announced, and 1 bytes are left"},
		{"too many bytes", []byte{1}, func(r *Reader) any { return len(r.Take(2)) }, "corrupt: 2 bytes are announced, and 1 are left"},
		{"something left", []byte{1}, func(r *Reader) any { return r.End() == nil }, "corrupt: 1 bytes follow its end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.bytes, errTest)
			got := c.read(&r)
			r.Fail("and more")
			if zero := fmt.Sprint(got); zero != "0" && zero != "false" && zero != "" {
				t.Errorf("it reads %v", got)
			}
			if r.Err() == nil || r.Err().Error() != c.want || !errors.Is(r.Err(), errTest) || len(r.Rest()) != 0 {
				t.Errorf("%v, and %d bytes are left", r.Err(), r.Len())
			}
		})
	}
}
