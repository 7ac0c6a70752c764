package snapshots

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

const bulkyGroups = 128

// bulkyManifest is one whose bulk takes about 4 MiB.
func bulkyManifest(n uint64) *checkpoint.Manifest {
	m := manifest(n, bulkyGroups)
	var p checkpoint.Part
	p.Positions = map[string]map[string][]byte{"in": {}}
	position := noise(5000)
	for i := range 700 {
		p.Positions["in"][fmt.Sprint("split ", i)] = position
	}
	for g := range bulkyGroups {
		for i := range 24 {
			p.Segments = append(p.Segments, checkpoint.Segment{Node: "op", Group: g, Ref: checkpoint.Ref{Seq: n*1000 + uint64(i), Offset: g * 30, Length: 300}})
		}
	}
	return checkpoint.Next(nil, m, []checkpoint.Part{p})
}

func TestAManifestTakesAsManyEntriesAsItNeeds(t *testing.T) {
	fake := storagefake.New()
	st, largest := open(t, fake), 0
	fake.OnAppend(func(a storagefake.Append) storagefake.Fault {
		largest = max(largest, len(a.Data))
		return storagefake.Fault{}
	})
	var retained []checkpoint.Retained
	for n := uint64(1); n <= 3; n++ {
		m := bulkyManifest(n)
		m.Retained = retained
		kept, err := st.WriteManifest(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if kept.Parts < 3 || kept.Chunk != n*1000 {
			t.Errorf("kept as %+v", kept)
		}
		retained = append(retained, kept)
	}
	if largest > 2*partBytes {
		t.Errorf("an entry of %d bytes", largest)
	}
	// Trimming leaves all of a manifest, or nothing.
	if err := st.Trim(t.Context(), 0, retained[1].Seq-retained[1].Parts); err != nil {
		t.Fatal(err)
	}
	fake = fake.Restart()
	found, bad, err := open(t, fake).List(t.Context())
	if err != nil || len(bad) > 0 || len(found) != 2 {
		t.Fatalf("%d found, unreadable %v, %v", len(found), bad, err)
	}
	for i, f := range found {
		want := bulkyManifest(uint64(3 - i))
		want.Retained = retained[:2-i]
		if !reflect.DeepEqual(f.Manifest, want) {
			t.Errorf("manifest %d came back as another", f.Checkpoint)
		}
		if f.Kept() != retained[2-i] {
			t.Errorf("kept as %+v, and not as %+v", f.Kept(), retained[2-i])
		}
	}
	// Each part counts.
	last := retained[2]
	for seq := last.Seq - last.Parts; seq <= last.Seq; seq++ {
		damaged := fake.Restart()
		if err := damaged.Corrupt("job_j_manifests", seq, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }); err != nil {
			t.Fatal(err)
		}
		found, bad, err := open(t, damaged).List(t.Context())
		if err != nil || len(found) != 1 || found[0].Checkpoint != 2 || len(bad) != 1 || !errors.Is(bad[0], storage.ErrCorrupt) {
			t.Errorf("part %d: %d found, unreadable %v, %v", seq, len(found), bad, err)
		}
		fake = damaged.Restart()
		_ = fake.Corrupt("job_j_manifests", seq, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
}

// TestPartsWithoutAManifestAreNoCheckpoint: a process may die between two entries.
func TestPartsWithoutAManifestAreNoCheckpoint(t *testing.T) {
	fake := storagefake.New()
	st := open(t, fake)
	if _, err := st.WriteManifest(t.Context(), bulkyManifest(1)); err != nil {
		t.Fatal(err)
	}
	out := errors.New("the process is gone")
	for stop := 1; stop <= 3; stop++ {
		n := 0
		fake.OnAppend(func(storagefake.Append) storagefake.Fault {
			if n++; n > stop {
				return storagefake.Fault{Err: out}
			}
			return storagefake.Fault{}
		})
		if _, err := st.WriteManifest(t.Context(), bulkyManifest(2)); !errors.Is(err, out) {
			t.Fatal(err)
		}
		fake = fake.Restart()
		st = open(t, fake)
		found, bad, err := st.List(t.Context())
		if err != nil || len(bad) > 0 || len(found) != 1 || found[0].Checkpoint != 1 {
			t.Fatalf("%d found, unreadable %v, %v", len(found), bad, err)
		}
	}
	m := bulkyManifest(2)
	m.Retained = []checkpoint.Retained{}
	if _, err := st.WriteManifest(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if found, _, err := st.List(t.Context()); err != nil || !reflect.DeepEqual(found[0].Manifest, m) {
		t.Fatalf("%d found, %v", len(found), err)
	}
}

// TestManifestsOfFormat1AreRead: with the chunks they refer to, which were never
// cut into entries.
func TestManifestsOfFormat1AreRead(t *testing.T) {
	fake := storagefake.New()
	log, err := fake.OpenLog(t.Context(), "job_j_chunks", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	chunk := noise(3 * EntryBytes)
	if _, err := log.Append(t.Context(), storage.Data, seal(mark{}.append(nil), chunk), 0); err != nil {
		t.Fatal(err)
	}
	if log, err = fake.OpenLog(t.Context(), "job_j_manifests", storage.LogOptions{}); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"format":1,"job":"j","checkpoint":7,"key_groups":1,"graph":{},"segments":{"op":[[[1,%d,%d]]]},"stats":{}}`, EntryBytes/2, 2*EntryBytes)
	if _, err := log.Append(t.Context(), storage.State, seal([]byte(text)), 0); err != nil {
		t.Fatal(err)
	}
	st := open(t, fake)
	found, bad, err := st.List(t.Context())
	if err != nil || len(bad) > 0 || len(found) != 1 || found[0].Checkpoint != 7 {
		t.Fatalf("%d found, unreadable %v, %v", len(found), bad, err)
	}
	err = st.Segments(t.Context(), found[0].Manifest, "op", 0, func(b []byte) error {
		if string(b) != string(chunk[EntryBytes/2:EntryBytes/2+2*EntryBytes]) {
			t.Errorf("%d bytes, and not those that were written", len(b))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAManifestHasALimit(t *testing.T) {
	m := manifest(1, 1)
	m.Graph = make([]byte, ManifestMax+1)
	_, err := open(t, storagefake.New()).WriteManifest(t.Context(), &m)
	if err == nil || !strings.Contains(err.Error(), "fewer key groups") {
		t.Errorf("err = %v", err)
	}
}
