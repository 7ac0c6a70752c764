package snapshots

import (
	"errors"
	"testing"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// lose is what a store finds that has lost entries of the manifests, from the
// end or all.
func lose(t *testing.T, s *storagefake.Store, keep uint64) *storagefake.Store {
	t.Helper()
	ctx := t.Context()
	old, err := s.OpenLog(ctx, "job_j_manifests", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := old.Read(ctx, 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteLog(ctx, "job_j_manifests"); err != nil {
		t.Fatal(err)
	}
	log, err := s.OpenLog(ctx, "job_j_manifests", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries[:keep] {
		if _, err := log.Append(ctx, e.Kind, e.Data, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	return s.Restart()
}

func TestLostManifestsAreMissed(t *testing.T) {
	for keep, want := range map[uint64]int{0: 0, 1: 0, 2: 1, 3: 2, 4: 3} {
		ctx, s := t.Context(), storagefake.New()
		st := open(t, s)
		var retained []checkpoint.Retained
		for n := uint64(1); n <= 3; n++ {
			if _, err := st.WriteChunk(ctx, []byte("x")); err != nil {
				t.Fatal(err)
			}
			m := manifest(n, 1)
			m.Retained = retained
			kept, err := st.WriteManifest(ctx, &m)
			if err != nil {
				t.Fatal(err)
			}
			retained = append(retained, kept)
		}
		again := open(t, lose(t, s.Restart(), keep))
		found, bad, err := again.List(ctx)
		// The last manifest alone is missed by nobody: no chunk came after it.
		if missed := keep < 3; err != nil || len(found) != want || (len(bad) == 1 && errors.Is(bad[0], storage.ErrCorrupt)) != missed {
			t.Errorf("of %d entries: %d found, unreadable %v, %v", keep, len(found), bad, err)
		}
		if again.Incarnation() <= st.Incarnation() {
			t.Errorf("of %d entries: incarnation %d after %d", keep, again.Incarnation(), st.Incarnation())
		}
	}
}

func TestNothingIsMissedOfAWholeLog(t *testing.T) {
	ctx, s := t.Context(), storagefake.New()
	for n := uint64(1); n <= 4; n++ {
		st := open(t, s)
		if _, bad, err := st.List(ctx); err != nil || len(bad) > 0 {
			t.Fatalf("open %d: %v %v", n, bad, err)
		}
		m := manifest(n, 1)
		if _, err := st.WriteManifest(ctx, &m); err != nil {
			t.Fatal(err)
		}
		if _, err := st.WriteChunk(ctx, []byte("x")); err != nil {
			t.Fatal(err)
		}
		s = s.Restart()
	}
}
