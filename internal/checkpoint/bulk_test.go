package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func bulky(t *rapid.T) *Manifest {
	text := rapid.StringN(0, 5, 20)
	some := rapid.SliceOfN(rapid.Byte(), 0, 20)
	m := &Manifest{KeyGroups: rapid.IntRange(1, 4).Draw(t, "groups"), Graph: rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "graph")}
	m.Positions = rapid.MapOfN(text, rapid.MapOfN(text, some, 0, 3), 0, 3).Draw(t, "positions")
	m.Sinks = rapid.MapOfN(text, rapid.SliceOfN(rapid.OneOf(rapid.Just([]byte(nil)), some), 0, 3), 0, 3).Draw(t, "sinks")
	m.Segments = map[string][][]Ref{}
	for range rapid.IntRange(0, 3).Draw(t, "nodes") {
		groups := make([][]Ref, m.KeyGroups)
		for g := range groups {
			for range rapid.IntRange(0, 4).Draw(t, "refs") {
				groups[g] = append(groups[g], Ref{Seq: rapid.Uint64().Draw(t, "seq"), Offset: rapid.IntRange(0, 1<<30).Draw(t, "offset"),
					Length: rapid.IntRange(0, 1<<30).Draw(t, "length"), More: rapid.Bool().Draw(t, "more")})
			}
		}
		m.Segments[text.Draw(t, "node")] = groups
	}
	m.Retained = make([]Retained, rapid.IntRange(0, 3).Draw(t, "retained"))
	for i := range m.Retained {
		m.Retained[i] = Retained{Checkpoint: rapid.Uint64().Draw(t, "number"), Seq: 2, Parts: 3, Chunk: 4, Savepoint: text.Draw(t, "savepoint")}
	}
	return m
}

func TestTheBulkComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := bulky(t)
		b := m.AppendBulk(nil)
		back := &Manifest{KeyGroups: m.KeyGroups}
		if err := back.ReadBulk(b); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%v\n%+v\n%+v", err, back, m)
		}
		if again := back.AppendBulk(nil); !bytes.Equal(again, b) {
			t.Fatal("equal manifests have other bytes")
		}
		for n := range b {
			if err := new(Manifest).ReadBulk(b[:n]); !errors.Is(err, ErrBulk) {
				t.Fatalf("%d bytes of %d: %v", n, len(b), err)
			}
		}
		if err := (&Manifest{KeyGroups: m.KeyGroups}).ReadBulk(append(b, 0)); !errors.Is(err, ErrBulk) {
			t.Fatalf("a byte too many: %v", err)
		}
		if err := (&Manifest{KeyGroups: m.KeyGroups + 1}).ReadBulk(b); len(m.Segments) > 0 && !errors.Is(err, ErrBulk) {
			t.Fatalf("another number of key groups: %v", err)
		}
	})
}

// TestFormat1IsRead: what the first releases wrote.
func TestFormat1IsRead(t *testing.T) {
	var m Manifest
	err := json.Unmarshal([]byte(`{"format":1,"job":"j","checkpoint":7,"incarnation":3,"time_ms":1,"key_groups":2,"exactly_once":true,
		"savepoint":"s","graph":{"name":"j"},"positions":{"in":{"0":"AQI="}},"sinks":{"out":["eA=="]},
		"segments":{"op":[[[9,10,11],[12,13,14]],null]},"stats":{"duration_ms":1,"bytes":2,"state_bytes":25,"records_in":4},
		"retained":[{"checkpoint":6,"seq":5,"chunk":8}]}`), &m)
	want := Manifest{Format: 1, Job: "j", Checkpoint: 7, Incarnation: 3, TimeMs: 1, KeyGroups: 2, ExactlyOnce: true, Savepoint: "s",
		Graph: json.RawMessage(`{"name":"j"}`), Positions: map[string]map[string][]byte{"in": {"0": {1, 2}}},
		Sinks:    map[string][][]byte{"out": {[]byte("x")}},
		Segments: map[string][][]Ref{"op": {{{Seq: 9, Offset: 10, Length: 11}, {Seq: 12, Offset: 13, Length: 14}}, nil}},
		Stats:    Stats{DurationMs: 1, Bytes: 2, StateBytes: 25, RecordsIn: 4}, Retained: []Retained{{Checkpoint: 6, Seq: 5, Chunk: 8}}}
	if err != nil || !reflect.DeepEqual(m, want) {
		t.Fatalf("%v\n%+v\n%+v", err, m, want)
	}
	if err := m.Check("j"); err != nil {
		t.Fatal(err)
	}
}

// FuzzBulk feeds any bytes: no panic, and what is read is written the same way.
func FuzzBulk(f *testing.F) {
	f.Add([]byte{}, 1)
	f.Add((&Manifest{KeyGroups: 1, Graph: []byte("{}"), Positions: map[string]map[string][]byte{"a": {"b": {1}}},
		Sinks: map[string][][]byte{"c": {nil, {}}}, Segments: map[string][][]Ref{"d": {{{Seq: 3, Offset: 4, Length: 5, More: true}}}},
		Retained: []Retained{{Checkpoint: 1, Seq: 2, Chunk: 3}}}).AppendBulk(nil), 1)
	f.Fuzz(func(t *testing.T, b []byte, groups int) {
		m := &Manifest{KeyGroups: groups}
		if err := m.ReadBulk(b); err != nil {
			if !errors.Is(err, ErrBulk) {
				t.Fatal(err)
			}
			return
		}
		again := &Manifest{KeyGroups: groups}
		if err := again.ReadBulk(m.AppendBulk(nil)); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%v\n%+v\n%+v", err, m, again)
		}
	})
}
