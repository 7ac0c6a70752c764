package state

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var tiny = plan{keys: 4000, runFor: 20 * time.Millisecond, throughput: 1, pacedFor: 20 * time.Millisecond, rounds: 1,
	every: 10 * time.Millisecond, rate: 100_000, samples: 1, samplesFor: 1, quiet: -1}

func TestBenchReportsEverything(t *testing.T) {
	results, err := bench(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, r := range results {
		names = append(names, r.Name)
		if r.P50us == nil || *r.P50us <= 0 || *r.P99us < *r.P50us || (i < 2) != (r.RecordsPerS > 0) {
			t.Errorf("result %+v", r)
		}
	}
	want := []string{off, every, "checkpoint-full", "checkpoint-incremental", "checkpoint-restart"}
	if !slices.Equal(names, want) {
		t.Errorf("results %v, want %v", names, want)
	}
}

func TestVerifyNoticesALostUpdate(t *testing.T) {
	s := newScript(100)
	m := &meter{script: s}
	s.begin(everyKey, 50, 0)
	m.updates = 99
	if all, _ := s.sent(); all != 100 || m.reset() == all {
		t.Errorf("%d updates were sent; one that is missing was not noticed", all)
	}
}

// readAll reads so many records of a split from a position on.
func readAll(t *testing.T, s *script, split string, position []byte, n int) []Update {
	t.Helper()
	r, err := s.Open(t.Context(), topology.OpenRequest{Split: split, Position: position})
	if err != nil {
		t.Fatal(err)
	}
	var b topology.Batch[Update]
	for len(b.Values) < n {
		if err := r.Read(t.Context(), &b, min(7, n-len(b.Values))); err != nil {
			t.Fatal(err)
		}
	}
	return b.Values
}

// TestScriptReadsTheSameAgain: exactly-once needs a source that can be replayed.
func TestScriptReadsTheSameAgain(t *testing.T) {
	s := newScript(1000)
	s.begin(everyKey, 30, 0)
	s.begin(randomKey, 40, 0)
	s.begin(hotKey, 20, 0)
	all := readAll(t, s, "1", nil, 90)
	for _, at := range []string{"0", "29", "30", "31", "69", "70", "89"} {
		again := readAll(t, s, "1", []byte(at), 1)
		if first := all[len(all)-90:]; again[0] != first[must(t, at)] {
			t.Errorf("record %s: first %+v, then %+v", at, first[must(t, at)], again[0])
		}
	}
	for _, u := range all {
		if u.Key%splits != 1 || u.Key < 0 || u.Key >= 1000 {
			t.Errorf("key %d is not of split 1", u.Key)
		}
	}
}

func must(t *testing.T, s string) (n int) {
	t.Helper()
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

func TestScenesEndWhereTheyWereRead(t *testing.T) {
	s := newScript(100)
	s.begin(randomKey, -1, 0)
	readAll(t, s, "0", nil, 12)
	readAll(t, s, "1", nil, 5)
	if n := s.end(); n != 17 {
		t.Errorf("the scene had %d records, want 17", n)
	}
	if all, now := s.sent(); all != 17 || now != 17 {
		t.Errorf("sent %d, now %d", all, now)
	}
	if _, err := s.Open(t.Context(), topology.OpenRequest{Split: "0", Position: []byte("10")}); err != nil {
		t.Fatal(err)
	}
	if all, now := s.sent(); all != 17 || now != 7 {
		t.Errorf("after a restart: sent %d, now %d", all, now)
	}
}

func TestRecordsAreDueAtTheirRate(t *testing.T) {
	c := scene{rate: 1000, began: 5e9}
	for now, want := range map[int64]int64{5e9: 0, 5e9 + 1e6: 1, 6e9: 1000, 7e9 + 5e8: 2500} {
		if got := c.due(now); got != want {
			t.Errorf("at %d: %d records are due, want %d", now, got, want)
		}
	}
}

func TestValueKeepsItsForm(t *testing.T) {
	v := Value{N: 7, At: -1, Pad: [valueBytes - 16]byte{0: 1, 83: 2}}
	b, err := v.MarshalBinary()
	var back Value
	if err != nil || len(b) != valueBytes || back.UnmarshalBinary(b) != nil || back != v {
		t.Errorf("%v came back as %v (%v)", v, back, err)
	}
	if back.UnmarshalBinary(b[1:]) == nil {
		t.Error("a value that is too short was accepted")
	}
}
