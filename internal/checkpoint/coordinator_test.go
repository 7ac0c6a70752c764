package checkpoint

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var zero = time.UnixMilli(0)

func TestCheckpointsFollowTheInterval(t *testing.T) {
	c := NewCoordinator(Config{Interval: time.Second, Timeout: time.Minute}, []string{"a", "b"}, 41, zero)
	if c.Trigger(zero) != nil {
		t.Fatal("the first is due after an interval")
	}
	p := c.Trigger(zero.Add(time.Second))
	if p == nil || p.Number != 42 {
		t.Fatalf("want checkpoint 42, got %+v", p)
	}
	if c.Trigger(zero.Add(5*time.Second)) != nil {
		t.Fatal("one at a time")
	}
	if c.Ack(42, "a", Part{}) != nil || c.Ack(41, "b", Part{}) != nil || c.Ack(42, "a", Part{}) != nil {
		t.Fatal("a task's part counts once, and only for the checkpoint under way")
	}
	if done := c.Ack(42, "b", Part{}); done == nil || len(done.Parts) != 2 {
		t.Fatalf("the last part completes: %+v", done)
	}
	if p := c.Trigger(zero.Add(5 * time.Second)); p == nil || p.Number != 43 {
		t.Fatal("the next is due")
	}
}

func TestARequestOutlivesTheCheckpointThatWasToFulfilIt(t *testing.T) {
	c := NewCoordinator(Config{Timeout: time.Second}, []string{"a"}, 0, zero)
	c.Request(Request{Savepoint: "s"})
	first := c.Trigger(zero)
	if given, err := c.Expire(zero.Add(999 * time.Millisecond)); given != nil || err != nil {
		t.Fatal("it has time left")
	}
	given, err := c.Expire(zero.Add(time.Second))
	if given != first || err == nil || !strings.Contains(err.Error(), "a of 1 tasks have not") {
		t.Fatalf("%+v %v", given, err)
	}
	if c.Ack(first.Number, "a", Part{}) != nil {
		t.Fatal("what was given up does not complete")
	}
	second := c.Trigger(zero.Add(time.Second))
	if second == nil || second.Number != first.Number+1 || second.Request.Savepoint != "s" {
		t.Fatalf("the request is tried again: %+v", second)
	}
}

func TestAnEndToCheckpointsThatAreGivenUp(t *testing.T) {
	var tasks []string
	for i := range 11 {
		tasks = append(tasks, fmt.Sprint("t-", i))
	}
	c, now := NewCoordinator(Config{Interval: time.Second, Timeout: time.Second, Failures: 3}, tasks, 0, zero), zero
	giveUp := func() (err error) {
		now = now.Add(time.Second)
		p := c.Trigger(now)
		c.Ack(p.Number, "t-1", Part{})
		now = now.Add(time.Second)
		_, err = c.Expire(now)
		return err
	}
	err := giveUp()
	if want := "t-0, t-2, t-3, t-4, t-5, t-6, t-7, t-8 and 2 more of 11 tasks have not contributed"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %s", err, want)
	}
	giveUp()
	now = now.Add(time.Second)
	p := c.Trigger(now)
	for _, name := range tasks {
		c.Ack(p.Number, name, Part{})
	}
	for n := 1; n <= 3; n++ { // counted anew behind the one that was complete
		if giveUp(); c.Exhausted() != n/3*3 {
			t.Errorf("after %d in a row: %d", n, c.Exhausted())
		}
	}
}

func TestRequestsJoinOneThatHasNotBegun(t *testing.T) {
	c, asked := NewCoordinator(Config{Timeout: time.Second}, []string{"a"}, 0, zero), Request{Asked: true}
	c.Request(asked)
	c.Request(asked)
	if p := c.Trigger(zero); p == nil || c.Ack(p.Number, "a", Part{}) == nil || c.Trigger(zero) != nil {
		t.Fatal("one checkpoint does for both")
	}
	c.Request(asked)
	first := c.Trigger(zero)
	c.Request(asked) // behind its beginning
	if c.Ack(first.Number, "a", Part{}) == nil || c.Trigger(zero) == nil {
		t.Fatal("one that had begun does not do")
	}
	c.Request(asked)
	if given, _ := c.Expire(zero.Add(time.Second)); given == nil {
		t.Fatal("it is given up")
	}
	if p := c.Trigger(zero); p == nil || c.Ack(p.Number, "a", Part{}) == nil || c.Trigger(zero) != nil {
		t.Fatal("one checkpoint does for the one that was given up, and for the one behind it")
	}
}

// Whatever is triggered, acknowledged and given up in whatever order, the state
// of the newest complete checkpoint consists of all segments that were reported
// with it or with one before it, in order.
func TestSegmentsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const groups = 4
		var m *Manifest
		want := make([][]Ref, groups)
		for n := uint64(1); n <= uint64(rapid.IntRange(1, 12).Draw(t, "checkpoints")); n++ {
			var parts []Part
			for task := range 2 {
				p := Part{Task: task, RecordsIn: 1}
				for i := range rapid.IntRange(0, 4).Draw(t, "segments") {
					g := rapid.IntRange(0, groups/2-1).Draw(t, "group")*2 + task
					r := Ref{Seq: n, Offset: i, Length: rapid.IntRange(0, 100).Draw(t, "length")}
					p.Segments = append(p.Segments, Segment{Node: "op", Group: g, Ref: r})
					want[g] = append(want[g], r)
				}
				parts = append(parts, p)
			}
			before := m
			frozen := fmt.Sprint(before)
			m = Next(m, Manifest{Job: "j", Checkpoint: n, KeyGroups: groups, Graph: []byte("{}")}, parts)
			if fmt.Sprint(before) != frozen {
				t.Fatal("the manifest before must not change")
			}
			if rapid.Bool().Draw(t, "merge") && m.Segments["op"] != nil {
				g := rapid.IntRange(0, groups-1).Draw(t, "which")
				if k := len(want[g]); k > 0 {
					k = rapid.IntRange(1, k).Draw(t, "count")
					r := Ref{Seq: 1000 + n, Length: 7}
					at := rapid.IntRange(0, k-1).Draw(t, "from")
					old := slices.Clone(m.Segments["op"][g][at:k])
					m.Replace([]Replacement{{Node: "op", Group: g, Old: old, New: []Ref{r}}})
					want[g] = slices.Concat(want[g][:at], []Ref{r}, want[g][k:])
				}
			}
		}
		bytes, oldest := int64(0), uint64(0)
		for g, refs := range want {
			if len(refs) > 0 && !slices.EqualFunc(m.Segments["op"][g], refs, func(a, b Ref) bool { a.More = false; return a == b }) {
				t.Fatalf("group %d: %v, want %v", g, m.Segments["op"][g], refs)
			}
			for _, r := range refs {
				bytes += int64(r.Length)
				if oldest == 0 || r.Seq < oldest {
					oldest = r.Seq
				}
			}
		}
		if got, _ := m.OldestChunk(); got != oldest || m.Stats.StateBytes != bytes {
			t.Fatalf("oldest %d, %d bytes; want %d, %d", got, m.Stats.StateBytes, oldest, bytes)
		}
		back := Manifest{KeyGroups: groups}
		if err := back.ReadBulk(m.AppendBulk(nil)); err != nil || !reflect.DeepEqual(back.Segments, m.Segments) {
			t.Fatalf("round trip: %v\n%v\n%v", err, back.Segments, m.Segments)
		}
	})
}

// Two mergers of the same group may be under way when the first is not yet in a
// manifest. The second must not take what was added since.
func TestAReplacementThatComesTooLateChangesNothing(t *testing.T) {
	a, b, c, d := Ref{Seq: 1}, Ref{Seq: 2}, Ref{Seq: 3}, Ref{Seq: 4}
	m := &Manifest{KeyGroups: 1, Segments: map[string][][]Ref{"op": {{a, b, c, d}}}}
	ab, abc, bc := []Ref{{Seq: 5}}, []Ref{{Seq: 6}}, []Ref{{Seq: 7}}
	m.Replace([]Replacement{{Node: "op", Old: []Ref{a, b}, New: ab}, {Node: "op", Old: []Ref{a, b, c}, New: abc}, {Node: "op", Old: []Ref{b, c}, New: bc}})
	if want := []Ref{ab[0], c, d}; !slices.Equal(m.Segments["op"][0], want) {
		t.Fatalf("%v, want %v", m.Segments["op"][0], want)
	}
}

// TestSegmentsWrittenTogetherAreOne: what a checkpoint adds to a group in pieces.
func TestSegmentsWrittenTogetherAreOne(t *testing.T) {
	next := func(prev *Manifest, n uint64, groups ...int) *Manifest {
		var p Part
		for i, g := range groups {
			p.Segments = append(p.Segments, Segment{Node: "op", Group: g, Ref: Ref{Seq: n, Offset: i}})
		}
		return Next(prev, Manifest{KeyGroups: 2}, []Part{p})
	}
	first := next(nil, 1, 0, 1, 0, 0)
	second := next(first, 2, 0, 0, 1)
	for g, want := range [][]bool{{true, true, false, true, false}, {false, false}} {
		var got []bool
		for _, r := range second.Segments["op"][g] {
			got = append(got, r.More)
		}
		if !slices.Equal(got, want) {
			t.Errorf("group %d: %v, want %v", g, got, want)
		}
	}
	if first.Segments["op"][0][2].More {
		t.Error("the manifest before has changed")
	}
}

func TestManifestsThatCannotBeRestoredAreRefused(t *testing.T) {
	good := Manifest{Format: Format, Job: "j", KeyGroups: 2, Segments: map[string][][]Ref{"op": make([][]Ref, 2)}}
	if err := good.Check("j"); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Manifest){
		"reads formats up to": func(m *Manifest) { m.Format++ },
		`belongs to job "k"`:  func(m *Manifest) { m.Job = "k" },
		"has 0 key groups":    func(m *Manifest) { m.KeyGroups = 0 },
		"the job 3":           func(m *Manifest) { m.KeyGroups = 3 },
	} {
		m := good
		spoil(&m)
		if err := m.Check("j"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
