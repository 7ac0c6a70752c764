package dataflow

import (
	"bytes"
	"errors"
	"hash/maphash"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func segmentGen() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		var s []byte
		for range rapid.IntRange(0, 6).Draw(t, "entries") {
			key := rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 2).Draw(t, "key")
			if rapid.Bool().Draw(t, "deleted") {
				s = AppendDeletion(s, key)
			} else {
				s = AppendEntry(s, key, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value"))
			}
		}
		return s
	})
}

// apply is the meaning of segments, oldest first.
func apply(t interface{ Fatal(...any) }, state map[string]string, segments ...[]byte) map[string]string {
	state = maps.Clone(state)
	for _, s := range segments {
		err := EachEntry(s, func(e Entry) error {
			if e.Deleted {
				delete(state, string(e.Key))
			} else {
				state[string(e.Key)] = string(e.Value)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// mergeAll merges share by share.
func mergeAll(t interface{ Fatal(...any) }, fromStart bool, size, shares int, segments ...[]byte) (all [][]byte) {
	seed := maphash.MakeSeed()
	for i := range shares {
		var of [][]byte
		for _, s := range segments {
			own, err := Share(nil, s, seed, i, shares)
			if err != nil {
				t.Fatal(err)
			}
			of = append(of, own)
		}
		err := new(Merger).Merge(fromStart, size, of, func(s []byte) error {
			if len(s) == 0 {
				t.Fatal("a segment of nothing")
			}
			all = append(all, bytes.Clone(s))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestMergedSegmentsMeanWhatTheyMeantOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOfN(segmentGen(), 0, 5).Draw(t, "segments")
		size, shares := rapid.IntRange(1, 30).Draw(t, "size"), rapid.IntRange(1, 3).Draw(t, "shares")
		merged := mergeAll(t, false, size, shares, segments...)
		before := map[string]string{"a": "1", "b": "2", "": "3"}
		if got, want := apply(t, before, merged...), apply(t, before, segments...); !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		base := mergeAll(t, true, size, shares, segments...)
		want := apply(t, map[string]string{}, segments...)
		if got := apply(t, map[string]string{}, base...); !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		n := 0
		for _, s := range base {
			at := 0
			_ = EachEntry(s, func(e Entry) error {
				if n++; at >= size {
					t.Fatalf("an entry begins at byte %d of a segment", at)
				}
				at += len(AppendEntry(nil, e.Key, e.Value))
				return nil
			})
		}
		if n != len(want) {
			t.Fatalf("a merge from the start has %d entries for %d keys", n, len(want))
		}
	})
}

func TestSegmentsThatAreCutShort(t *testing.T) {
	whole := AppendDeletion(AppendEntry(nil, []byte("key"), bytes.Repeat([]byte("v"), 300)), []byte("gone"))
	first := len(AppendEntry(nil, []byte("key"), bytes.Repeat([]byte("v"), 300)))
	for n := range whole {
		err := EachEntry(whole[:n], func(Entry) error { return nil })
		if whole := n == 0 || n == first; whole != (err == nil) {
			t.Fatalf("%d bytes: %v", n, err)
		} else if !whole && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v is no ErrCorrupt", n, err)
		}
	}
}

// FuzzSegment feeds any bytes: no panic, and what is read writes the same again.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendDeletion(AppendEntry(nil, []byte("k"), []byte("v")), []byte("k")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		err := EachEntry(b, func(e Entry) error {
			if e.Deleted {
				again = AppendDeletion(again, e.Key)
			} else {
				again = AppendEntry(again, e.Key, e.Value)
			}
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if err := EachEntry(again, func(Entry) error { return nil }); err != nil || len(again) > len(b) {
			t.Fatalf("%x was read, and written as %x: %v", b, again, err)
		}
		mergeAll(t, true, 10, 2, b, again)
		if at := cut(b, len(b)/2); at < len(b)/2 || at > len(b) {
			t.Fatalf("%d bytes were cut at %d", len(b), at)
		}
	})
}
