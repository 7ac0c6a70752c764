package snapshots

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// stateOf reads the segments of all groups.
func stateOf(t *testing.T, m *checkpoint.Manifest, log *chunkLog) (all []string) {
	t.Helper()
	for g, refs := range m.Segments["op"] {
		for _, r := range refs {
			b, err := log.segment(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprint(g, r.More, string(b)))
		}
	}
	return all
}

// scattered is a checkpoint of segments that lie in no order.
func scattered(t *testing.T, st *Store) *checkpoint.Manifest {
	t.Helper()
	var p checkpoint.Part
	for i, length := range []int{10, 0, EntryBytes + 100, 7, 100_000, 1} {
		seq, err := st.WriteChunk(t.Context(), noise(length + 5)[5:])
		if err != nil {
			t.Fatal(err)
		}
		p.Segments = append([]checkpoint.Segment{{Node: "op", Group: i % 2, Ref: At(seq, 0, length)}}, p.Segments...)
	}
	m := checkpoint.Next(nil, manifest(7, 2), []checkpoint.Part{p})
	m.Retained = []checkpoint.Retained{{Checkpoint: 6, Seq: 1}}
	return m
}

func TestASavepointIsACopy(t *testing.T) {
	fake := storagefake.New()
	st := open(t, fake)
	m := scattered(t, st)
	want, before := stateOf(t, m, &st.chunks), fmt.Sprint(m)
	for range 2 { // the second replaces the first
		s, err := st.Save(t.Context(), m, "s")
		if err != nil || s.Savepoint != "s" || s.Checkpoint != 7 || len(s.Retained) > 0 {
			t.Fatalf("%+v %v", s, err)
		}
	}
	if fmt.Sprint(m) != before {
		t.Error("the checkpoint has changed")
	}
	log, err := fake.OpenLog(t.Context(), "savepoint_j_s", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := log.Bounds(t.Context()); err != nil || b.Bytes > 2*uint64(m.Stats.StateBytes) {
		t.Errorf("%d bytes of state take %d, %v", m.Stats.StateBytes, b.Bytes, err)
	}
	for _, name := range []string{"job_j_chunks", "job_j_manifests"} {
		if err := fake.DeleteLog(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	fake = fake.Restart()
	st = open(t, fake)
	again, err := st.Import(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	if err := DeleteSavepoint(t.Context(), fake, "j", "s"); err != nil {
		t.Fatal(err)
	}
	if got := stateOf(t, again, &st.chunks); fmt.Sprint(got) != fmt.Sprint(want) || again.Checkpoint != 7 {
		t.Error("the state is another")
	}
	if _, err := st.Import(t.Context(), "s"); !errors.Is(err, ErrNoSavepoint) {
		t.Errorf("err = %v", err)
	}
	if logs, _ := fake.Logs(t.Context(), "savepoint_"); len(logs) > 0 {
		t.Errorf("to ask for it has made %v", logs)
	}
}

// TestASavepointIsThereWithItsManifest: what a process leaves that dies before is
// removed when the job is next opened, and an older one of its name stays.
func TestASavepointIsThereWithItsManifest(t *testing.T) {
	out := errors.New("the process is gone")
	for stop := range 6 {
		for _, older := range []bool{false, true} {
			fake := storagefake.New()
			st := open(t, fake)
			m := scattered(t, st)
			if older {
				if _, err := st.Save(t.Context(), m, "s"); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			fake.OnAppend(func(storagefake.Append) storagefake.Fault {
				if n++; n > stop {
					return storagefake.Fault{Err: out}
				}
				return storagefake.Fault{}
			})
			m.Checkpoint++
			_, err := st.Save(t.Context(), m, "s")
			done := err == nil
			if !done && !errors.Is(err, out) {
				t.Fatal(err)
			}
			fake = fake.Restart()
			st = open(t, fake)
			got, err := st.Import(t.Context(), "s")
			switch {
			case done && (err != nil || got.Checkpoint != 8),
				!done && older && (err != nil || got.Checkpoint != 7),
				!done && !older && !errors.Is(err, ErrNoSavepoint):
				t.Errorf("after %d appends, with an older one %v: %+v, %v", stop, older, got, err)
			}
			if logs, _ := fake.Logs(t.Context(), "savepoint_"); len(logs) > 0 && !done && !older {
				t.Errorf("after %d appends: %v are left", stop, logs)
			}
		}
	}
}

// TestWhatIsLeftOfASavepointIsSwept: where the process itself could not.
func TestWhatIsLeftOfASavepointIsSwept(t *testing.T) {
	fake := storagefake.New()
	for _, name := range []string{"savepoint_j_half", "savepoint_jj_half"} {
		log, err := fake.OpenLog(t.Context(), name, storage.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), storage.Data, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := Savepoints(t.Context(), fake, "j"); err != nil || len(all) > 0 {
		t.Errorf("%v %v", all, err)
	}
	open(t, fake)
	if logs, _ := fake.Logs(t.Context(), "savepoint_"); fmt.Sprint(logs) != "[savepoint_jj_half]" {
		t.Errorf("%v are left", logs)
	}
}

func TestDamagedSavepointsAreListedAsErrors(t *testing.T) {
	fake := storagefake.New()
	st := open(t, fake)
	m := scattered(t, st)
	for _, name := range []string{"a", "b", "c"} {
		if _, err := st.Save(t.Context(), m, name); err != nil {
			t.Fatal(err)
		}
	}
	log, _ := fake.OpenLog(t.Context(), "savepoint_j_b", storage.LogOptions{})
	e, err := log.Last(t.Context(), storage.State)
	if err != nil {
		t.Fatal(err)
	}
	if err := fake.Corrupt("savepoint_j_b", e.Seq, func(b []byte) []byte { return b[:9] }); err != nil {
		t.Fatal(err)
	}
	all, err := Savepoints(t.Context(), fake, "j")
	if len(all) != 2 || all[0].Savepoint != "a" || all[1].Savepoint != "c" || !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("%v %v", all, err)
	}
	if err := DeleteSavepoint(t.Context(), fake, "j", "b"); err != nil {
		t.Error(err)
	}
}
