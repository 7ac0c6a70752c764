package topology

import (
	"errors"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/keygroup"
	"github.com/troupestream/troupe/internal/watermark"
)

// However many tasks save and restore it, each group is where it was, and
// moves on with its task.
func TestEveryGroupKeepsItsEventTime(t *testing.T) {
	const groups = 12
	rapid.Check(t, func(t *rapid.T) {
		saved, at := map[string][]byte{}, make([]int64, groups)
		for i := range at {
			at[i] = watermark.Min
		}
		for range rapid.IntRange(1, 4).Draw(t, "restarts") {
			tasks := rapid.IntRange(1, 2*groups).Draw(t, "tasks")
			next := map[string][]byte{}
			for task := range tasks {
				own := keygroup.RangeOf(task, groups, tasks)
				c := newGroupClock()
				if err := c.restore(own, saved); err != nil {
					t.Fatal(err)
				}
				to := rapid.SampledFrom([]int64{watermark.Min, -1000, 0, 5, 6, 7, 1000}).Draw(t, "time")
				c.advance(to)
				for g := own.First; g < own.End; g++ {
					at[g] = max(at[g], to)
					if c.of(g) != at[g] {
						t.Fatalf("group %d is at %d, want %d", g, c.of(g), at[g])
					}
				}
				maps.Copy(next, c.save(own))
			}
			saved = next
		}
	})
}

func TestTheEndOfTheInputIsNotKept(t *testing.T) {
	own := keygroup.Range{First: 0, End: 4}
	c := newGroupClock()
	c.advance(7)
	c.advance(watermark.Max)
	again := newGroupClock()
	if err := again.restore(own, c.save(own)); err != nil || again.now != 7 || c.now != watermark.Max {
		t.Errorf("restored at %d (%v), want 7", again.now, err)
	}
	for name, b := range map[string][]byte{"nonsense": nil, "0-4": {}, "0-2": {0x80}} {
		if err := again.restore(own, map[string][]byte{name: b}); !errors.Is(err, errCorruptState) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Bytes that are no state of ours are refused, and never a reason to panic.
func FuzzKeyState(f *testing.F) {
	p := &Processor[string, int, int]{clock: newGroupClock()}
	p.state.limits = KeyLimits{}.withDefaults()
	p.state.expired = func(int) {}
	value := ValueOf[string](p, "value", TTL(1e9))
	list, seen := ListOf[int](p, "list"), MapOf[string, float64](p, "map")
	st := &keyState{}
	p.state.open = func(bool) *keyState { return st }
	p.state.active = true
	value.Set("v")
	list.Add(1, 2, 3)
	seen.Set("k", 1.5)
	st.timer(inEventTime, 5, true)
	st.timer(inClockTime, -5, true)
	whole, err := p.state.encode(nil, st)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var st, again keyState
		if p.state.decode(b, &st) != nil {
			return
		}
		encoded, err := p.state.encode(nil, &st)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.state.decode(encoded, &again); err != nil {
			t.Fatalf("%x was read, and then not as %x: %v", b, encoded, err)
		}
	})
}

func FuzzPanes(f *testing.F) {
	form := paneCodec[int]{codec.For[int]()}
	f.Add([]byte{2, 1, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		var panes, again []pane[int]
		if form.decode(b, &panes) != nil {
			return
		}
		encoded, err := form.append(nil, &panes)
		if err != nil {
			t.Fatal(err)
		}
		if err := form.decode(encoded, &again); err != nil || len(again) != len(panes) {
			t.Fatalf("%x was read, and then not as %x: %v", b, encoded, err)
		}
	})
}
