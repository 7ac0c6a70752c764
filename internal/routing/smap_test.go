package routing

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// An smap is a map, also with hashes that are nearly all the same.
func TestSmapIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m smap[int, int]
		want := map[int]int{}
		spread := rapid.SampledFrom([]uint64{1, 3, 1 << 20}).Draw(t, "spread")
		hash := func(k int) uint64 { return uint64(k)%spread | 1<<63 }
		for _, k := range rapid.SliceOfN(rapid.IntRange(0, 30), 0, 200).Draw(t, "keys") {
			if v, there := want[k]; there && v%2 == 0 || rapid.Bool().Draw(t, "delete") {
				m.delete(hash(k), k)
				delete(want, k)
			} else {
				*m.getOrPut(hash(k), k) += k
				want[k] += k
			}
			got := map[int]int{}
			for e := range m.entries() {
				got[e.key] = e.value
			}
			if !maps.Equal(got, want) || int(m.live) != len(want) {
				t.Fatalf("%d entries, %v, want %v", m.live, got, want)
			}
			for k := range 31 {
				v, there := want[k]
				if p := m.get(hash(k), k); (p != nil) != there || there && *p != v {
					t.Fatalf("key %d: %v, want %v, %v", k, p, v, there)
				}
			}
		}
		for k := range 31 {
			m.delete(hash(k), k)
		}
		if m.only.Load() != nil || m.slots.Load() != nil {
			t.Fatal("an empty map holds memory")
		}
	})
}

func TestTargetListIsABag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets := [4]*Target{{id: 0}, {id: 1}, {id: 2}, {id: 3}}
		var l targetList
		var want []uint32
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, 3), 0, 50).Draw(t, "targets") {
			target := targets[i]
			if rapid.Bool().Draw(t, "add") {
				l.add(target)
				want = append(want, target.id)
			} else {
				l.remove(target)
				if at := slices.Index(want, target.id); at >= 0 {
					want = slices.Delete(want, at, at+1)
				}
			}
			got := []uint32{}
			for _, t := range l.appendTo(nil) {
				got = append(got, t.id)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || l.empty() != (len(want) == 0) {
				t.Fatalf("%v, want %v", got, want)
			}
		}
	})
}

// What a reader has of a list does not change under it.
func TestListsOfReadersStay(t *testing.T) {
	var l cow[int]
	var seen [][]int
	for i := range 10 {
		l.add(i)
		seen = append(seen, l.all())
	}
	for i := range 10 {
		l.remove(i)
		l.add(-i)
	}
	for i, s := range seen {
		for j, v := range s {
			if len(s) != i+1 || v != j {
				t.Fatalf("list %d is now %v", i, s)
			}
		}
	}
}

func TestMarksAreEmptiedAtTheLastEpoch(t *testing.T) {
	m := marks{}
	m.reset()
	if !m.add(3) || m.add(3) || !m.add(0) {
		t.Error("a set takes each number once")
	}
	m.epoch = 1<<32 - 1
	m.slots[2] = 1 // as an epoch of long ago left it
	m.reset()
	if !m.add(2) || !m.add(3) {
		t.Error("numbers of epochs before are in the set")
	}
}
