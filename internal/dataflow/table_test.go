package dataflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/keygroup"
	"pgregory.net/rapid"
)

const testGroups = 4

// bytesForm is for values that are changed in place.
func bytesForm(t testing.TB) Form[string, []byte] {
	hash, err := codec.Hasher[string]()
	if err != nil {
		t.Fatal(err)
	}
	return Form[string, []byte]{
		Hash:        hash,
		AppendKey:   func(dst []byte, k string) ([]byte, error) { return append(dst, k...), nil },
		DecodeKey:   func(b []byte) (string, error) { return string(b), nil },
		AppendValue: func(dst []byte, v *[]byte) ([]byte, error) { return append(dst, *v...), nil },
		DecodeValue: func(b []byte, v *[]byte) error { *v = slices.Clone(b); return nil },
	}
}

type groupSegment struct {
	group int
	bytes []byte
}

// tableMachine runs a table beside a map, and restores it from the segments
// that it has handed out.
type tableMachine struct {
	form     Form[string, []byte]
	table    *Table[string, []byte]
	model    map[string]string
	frozen   map[string]string // as of the last Freeze
	encoding bool
	log      []groupSegment // what has been handed out, oldest first
	complete int            // length of the log at the last complete snapshot
	last     map[string]string
}

func (m *tableMachine) key(t *rapid.T) (uint64, string) {
	k := fmt.Sprintf("k%d", rapid.IntRange(0, 12).Draw(t, "key"))
	// Few distinct tags per group, so that probing, collisions and shifting
	// back all happen.
	return m.form.Hash(k), k
}

func (m *tableMachine) Change(t *rapid.T) {
	h, k := m.key(t)
	v := m.table.Upsert(h, k)
	b := byte('a' + rapid.IntRange(0, 25).Draw(t, "value"))
	if len(*v) > 0 {
		(*v)[0] = b // in place: a frozen value must have been encoded before
	}
	*v = append(*v, b)
	m.model[k] = string(*v)
}

func (m *tableMachine) Delete(t *rapid.T) {
	h, k := m.key(t)
	m.table.Delete(h, k)
	delete(m.model, k)
}

func (m *tableMachine) Freeze(*rapid.T) {
	m.table.Freeze()
	m.frozen, m.encoding = maps.Clone(m.model), true
}

func (m *tableMachine) Encode(t *rapid.T) {
	budget := rapid.OneOf(rapid.IntRange(1, 100), rapid.Just(math.MaxInt)).Draw(t, "budget")
	more, err := m.table.Encode(budget, func(g int, s []byte) {
		m.log = append(m.log, groupSegment{g, slices.Clone(s)})
	})
	if err != nil {
		t.Fatal(err)
	}
	if !more && m.encoding {
		m.encoding, m.complete, m.last = false, len(m.log), m.frozen
	}
}

func (m *tableMachine) Merge(t *rapid.T) {
	n := rapid.IntRange(0, m.complete).Draw(t, "segments")
	var merged []groupSegment
	for g := range testGroups {
		var of [][]byte
		for _, s := range m.log[:n] {
			if s.group == g {
				of = append(of, s.bytes)
			}
		}
		for _, b := range mergeAll(t, true, 20, 1, of...) {
			merged = append(merged, groupSegment{g, b})
		}
	}
	m.log = append(merged, m.log[n:]...)
	m.complete += len(merged) - n
}

func (m *tableMachine) Crash(t *rapid.T) {
	own := keygroup.Range{First: 0, End: testGroups}
	m.table = NewTable(testGroups, own, m.form)
	err := restoreGroups(m.table, "", own, Snapshot{Segments: func(_ string, group int, f func([]byte) error) error {
		for _, s := range m.log[:m.complete] {
			if s.group == group {
				if err := f(s.bytes); err != nil {
					return err
				}
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.log, m.encoding = m.log[:m.complete], false
	m.model = maps.Clone(m.last)
}

func (m *tableMachine) Check(t *rapid.T) {
	got := map[string]string{}
	for r := range m.table.All() {
		k, v := m.table.Peek(r)
		got[k] = string(*v)
		if f, ok := m.table.Find(m.form.Hash(k), k); !ok || f != r {
			t.Fatalf("%q is at %d and found at %d, %v", k, r, f, ok)
		}
	}
	if !maps.Equal(got, m.model) {
		t.Fatalf("table has %v, model %v", got, m.model)
	}
	if m.table.Keys() != len(m.model) {
		t.Fatalf("%d keys, want %d", m.table.Keys(), len(m.model))
	}
}

// Whatever is complete restores to what was there at its Freeze: also when
// snapshots before it were abandoned, and whatever happened while it was encoded.
func TestTableRestoresToTheMomentOfFreeze(t *testing.T) {
	form := bytesForm(t)
	plain := form.Hash
	for name, hash := range map[string]func(string) uint64{
		"spread":   plain,
		"collides": func(k string) uint64 { return plain(k) & 0xc000_0000_0000_0001 },
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				form := form
				form.Hash = hash
				m := &tableMachine{form: form, model: map[string]string{}, last: map[string]string{},
					table: NewTable(testGroups, keygroup.Range{First: 0, End: testGroups}, form)}
				t.Repeat(rapid.StateMachineActions(m))
			})
		})
	}
}

func TestTableScanVisitsEveryEntry(t *testing.T) {
	form := bytesForm(t)
	table := NewTable(testGroups, keygroup.Range{First: 0, End: testGroups}, form)
	for i := range 100 {
		k := fmt.Sprint(i)
		*table.Upsert(form.Hash(k), k) = []byte(k)
	}
	seen, steps := map[string]int{}, 0
	for at := Ref(0); at != 0 || steps == 0; steps++ {
		at = table.Scan(at, 7, func(r Ref) {
			k, _ := table.Peek(r)
			seen[k]++
			table.DeleteAt(r)
		})
	}
	if len(seen) != 100 || table.Keys() != 0 {
		t.Fatalf("saw %d keys, %d left", len(seen), table.Keys())
	}
}

// A key that comes and goes between two snapshots leaves no trace of itself.
func TestTableForgetsWhatCameAndWent(t *testing.T) {
	form := bytesForm(t)
	table := NewTable(1, keygroup.Range{First: 0, End: 1}, form)
	for i := range 10_000 {
		k := fmt.Sprint(i)
		table.Upsert(form.Hash(k), k)
		table.Delete(form.Hash(k), k)
	}
	if p := &table.parts[0]; len(p.entries) > 1 || len(p.dirty) > 1 || p.used != 0 {
		t.Fatalf("%d entries, %d dirty, %d slots used", len(p.entries), len(p.dirty), p.used)
	}
	table.Freeze()
	more, err := table.Encode(1000, func(int, []byte) { t.Fatal("there is nothing to encode") })
	if more || err != nil {
		t.Fatal(more, err)
	}
}

func TestTableReportsWhatItCannotEncode(t *testing.T) {
	form := bytesForm(t)
	form.MaxBytes = 3
	table := NewTable(1, keygroup.Range{First: 0, End: 1}, form)
	*table.Upsert(form.Hash("long"), "long") = []byte("1234")
	table.Freeze()
	if _, err := table.Encode(100, func(int, []byte) {}); !errors.Is(err, ErrStateLimit) {
		t.Fatalf("got %v, want a limit", err)
	}
}

func TestTableRefusesKeysOfOtherGroups(t *testing.T) {
	form := bytesForm(t)
	table := NewTable(128, keygroup.Range{First: 0, End: 128}, form)
	g := keygroup.Of(form.Hash("a"), 128)
	if err := table.Restore((g+1)%128, []Entry{{Key: []byte("a")}}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("got %v, want ErrCorrupt", err)
	}
}

// Two forms of a key that the program takes for one are one key.
func TestTableRestoresKeysOfTwoForms(t *testing.T) {
	form := bytesForm(t)
	form.DecodeKey = func(b []byte) (string, error) { return strings.ToLower(string(b)), nil }
	for name, c := range map[string]struct {
		entries []Entry
		want    string
	}{
		"both have a value": {[]Entry{{Key: []byte("A"), Value: []byte("old")}, {Key: []byte("a"), Value: []byte("new")}}, "new"},
		"one was deleted":   {[]Entry{{Key: []byte("A"), Value: []byte("old")}, {Key: []byte("a"), Deleted: true}}, ""},
	} {
		table := NewTable(1, keygroup.Range{First: 0, End: 1}, form)
		if err := table.Restore(0, c.entries); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := ""
		for r := range table.All() {
			_, v := table.Peek(r)
			got += string(*v)
		}
		if got != c.want || table.Keys() != len(c.want)/len("new") {
			t.Errorf("%s: %q, %d keys, want %q", name, got, table.Keys(), c.want)
		}
	}
}

// Only what still holds is decoded.
func TestRestoreDecodesEachKeyOnce(t *testing.T) {
	form, decoded := bytesForm(t), 0
	decode := form.DecodeValue
	form.DecodeValue = func(b []byte, v *[]byte) error { decoded++; return decode(b, v) }
	own := keygroup.Range{First: 0, End: 1}
	table := NewTable(1, own, form)
	var segments [][]byte
	for range 5 {
		var s []byte
		for k := range 200 {
			s = AppendEntry(s, fmt.Append(nil, k), []byte("v"))
		}
		segments = append(segments, s)
	}
	segments = append(segments, AppendDeletion(nil, []byte("7")))
	err := restoreGroups(table, "", own, Snapshot{Segments: func(_ string, _ int, f func([]byte) error) error {
		for _, s := range segments {
			if err := f(s); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil || decoded != 199 || table.Keys() != 199 {
		t.Fatalf("%v; %d values decoded, %d keys", err, decoded, table.Keys())
	}
}

func intForm(b *testing.B) Form[string, int64] {
	hash, err := codec.Hasher[string]()
	if err != nil {
		b.Fatal(err)
	}
	return Form[string, int64]{
		Hash:        hash,
		AppendKey:   func(dst []byte, k string) ([]byte, error) { return append(dst, k...), nil },
		DecodeKey:   func(b []byte) (string, error) { return string(b), nil },
		AppendValue: func(dst []byte, v *int64) ([]byte, error) { return binary.AppendVarint(dst, *v), nil },
		DecodeValue: func(b []byte, v *int64) error { *v, _ = binary.Varint(b); return nil },
	}
}

// probes are keys as a batch has them: in random order, their bytes one after
// the other.
func probes(f Form[string, int64], n int) (keys []string, hashes []uint64) {
	const count = 1 << 16
	var text []byte
	for i := range count {
		text = fmt.Appendf(text, "user-%07d", rand.New(rand.NewPCG(1, uint64(i))).IntN(n))
	}
	for s := string(text); len(s) > 0; s = s[12:] {
		keys = append(keys, s[:12])
		hashes = append(hashes, f.Hash(s[:12]))
	}
	return keys, hashes
}

func BenchmarkTableUpsert(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			form := intForm(b)
			table := NewTable(128, keygroup.Range{First: 0, End: 128}, form)
			for i := range n {
				k := fmt.Sprintf("user-%07d", i)
				*table.Upsert(form.Hash(k), k) = 1
			}
			keys, hashes := probes(form, n)
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				j := i & (len(keys) - 1)
				*table.Upsert(hashes[j], keys[j])++
			}
		})
		b.Run(fmt.Sprint("map-", n), func(b *testing.B) {
			m := map[string]*int64{}
			for i := range n {
				m[fmt.Sprintf("user-%07d", i)] = new(int64)
			}
			keys, _ := probes(intForm(b), n)
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				*m[keys[i&(len(keys)-1)]]++
			}
		})
	}
}

func BenchmarkTableEncode(b *testing.B) {
	const n = 1_000_000
	form := bytesForm(b)
	table := NewTable(128, keygroup.Range{First: 0, End: 128}, form)
	for i := range n {
		k := fmt.Sprintf("user-%07d", i)
		*table.Upsert(form.Hash(k), k) = make([]byte, 100)
	}
	all := slices.Collect(table.All())
	rand.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, percent := range []int{100, 20, 5} {
		b.Run(fmt.Sprintf("%d%%", percent), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				for _, r := range all[:n*percent/100] {
					table.Touch(r)
				}
				b.StartTimer()
				table.Freeze()
				size := 0
				for more := true; more; {
					more, _ = table.Encode(1<<20, func(_ int, s []byte) { size += len(s) })
				}
				b.SetBytes(int64(size))
			}
		})
	}
}
