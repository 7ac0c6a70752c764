package codec

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

func hashOf[K comparable](t testing.TB, k K) uint64 {
	t.Helper()
	f, err := Hasher[K]()
	if err != nil {
		t.Fatal(err)
	}
	return f(k)
}

type pair struct {
	Name string
	ID   int32
	On   bool
}

// These values are stored: key groups and partitions follow from them. A
// change here breaks every existing directory.
func TestGoldenHashes(t *testing.T) {
	for name, c := range map[string]struct{ got, want uint64 }{
		"empty":    {hashOf(t, ""), 0xef46db3751d8e999},
		"a":        {hashOf(t, "a"), 0xd24ec4f1a98c6e5b},
		"userID a": {hashOf(t, userID("a")), 0xd24ec4f1a98c6e5b},
		"bytes a":  {HashBytes([]byte("a")), 0xd24ec4f1a98c6e5b},
		"0":        {hashOf(t, 0), 0xe220a8397b1dcdaf},
		"1":        {hashOf(t, 1), 0x910a2dec89025cc1},
		"int8 1":   {hashOf(t, int8(1)), 0x910a2dec89025cc1},
		"uint64 1": {hashOf(t, uint64(1)), 0x910a2dec89025cc1},
		"-1":       {hashOf(t, -1), 0xe4d971771b652c20},
		"int16 -1": {hashOf(t, int16(-1)), 0xe4d971771b652c20},
		"true":     {hashOf(t, true), 0x910a2dec89025cc1},
		"1.5":      {hashOf(t, 1.5), goldenFloat},
		"float32":  {hashOf(t, float32(1.5)), goldenFloat},
		"pair":     {hashOf(t, pair{"a", 1, true}), goldenPair},
		"other pair": {hashOf(t, struct {
			X string
			Y int64
			Z uint8
		}{"a", 1, 1}), goldenPair},
		"[2]int":  {hashOf(t, [2]int{1, 2}), goldenInts},
		"[4]byte": {hashOf(t, [4]byte{1, 2, 3, 4}), goldenBytes},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#x, want %#x", name, c.got, c.want)
		}
	}
}

const (
	goldenFloat = 0xd6dab18e1392608a
	goldenPair  = 0x64d4c504dac4427b
	goldenInts  = 0xdf7708f9fcd0ff36
	goldenBytes = 0x4474ccf6720de235
)

func TestEqualFloatsHashEqually(t *testing.T) {
	if hashOf(t, math.Copysign(0, -1)) != hashOf(t, 0.0) {
		t.Error("-0 and 0 differ")
	}
	if hashOf(t, math.Float64frombits(0x7ff8000000000001)) != hashOf(t, math.Float64frombits(0xfff8000000000099)) {
		t.Error("two NaNs differ")
	}
}

func TestKeysThatCannotBeHashed(t *testing.T) {
	_, pointer := Hasher[*int]()
	_, iface := Hasher[any]()
	_, channel := Hasher[chan int]()
	_, when := Hasher[time.Time]()
	_, inside := Hasher[struct{ P *int }]()
	_, ptr := Hasher[unsafe.Pointer]()
	_, huge := Hasher[[5000]int]()
	_, hidden := KeyCodec[struct{ a int }]()
	for i, err := range []error{pointer, iface, channel, when, inside, ptr, huge, hidden} {
		if !errors.Is(err, ErrType) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func keyRoundTrip[K comparable](t *rapid.T, k K) {
	c, err := KeyCodec[K]()
	if err != nil {
		t.Fatal(err)
	}
	f, _ := Hasher[K]()
	b, err := c.Append(nil, k)
	if err != nil {
		t.Fatal(err)
	}
	back, err := c.Decode(b)
	if err != nil || !reflect.DeepEqual(back, k) || f(back) != f(k) {
		t.Fatalf("%T %v came back as %v, %v", k, k, back, err)
	}
}

func TestKeysRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, n := rapid.String().Draw(t, "s"), rapid.Int32().Draw(t, "n")
		keyRoundTrip(t, s)
		keyRoundTrip(t, userID(s))
		keyRoundTrip(t, n)
		keyRoundTrip(t, level(n))
		keyRoundTrip(t, n > 0)
		keyRoundTrip(t, pair{s, n, n > 5})
		keyRoundTrip(t, [2]string{s, "x"})
		keyRoundTrip(t, [3]byte{byte(n)})
	})
	c, _ := KeyCodec[userID]()
	if b, _ := c.Append(nil, "de"); string(b) != "de" {
		t.Errorf("the key de is stored as %q", b)
	}
}

// Hashes must spread: 128 groups of 64,000 sequential keys stay within 20 % of
// their mean.
func TestHashesSpread(t *testing.T) {
	for name, f := range map[string]func(int) uint64{
		"ints":  func(i int) uint64 { return HashUint(uint64(i)) },
		"pairs": func(i int) uint64 { return hashOf(t, pair{"x", int32(i), false}) },
	} {
		var groups [128]int
		for i := range 64_000 {
			groups[f(i)%128]++
		}
		for g, n := range groups {
			if n < 400 || n > 600 {
				t.Errorf("%s: group %d has %d keys of 500", name, g, n)
			}
		}
	}
}

func TestHashingDoesNotAllocate(t *testing.T) {
	f, _ := Hasher[pair]()
	g, _ := Hasher[userID]()
	k := pair{"abc", 5, true}
	if n := testing.AllocsPerRun(100, func() { f(k); g("user-123") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchHash[K comparable](b *testing.B, k K) {
	f, _ := Hasher[K]()
	var sum uint64
	for b.Loop() {
		for range 1000 {
			sum += f(k)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/key")
	_ = sum
}

func BenchmarkHash(b *testing.B) {
	b.Run("string", func(b *testing.B) { benchHash(b, "user-123") })
	b.Run("named", func(b *testing.B) { benchHash(b, userID("user-123")) })
	b.Run("int", func(b *testing.B) { benchHash(b, 12345) })
	b.Run("pair", func(b *testing.B) { benchHash(b, pair{"user-123", 5, true}) })
}

func TestMayDifferFromItself(t *testing.T) {
	type named float32
	type deep struct {
		N int
		A [2]struct{ F named }
	}
	for _, c := range []struct {
		what      string
		got, want bool
	}{
		{"string", MayDifferFromItself[string](), false}, {"int", MayDifferFromItself[int](), false},
		{"bytes", MayDifferFromItself[[8]byte](), false}, {"no floats", MayDifferFromItself[struct{ A, B string }](), false},
		{"none", MayDifferFromItself[[0]float64](), false}, {"float", MayDifferFromItself[float64](), true},
		{"named", MayDifferFromItself[named](), true}, {"deep inside", MayDifferFromItself[deep](), true},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", c.what, c.got)
		}
	}
}
