package codec

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

type formInner struct {
	N int32
	T time.Time
}

type formOuter struct {
	Name  string `msgpack:"name"`
	Inner []formInner
	ByID  map[uint16]*formInner
	Left  string `msgpack:"-"`
	formEmbedded
}

type formEmbedded struct{ Extra [4]byte }

// formTree holds itself.
type formTree struct{ Children []formTree }

func TestFormsAreDescribed(t *testing.T) {
	for want, f := range map[string]*Form{
		`{"kind":"struct","fields":{"ByID":{"kind":"map","key":{"kind":"uint16"},"elem":{"kind":"pointer","elem":{"kind":"struct","fields":{"N":{"kind":"int32"},"T":{"kind":"time"}}}}},"Extra":{"kind":"bytes","len":4},"Inner":{"kind":"list","elem":{"kind":"struct","fields":{"N":{"kind":"int32"},"T":{"kind":"time"}}}},"name":{"kind":"string"}}}`: FormOf[formOuter](),
		`{"kind":"struct","fields":{"Children":{"kind":"list","elem":{"kind":"open"}}}}`: FormOf[formTree](),
		`{"kind":"int64"}`: FormOf[int](),
	} {
		if got, _ := json.Marshal(f); string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestWhatGoesIntoWhat(t *testing.T) {
	type n[T any] struct{ N T }
	for _, c := range []struct {
		from, to *Form
		want     string
	}{
		{FormOf[n[int64]](), FormOf[n[int64]](), ""},
		{FormOf[n[int32]](), FormOf[n[int]](), ""},
		{FormOf[n[uint32]](), FormOf[n[int64]](), ""},
		{FormOf[n[float32]](), FormOf[n[float64]](), ""},
		{FormOf[n[int64]](), FormOf[n[*int64]](), ""},
		{FormOf[n[int64]](), FormOf[struct{ M string }](), ""},
		{FormOf[formTree](), FormOf[formTree](), ""},
		{FormOf[n[int64]](), FormOf[n[int8]](), "N was int64 and is int8"},
		{FormOf[n[int64]](), FormOf[n[uint64]](), "N was int64 and is uint64"},
		{FormOf[n[uint64]](), FormOf[n[int64]](), "N was uint64 and is int64"},
		{FormOf[n[int64]](), FormOf[n[float64]](), "N was int64 and is float64"},
		{FormOf[n[int64]](), FormOf[n[string]](), "N was int64 and is string"},
		{FormOf[n[*int64]](), FormOf[n[int64]](), "N was *int64 and is int64"},
		{FormOf[n[[]int]](), FormOf[n[[]int8]](), "N[] was int64 and is int8"},
		{FormOf[n[[2]int]](), FormOf[n[[3]int]](), "N was array of 2 and is array of 3"},
		{FormOf[n[map[string]n[int]]](), FormOf[n[map[string]n[bool]]](), "N[].N was int64 and is bool"},
		{FormOf[n[map[int]bool]](), FormOf[n[map[int8]bool]](), "N[key] was int64 and is int8"},
		{FormOf[n[time.Time]](), FormOf[n[string]](), "N was time and is string"},
	} {
		if got := c.from.Into(c.to); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestFormsThatGoIntoEachOtherAreDecoded: what is called compatible is.
func TestFormsThatGoIntoEachOtherAreDecoded(t *testing.T) {
	type old struct {
		A int8
		B uint32
		C float32
		D []int16
		E string
		F int64
	}
	type now struct {
		A int64
		B int64
		C float64
		D []int
		F *int64
		G bool
	}
	if why := FormOf[old]().Into(FormOf[now]()); why != "" {
		t.Fatal(why)
	}
	b, err := For[old]().Append(nil, old{-5, 1 << 31, 0.5, []int16{-300}, "gone", 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	v, err := For[now]().Decode(b)
	if err != nil || v.A != -5 || v.B != 1<<31 || v.C != 0.5 || v.D[0] != -300 || *v.F != 1<<40 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestBytesOfAnotherTypeAreNoDamage: who asks can tell.
func TestBytesOfAnotherTypeAreNoDamage(t *testing.T) {
	b, err := For[struct{ N int }]().Append(nil, struct{ N int }{7})
	if err != nil {
		t.Fatal(err)
	}
	other := For[struct{ N string }]()
	if _, err := other.Decode(b); !errors.Is(err, ErrMismatch) || !errors.Is(err, ErrCorrupt) || strings.Contains(err.Error(), "corrupt") {
		t.Errorf("another type: %v", err)
	}
	if _, err := other.Decode(b[:len(b)-1]); errors.Is(err, ErrMismatch) || !errors.Is(err, ErrCorrupt) {
		t.Errorf("damage: %v", err)
	}
}
