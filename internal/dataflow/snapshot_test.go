package dataflow

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/keygroup"
)

// TestWhatIsEncodedInPassingIsCut: a batch may change all of a large group
// before Encode comes to it.
func TestWhatIsEncodedInPassingIsCut(t *testing.T) {
	const keys = 5000
	form := bytesForm(t)
	table := NewTable(1, keygroup.Range{End: 1}, form)
	want := map[string]string{}
	change := func(round int) {
		for i := range keys {
			k := fmt.Sprint("key ", i)
			v := fmt.Sprint(round, strings.Repeat("x", 1000))
			*table.Upsert(form.Hash(k), k) = []byte(v)
			want[k] = v
		}
	}
	change(1)
	table.Freeze()
	frozen := maps.Clone(want)
	change(2)
	var segments [][]byte
	for more, turns := true, 0; more; turns++ {
		handed := 0
		var err error
		more, err = table.Encode(64<<10, func(_ int, s []byte) {
			segments = append(segments, slices.Clone(s))
			handed += len(s)
		})
		if err != nil {
			t.Fatal(err)
		}
		if handed > 64<<10+segmentMax {
			t.Fatalf("a budget of %d bytes and %d were handed out", 64<<10, handed)
		}
	}
	for _, s := range segments {
		if len(s) > segmentMax {
			t.Errorf("a segment of %d bytes, at most %d are meant to be", len(s), segmentMax)
		}
	}
	if got := apply(t, map[string]string{}, segments...); !maps.Equal(got, frozen) {
		t.Errorf("%d keys were encoded as they are not", len(got))
	}
}

// TestAllThatIsLeftIsEncoded: with any budget, also where some of it was encoded in
// passing; and the memory of a segment is used again.
func TestAllThatIsLeftIsEncoded(t *testing.T) {
	form := bytesForm(t)
	table := NewTable(1, keygroup.Range{End: 1}, form)
	put := func(k, v string) { *table.Upsert(form.Hash(k), k) = []byte(v) }
	for round := range 3 {
		for i := range 100 {
			put(fmt.Sprint("key ", i), fmt.Sprint(round))
		}
		table.Freeze()
		put("key 7", "touched")
		entries := 0
		more, err := table.Encode(math.MaxInt, func(_ int, s []byte) {
			_ = EachEntry(s, func(Entry) error { entries++; return nil })
		})
		if more || err != nil || entries != 100 {
			t.Fatalf("round %d: %d entries, more %v, %v", round, entries, more, err)
		}
		if round > 0 && cap(table.spare) < 500 {
			t.Errorf("round %d: a buffer of %d bytes is kept", round, cap(table.spare))
		}
	}
}

// TestAnEntryIsNeverCut: one that is larger than a segment is one of its own.
func TestAnEntryIsNeverCut(t *testing.T) {
	form := bytesForm(t)
	table := NewTable(1, keygroup.Range{End: 1}, form)
	for i := range 3 {
		k := fmt.Sprint("key ", i)
		*table.Upsert(form.Hash(k), k) = make([]byte, 3*segmentMax)
	}
	table.Freeze()
	for i := range 3 {
		k := fmt.Sprint("key ", i)
		*table.Upsert(form.Hash(k), k) = nil
	}
	n := 0
	for more := true; more; {
		var err error
		if more, err = table.Encode(1, func(_ int, s []byte) {
			n++
			if e, rest, err := ReadEntry(s); err != nil || len(rest) > 0 || len(e.Value) != 3*segmentMax {
				t.Errorf("a segment of %d bytes: %d bytes behind its first entry, %v", len(s), len(rest), err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n != 3 {
		t.Errorf("%d segments", n)
	}
}

// TestAKeyThatIsRefusedLeavesNothing: the table is as if it had never come.
func TestAKeyThatIsRefusedLeavesNothing(t *testing.T) {
	tooLong := errors.New("too long")
	form := bytesForm(t)
	form.Own = func(k string) (string, error) {
		if len(k) > 10 {
			return "", tooLong
		}
		return strings.Clone(k), nil
	}
	table := NewTable(testGroups, keygroup.Range{End: testGroups}, form)
	for range 100 {
		k := strings.Repeat("k", 11)
		err := Protect(func() error { table.Upsert(form.Hash(k), k); return nil })
		if !errors.Is(err, tooLong) {
			t.Fatalf("err = %v", err)
		}
	}
	if _, ok := table.Find(form.Hash("short"), "short"); ok || table.Keys() != 0 || table.Places() != 0 {
		t.Errorf("%d keys, %d places", table.Keys(), table.Places())
	}
	table.Upsert(form.Hash("short"), "short")
	if table.Keys() != 1 {
		t.Errorf("%d keys", table.Keys())
	}
}

func TestKeysInErrorsAreShort(t *testing.T) {
	for key, want := range map[any]string{
		7:                          "7",
		"short":                    `short`,
		strings.Repeat("ä", 1<<20): strings.Repeat("ä", 50) + "… (2097152 bytes)",
	} {
		if got := KeyText(key); got != want {
			t.Errorf("%.200q, want %q", got, want)
		}
	}
	form := bytesForm(t)
	form.MaxBytes = 10
	table := NewTable(1, keygroup.Range{End: 1}, form)
	k := strings.Repeat("k", 1000)
	*table.Upsert(form.Hash(k), k) = make([]byte, 11)
	table.Freeze()
	_, err := table.Encode(1, func(int, []byte) {})
	if !errors.Is(err, ErrStateLimit) || len(err.Error()) > 300 || !strings.Contains(err.Error(), "kkk… (1000 bytes)") {
		t.Errorf("err = %v", err)
	}
}
