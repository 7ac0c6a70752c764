package codec

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// marshaled only marshals; appended also appends.
type (
	marshaled struct{ b []byte }
	appended  struct{ marshaled }
)

var errOdd = errors.New("an odd length")

func (m *marshaled) MarshalBinary() ([]byte, error) {
	if len(m.b)%2 == 1 {
		return nil, errOdd
	}
	return m.b, nil
}

func (m *marshaled) UnmarshalBinary(b []byte) error {
	if len(b)%2 == 1 {
		return errOdd
	}
	m.b = append([]byte{}, b...)
	return nil
}

func (a *appended) AppendBinary(dst []byte) ([]byte, error) {
	if len(a.b)%2 == 1 {
		return nil, errOdd
	}
	return append(dst, a.b...), nil
}

// TestBinaryFormIsThatOfTheLibrary: what was stored through the library stays
// readable, and the other way round.
func TestBinaryFormIsThatOfTheLibrary(t *testing.T) {
	for _, n := range []int{0, 2, 254, 256, 258, 65534, 65536, 70000} {
		b := bytes.Repeat([]byte{7, byte(n)}, n/2)
		agrees(t, marshaled{b}, func(v marshaled) []byte { return v.b })
		agrees(t, appended{marshaled{b}}, func(v appended) []byte { return v.b })
	}
}

func agrees[T any](t *testing.T, v T, of func(T) []byte) {
	t.Helper()
	own, library := For[T](), newStructured[T]()
	if _, ok := own.(*binaryForm[T]); !ok {
		t.Fatalf("%T is written by %T", v, own)
	}
	prefix := []byte("before")
	a, err := own.Append(prefix, v)
	if err != nil {
		t.Fatal(err)
	}
	b, err := library.Append(prefix, v)
	if err != nil || !bytes.Equal(a, b) {
		t.Fatalf("%T of %d bytes: %.20x, the library writes %.20x (%v)", v, len(of(v)), a, b, err)
	}
	for _, c := range []Codec[T]{own, library} {
		back, err := c.Decode(a[len(prefix):])
		if err != nil || !bytes.Equal(of(back), of(v)) {
			t.Fatalf("%T came back as %d bytes by %T: %v", v, len(of(back)), c, err)
		}
		into := v // what was there does not show through
		if err := DecoderInto(c)(a[len(prefix):], &into); err != nil || !bytes.Equal(of(into), of(v)) {
			t.Fatalf("%T was decoded as %d bytes by %T: %v", v, len(of(into)), c, err)
		}
	}
}

func TestBinaryFormFails(t *testing.T) {
	if dst, err := For[appended]().Append([]byte("x"), appended{marshaled{[]byte("odd")}}); !errors.Is(err, errOdd) || string(dst) != "x" {
		t.Errorf("append: %q, %v", dst, err)
	}
	if dst, err := For[marshaled]().Append([]byte("x"), marshaled{[]byte("odd")}); !errors.Is(err, errOdd) || string(dst) != "x" {
		t.Errorf("marshal: %q, %v", dst, err)
	}
	for name, b := range map[string][]byte{"nothing": {}, "a string": {0xa1, 'x'}, "cut short": {mpBin8, 4, 1, 2}, "too much": {mpBin8, 0, 1},
		"refused": {mpBin8, 1, 1}, "huge": {mpBin32, 0xff, 0xff, 0xff, 0xff}} {
		if _, err := For[appended]().Decode(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if err := DecoderInto(For[appended]())(b, new(appended)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s, in place: %v", name, err)
		}
	}
	if v, err := For[appended]().Decode([]byte{mpNil}); err != nil || v.b != nil {
		t.Errorf("nil: %v, %v", v, err)
	}
	v := appended{marshaled{[]byte("there before")}}
	if err := DecoderInto(For[appended]())([]byte{mpNil}, &v); err != nil || v.b != nil {
		t.Errorf("nil in place of another: %v, %v", v, err)
	}
}

// TestBinaryFormKeepsNothing: boxes are used again, and one value must not show
// through another.
func TestBinaryFormKeepsNothing(t *testing.T) {
	c := For[appended]()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "pairs")
		v := appended{marshaled{bytes.Repeat([]byte{byte(n), 1}, n)}}
		b, err := c.Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := c.Decode(b); err != nil || !bytes.Equal(back.b, v.b) {
			t.Fatalf("%d bytes came back as %d: %v", len(v.b), len(back.b), err)
		}
	})
}

// TestAppendingABinaryFormAllocatesLittle: a marshaled copy of each value would
// be 100 KB, and so much is not needed even where pools forget a part, as they
// do under the race detector.
func TestAppendingABinaryFormAllocatesLittle(t *testing.T) {
	c, dst := For[appended](), make([]byte, 0, 256)
	v := appended{marshaled{make([]byte, 100)}}
	bytes := allocatedBy(func() {
		for range 1000 {
			dst, _ = c.Append(dst[:0], v)
		}
	})
	if bytes > 60_000 {
		t.Errorf("%d bytes were allocated", bytes)
	}
}
