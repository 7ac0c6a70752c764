package codec

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// roundTrip requires that what comes back is deeply equal, nil and empty apart.
func roundTrip[T any](t *testing.T, values ...T) {
	t.Helper()
	c := For[T]()
	for _, want := range values {
		b, err := c.Append([]byte("x"), want)
		if err != nil {
			t.Errorf("%T %+v: %v", want, want, err)
			continue
		}
		got, err := c.Decode(b[1:])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%T %#v came back as %#v, %v", want, want, got, err)
		}
		for n := range len(b) - 1 {
			if _, err := c.Decode(b[1 : 1+n]); err == nil {
				t.Errorf("%T %#v cut to %d of %d bytes decodes", want, want, n, len(b)-1)
			}
		}
		if _, err := c.Decode(append(b[1:], 0xc0)); err == nil {
			t.Errorf("%T %#v with a trailing byte decodes", want, want)
		}
	}
}

type (
	userID  string
	level   int8
	blob    []byte
	ratio   float32
	flagged bool
	base    struct{ ID int64 }
	Named   struct{ Label string }
	tree    struct {
		Value       int
		Left, Right *tree
	}
	everything struct {
		base
		Named
		Text    string
		Bytes   []byte
		Ints    []int
		Strings []string
		Map     map[string]int
		ByID    map[int]Named
		Texts   map[string]string
		When    time.Time
		Late    *time.Time
		Ptr     *int
		Array   [3]int16
		Hash    [4]byte
		Big     *big.Int
		Nested  []map[string][]Named
		Took    time.Duration
		User    userID
		Skipped int `msgpack:"-"`
		Small   uint8
		Ratio   float32
	}
)

func someTime() time.Time { return time.Unix(1700000000, 123456789).UTC() }

func TestValuesRoundTrip(t *testing.T) {
	roundTrip(t, "", "a", strings.Repeat("é", 40), strings.Repeat("x", 300), strings.Repeat("x", 70_000))
	roundTrip(t, userID(""), userID("u"))
	roundTrip(t, []byte(nil), []byte{}, []byte{1, 2})
	roundTrip(t, blob(nil), blob{}, blob{1})
	roundTrip(t, true, false)
	roundTrip(t, flagged(true))
	roundTrip(t, 0, 1, -1, -32, -33, 127, 128, 255, 256, 65535, 65536, math.MaxInt32+1, math.MinInt32-1, math.MinInt, math.MaxInt)
	roundTrip(t, int8(-128), 127)
	roundTrip(t, level(-128), 127)
	roundTrip(t, int16(-32768), 32767)
	roundTrip(t, int32(math.MinInt32), math.MaxInt32)
	roundTrip(t, int64(math.MinInt64), math.MaxInt64)
	roundTrip(t, uint(math.MaxUint))
	roundTrip(t, uint8(255))
	roundTrip(t, uint16(65535))
	roundTrip(t, uint32(math.MaxUint32))
	roundTrip(t, uint64(math.MaxUint64), 1<<63)
	roundTrip(t, float32(1.5), float32(math.Inf(1)))
	roundTrip(t, ratio(-0.25))
	roundTrip(t, 1.5, math.MaxFloat64, math.Inf(-1))
	roundTrip(t, time.Second)
	roundTrip(t, time.Time{}, someTime(), time.Unix(-1, 1).UTC(), time.Unix(1<<35, 5).UTC(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	roundTrip(t, []int(nil), []int{}, []int{1, -2})
	roundTrip(t, []string(nil), []string{}, []string{"", "a"})
	roundTrip(t, map[string]int(nil), map[string]int{}, map[string]int{"a": 1, "b": 2})
	roundTrip(t, map[string]string(nil), map[string]string{}, map[string]string{"a": "1"})
	roundTrip(t, (*int)(nil), new(int))
	roundTrip(t, []time.Time{{}, someTime()})
	roundTrip(t, map[string]time.Time{"a": someTime()})
	roundTrip(t, map[time.Time]int{someTime(): 1})
	roundTrip(t, tree{1, &tree{2, nil, nil}, &tree{3, &tree{4, nil, nil}, nil}})
	roundTrip(t, struct{}{})
	roundTrip(t, [2]string{"a", ""})
	one, when := 1, someTime()
	roundTrip(t, everything{}, everything{
		base: base{7}, Named: Named{"n"}, Text: "t", Bytes: []byte{}, Ints: []int{}, Strings: []string{"s"},
		Map: map[string]int{"x": 1}, ByID: map[int]Named{1: {"a"}, 2: {"b"}}, Texts: map[string]string{},
		When: when, Late: &when, Ptr: &one, Array: [3]int16{1, 2, -3}, Hash: [4]byte{9}, Big: big.NewInt(1 << 40),
		Nested: []map[string][]Named{nil, {}, {"k": nil, "l": {}, "m": {{"z"}}}}, Took: time.Minute, User: "u", Small: 200, Ratio: 0.1,
	})
}

func TestTimesKeepTheirInstantInUTC(t *testing.T) {
	zone := time.FixedZone("here", 7200)
	for _, want := range []time.Time{someTime().In(zone), time.Now(), time.Date(1, 1, 1, 0, 0, 0, 1, zone)} {
		alone, nested := For[time.Time](), For[struct{ At []time.Time }]()
		b, _ := alone.Append(nil, want)
		got, err := alone.Decode(b)
		if err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
		b, _ = nested.Append(nil, struct{ At []time.Time }{[]time.Time{want}})
		both, err := nested.Decode(b)
		if err != nil || !both.At[0].Equal(want) || both.At[0].Location() != time.UTC {
			t.Errorf("%v inside a struct came back as %v, %v", want, both.At, err)
		}
	}
}

func TestEqualValuesHaveEqualBytes(t *testing.T) {
	type inner struct{ M map[int]map[string]bool }
	c := For[inner]()
	var first []byte
	for range 50 {
		v := inner{map[int]map[string]bool{}}
		for i := range 20 {
			v.M[i*7919%20] = map[string]bool{"a": true, "b": i%2 == 0, "c": false}
		}
		b, err := c.Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Fatal("two encodings of one value differ")
		}
	}
}

func TestPrimitivesAreWhatMsgpackReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		againstLibrary(t, rapid.Int64().Draw(t, "int64"))
		againstLibrary(t, rapid.Int8().Draw(t, "int8"))
		againstLibrary(t, rapid.Uint64().Draw(t, "uint64"))
		againstLibrary(t, rapid.Uint16().Draw(t, "uint16"))
		againstLibrary(t, rapid.String().Draw(t, "string"))
		againstLibrary(t, rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		againstLibrary(t, rapid.Float64().Draw(t, "float64"))
		againstLibrary(t, rapid.Float32().Draw(t, "float32"))
		againstLibrary(t, rapid.Bool().Draw(t, "bool"))
		sec := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "sec")
		againstLibrary(t, time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")).UTC())
	})
}

func againstLibrary[T any](t *rapid.T, v T) {
	c := For[T]()
	ours, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	var theirs T
	if err := msgpack.Unmarshal(ours, &theirs); err != nil || !sameValue(theirs, v) {
		t.Fatalf("the library reads %T %v as %v, %v", v, v, theirs, err)
	}
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := c.Decode(b); err != nil || !sameValue(back, v) {
		t.Fatalf("of the library's %T %v we read %v, %v", v, v, back, err)
	}
}

func sameValue(a, b any) bool {
	if at, ok := a.(time.Time); ok {
		return at.Equal(b.(time.Time))
	}
	return reflect.DeepEqual(a, b)
}

func TestTypesThatWouldLoseSomethingAreRefused(t *testing.T) {
	type hidden struct {
		Shown int
		count int
	}
	type deep struct{ A []map[string]*hidden }
	type tagged struct {
		N     int
		cache map[string]any `msgpack:"-"`
	}
	_, _ = hidden{}.count, tagged{}.cache
	for name, err := range map[string]error{
		"hidden.count":              CheckType[hidden](),
		"deep.A[][][].count":        CheckType[deep](),
		"interface":                 CheckType[any](),
		"map[string]interface {}[]": CheckType[map[string]any](),
		"chan int":                  CheckType[[]chan int](),
		"func()":                    CheckType[struct{ F func() }](),
		"complex128":                CheckType[complex128](),
		"error":                     CheckType[struct{ Err error }](),
	} {
		if !errors.Is(err, ErrType) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, err := range []error{CheckType[tagged](), CheckType[tree](), CheckType[everything](), CheckType[big.Int](), CheckType[msgpack.RawMessage]()} {
		if err != nil {
			t.Error(err)
		}
	}
	c := For[hidden]()
	if b, err := c.Append([]byte("x"), hidden{}); !errors.Is(err, ErrType) || string(b) != "x" {
		t.Errorf("Append: %q, %v", b, err)
	}
	if _, err := c.Decode([]byte{0xc0}); !errors.Is(err, ErrType) {
		t.Errorf("Decode: %v", err)
	}
}

func TestValueBombsAreRefused(t *testing.T) {
	type row struct {
		Cells []string
		M     map[string][]int
		Wide  [1000]int64
	}
	bombs := map[string][]byte{
		"array32":      {0xdd, 0xff, 0xff, 0xff, 0xff},
		"map32":        {0xdf, 0x7f, 0xff, 0xff, 0xff, 0xa1, 'a'},
		"bin32":        {0xc6, 0xff, 0xff, 0xff, 0xff},
		"str32":        {0xdb, 0xff, 0xff, 0xff, 0xff},
		"ext32":        {0xc9, 0xff, 0xff, 0xff, 0xff, 1},
		"deep":         bytes.Repeat([]byte{0x91}, 1<<20),
		"many structs": append([]byte{0xdd, 0, 0x0f, 0, 0}, bytes.Repeat([]byte{0x80}, 0x0f0000)...),
		"nested":       {0x81, 0xa5, 'C', 'e', 'l', 'l', 's', 0xdd, 0x10, 0, 0, 0},
		"never used":   {0xc1},
	}
	for name, b := range bombs {
		spent := allocatedBy(func() {
			if _, err := For[[]row]().Decode(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrLimit) {
				t.Errorf("%s as rows: %v", name, err)
			}
			if _, err := For[map[string]row]().Decode(b); err == nil {
				t.Errorf("%s as map: no error", name)
			}
		})
		if spent > 32<<20 {
			t.Errorf("%s: %d bytes were allocated", name, spent)
		}
	}
}

func TestOutOfRangeIsCorrupt(t *testing.T) {
	b, _ := For[int]().Append(nil, 300)
	if _, err := For[int8]().Decode(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("300 as int8: %v", err)
	}
	b, _ = For[int]().Append(nil, -1)
	if _, err := For[uint]().Decode(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("-1 as uint: %v", err)
	}
	b, _ = For[uint64]().Append(nil, math.MaxUint64)
	if _, err := For[int64]().Decode(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("2^64-1 as int64: %v", err)
	}
}

func TestFieldsComeAndGo(t *testing.T) {
	type v1 struct{ A, B int }
	type v2 struct {
		B int
		C []string
	}
	b, err := For[v1]().Append(nil, v1{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := For[v2]().Decode(b); err != nil || got.B != 2 || got.C != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOtherCodecs(t *testing.T) {
	b, err := JSON[Named]().Append([]byte("x"), Named{"n"})
	if err != nil || string(b) != `x{"Label":"n"}` {
		t.Errorf("%s, %v", b, err)
	}
	if v, err := JSON[Named]().Decode(b[1:]); err != nil || v.Label != "n" {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := JSON[Named]().Decode([]byte(`{"Label":`)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("half a JSON: %v", err)
	}
	if b, err := JSON[float64]().Append([]byte("x"), math.NaN()); err == nil || string(b) != "x" {
		t.Errorf("NaN: %s, %v", b, err)
	}
	in := []byte("abc")
	raw, _ := Raw().Decode(in)
	in[0] = 'X'
	if string(raw) != "abc" {
		t.Error("Raw kept what it was given")
	}
	if s, _ := String().Decode([]byte("abc")); s != "abc" {
		t.Errorf("String gave %q", s)
	}
}

func FuzzDecodeValue(f *testing.F) {
	seed, _ := For[everything]().Append(nil, everything{Ints: []int{1}, When: someTime()})
	f.Add(seed)
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x92, 0x81, 0xa1, 'a', 0x91, 0xc0, 0xc1})
	f.Fuzz(func(t *testing.T, b []byte) {
		spent := allocatedBy(func() {
			decodeTwice[everything](t, b)
			decodeTwice[[]map[string][]everything](t, b)
			decodeTwice[tree](t, b)
			decodeTwice[string](t, b)
			decodeTwice[time.Time](t, b)
			decodeTwice[int16](t, b)
		})
		if budget := uint64(DecodedBytes + 4096*len(b) + 1<<20); spent > budget {
			t.Fatalf("%d bytes were allocated for %d bytes of input", spent, len(b))
		}
	})
}

// decodeTwice requires that what decodes can be encoded, and that the second
// encoding is the same as the first: the bytes are a fixed point.
func decodeTwice[T any](t *testing.T, b []byte) {
	c := For[T]()
	v, err := c.Decode(b)
	if err != nil {
		return
	}
	once, err := c.Append(nil, v)
	if err != nil {
		return
	}
	again, err := c.Decode(once)
	if err != nil {
		t.Fatalf("%T: what was encoded does not decode: %v", v, err)
	}
	if twice, err := c.Append(nil, again); err != nil || !bytes.Equal(once, twice) {
		t.Fatalf("%T: %x became %x, %v", v, once, twice, err)
	}
}

func benchCodec[T any](b *testing.B, v T) {
	c := For[T]()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = c.Append(buf[:0], v)
		if _, err := c.Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValue(b *testing.B) {
	b.Run("int", func(b *testing.B) { benchCodec(b, 123456) })
	b.Run("string", func(b *testing.B) { benchCodec(b, "user-123") })
	b.Run("struct", func(b *testing.B) {
		benchCodec(b, struct {
			A, B int64
			C    string
		}{1, 2, "x"})
	})
}

func TestDecodingANumberAllocatesNothing(t *testing.T) {
	ints, floats := For[int64](), For[float64]()
	i, _ := ints.Append(nil, 1<<40)
	f, _ := floats.Append(nil, 0.5)
	n := testing.AllocsPerRun(100, func() {
		_, _ = ints.Decode(i)
		_, _ = floats.Decode(f)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
