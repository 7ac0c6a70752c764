package compaction

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// entry is a record as the test sees it. An empty value is a tombstone.
type entry struct {
	key, value          string
	offset              uint64
	appended, compacted int64
	keyless             bool
}

func (e *entry) record() *Record {
	r := &Record{Key: []byte(e.key), Tombstone: e.value == "", Offset: e.offset, Appended: e.appended, Compacted: e.compacted}
	if e.keyless {
		r.Key = nil
	}
	return r
}

// compact makes the next compacted log as the actors do, and returns what of the
// head is left.
func compact(former, head []entry, r *Rules) (next, rest []entry) {
	for len(head) > 0 && !r.Keys.Full() {
		e := head[0].record()
		r.Keys.Note(e.Key, e.Offset)
		rest, head = append(rest, head[0]), head[1:]
	}
	for _, e := range former {
		keep, stamp := r.OfFormer(e.record())
		if e.compacted = stamp; keep {
			next = append(next, e)
		}
	}
	for _, e := range rest {
		if r.OfHead(e.record()) {
			next = append(next, e)
		}
	}
	return next, head
}

// newest is what a naive reader of a whole log believes of each key.
func newest(log []entry) map[string]string {
	m := map[string]string{}
	for _, e := range log {
		if e.keyless {
			m[fmt.Sprint("#", e.offset)] = e.value
		} else if m[e.key] = e.value; e.value == "" {
			delete(m, e.key)
		}
	}
	return m
}

// Whatever is appended and however often it is compacted: the log amounts to the
// same, has each key of its compacted part once, in the order of the offsets, and
// a tombstone stays as long as it must after its log came into force, not longer.
func TestCompactionAmountsToTheSame(t *testing.T) {
	const delay = 100
	rapid.Check(t, func(rt *rapid.T) {
		var all, compacted, head []entry
		var offset uint64
		now, inForce := int64(1000), NoTime
		firstIn := map[uint64]int64{} // when the log with that tombstone first came into force
		for range rapid.IntRange(1, 12).Draw(rt, "rounds") {
			for range rapid.IntRange(0, 12).Draw(rt, "appends") {
				e := entry{key: rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(rt, "key"), offset: offset, appended: now, compacted: NoTime,
					value: rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "value"), keyless: rapid.IntRange(0, 9).Draw(rt, "keyless") == 0}
				offset++
				all, head = append(all, e), append(head, e)
			}
			began := now
			rules := &Rules{Keys: NewKeys(KeyBytes * rapid.IntRange(1, 6).Draw(rt, "keys")), Oldest: NoTime, Former: inForce, Expired: began - delay}
			before := compacted
			compacted, head = compact(compacted, head, rules)
			now += rapid.Int64Range(0, delay).Draw(rt, "the run takes")
			inForce = now
			for _, e := range compacted {
				if _, known := firstIn[e.offset]; e.value == "" && !known {
					firstIn[e.offset] = now
				}
			}
			for _, e := range before { // what has gone too early
				gone := !slices.ContainsFunc(compacted, func(c entry) bool { return c.offset == e.offset })
				replaced := slices.ContainsFunc(compacted, func(c entry) bool { return !c.keyless && c.key == e.key && c.offset > e.offset })
				if gone && (e.keyless || !replaced && (e.value != "" || began-firstIn[e.offset] < delay)) {
					rt.Fatalf("%+v has gone at %d; it came into force at %d", e, began, firstIn[e.offset])
				}
			}
			seen := map[string]bool{}
			for i, e := range compacted {
				if i > 0 && compacted[i-1].offset >= e.offset {
					rt.Fatalf("offset %d follows %d", e.offset, compacted[i-1].offset)
				}
				if seen[e.key] && !e.keyless {
					rt.Fatalf("key %q is there twice", e.key)
				}
				seen[e.key] = seen[e.key] || !e.keyless
				if e.value == "" && !e.keyless && began-firstIn[e.offset] >= delay {
					rt.Fatalf("tombstone %+v should have gone at %d: it came into force at %d", e, began, firstIn[e.offset])
				}
			}
			if got, want := newest(append(slices.Clone(compacted), head...)), newest(all); fmt.Sprint(got) != fmt.Sprint(want) {
				rt.Fatalf("it amounts to %v, want %v", got, want)
			}
			now += rapid.Int64Range(0, delay).Draw(rt, "until the next")
		}
	})
}

func TestWhatRetentionDrops(t *testing.T) {
	r := &Rules{Keys: NewKeys(1 << 10), Low: 5, Oldest: 100, Former: NoTime, Expired: math.MinInt64}
	for _, c := range []struct {
		rec  Record
		keep bool
	}{
		{Record{Key: []byte("a"), Offset: 4, Appended: 200}, false},
		{Record{Key: []byte("a"), Offset: 5, Appended: 200}, true},
		{Record{Key: []byte("a"), Offset: 5, Appended: 99}, false},
		{Record{Offset: 5, Appended: 99}, false},
		{Record{Offset: 5, Appended: 100}, true},
	} {
		if got := r.OfHead(&c.rec); got != c.keep {
			t.Errorf("%+v is kept: %v", c.rec, got)
		}
		if got, _ := r.OfFormer(&c.rec); got != c.keep {
			t.Errorf("%+v of the log before is kept: %v", c.rec, got)
		}
	}
}

func TestKeysAreBounded(t *testing.T) {
	k := NewKeys(3 * KeyBytes)
	for i := range 3 {
		if k.Full() {
			t.Fatalf("it is full with %d keys", k.Len())
		}
		k.Note([]byte{byte(i)}, uint64(i))
		k.Note([]byte{byte(i)}, uint64(i)+10)
		k.Note(nil, 99)
	}
	if !k.Full() || k.Len() != 3 {
		t.Errorf("it has %d keys", k.Len())
	}
}
