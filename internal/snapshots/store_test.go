package snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func open(t interface{ Fatal(...any) }, s storage.Store) *Store {
	st, err := Open(context.Background(), s, "j")
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func manifest(n uint64, groups int) checkpoint.Manifest {
	return checkpoint.Manifest{Job: "j", Checkpoint: n, KeyGroups: groups, Graph: []byte("{}")}
}

func TestAnOlderIncarnationCanAddNothing(t *testing.T) {
	ctx, s := t.Context(), storagefake.New()
	old := open(t, s)
	young := open(t, s)
	if young.Incarnation() <= old.Incarnation() {
		t.Fatalf("incarnation %d after %d", young.Incarnation(), old.Incarnation())
	}
	m := manifest(1, 1)
	if _, err := old.WriteManifest(ctx, &m); !errors.Is(err, storage.ErrFenced) {
		t.Fatalf("a zombie's manifest: %v", err)
	}
	if _, err := old.WriteChunk(ctx, []byte("x")); !errors.Is(err, storage.ErrFenced) {
		t.Fatalf("a zombie's chunk: %v", err)
	}
	if _, err := young.WriteManifest(ctx, &m); err != nil {
		t.Fatal(err)
	}
}

func TestListSaysWhatCannotBeReadAndGoesOn(t *testing.T) {
	ctx, s := t.Context(), storagefake.New()
	st := open(t, s)
	var retained []checkpoint.Retained
	for n := uint64(1); n <= 3; n++ {
		m := manifest(n, 1)
		m.Retained = retained
		kept, err := st.WriteManifest(ctx, &m)
		if err != nil {
			t.Fatal(err)
		}
		retained = append(retained, kept)
	}
	newest := retained[2].Seq
	for name, spoil := range map[string]func([]byte) []byte{
		"flipped":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"empty":     func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			copied := s.Restart()
			defer func() { s = copied.Restart() }()
			if err := copied.Corrupt("job_j_manifests", newest, spoil); err != nil {
				t.Fatal(err)
			}
			found, bad, err := open(t, copied).List(ctx)
			if err != nil || len(found) != 2 || found[0].Checkpoint != 2 || len(bad) != 1 || !errors.Is(bad[0], storage.ErrCorrupt) {
				t.Fatalf("%d found, unreadable %v, %v", len(found), bad, err)
			}
		})
		s = storagefake.New()
		st = open(t, s)
		retained = nil
		for n := uint64(1); n <= 3; n++ {
			m := manifest(n, 1)
			m.Retained = retained
			kept, _ := st.WriteManifest(ctx, &m)
			retained = append(retained, kept)
		}
		newest = retained[2].Seq
	}
}

func TestANewerFormatIsRefusedInWords(t *testing.T) {
	ctx, s := t.Context(), storagefake.New()
	st := open(t, s)
	m := manifest(1, 1)
	m.Format = checkpoint.Format + 1
	if _, err := st.WriteManifest(ctx, &m); err != nil {
		t.Fatal(err)
	}
	_, _, err := st.List(ctx)
	if !errors.Is(err, checkpoint.ErrFormat) || !strings.Contains(err.Error(), "use the release that wrote it") {
		t.Fatal(err)
	}
}

func TestACorruptChunkIsAnError(t *testing.T) {
	ctx, s := t.Context(), storagefake.New()
	st := open(t, s)
	seq, err := st.WriteChunk(ctx, []byte("0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	read := func(r checkpoint.Ref) error {
		m := checkpoint.Next(nil, manifest(1, 1), []checkpoint.Part{{Segments: []checkpoint.Segment{{Node: "op", Ref: r}}}})
		return st.Segments(ctx, m, "op", 0, func([]byte) error { return nil })
	}
	if err := read(checkpoint.Ref{Seq: seq, Offset: 3, Length: 4}); err != nil {
		t.Fatal(err)
	}
	if err := read(checkpoint.Ref{Seq: seq, Offset: 8, Length: 4}); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("past the end: %v", err)
	}
	if err := read(checkpoint.Ref{Seq: seq + 1, Length: 1}); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("a chunk that is not there: %v", err)
	}
	st.ReleaseCache()
	if err := s.Corrupt("job_j_chunks", seq, func(b []byte) []byte { b[7] ^= 0x10; return b }); err != nil {
		t.Fatal(err)
	}
	if err := read(checkpoint.Ref{Seq: seq, Offset: 3, Length: 4}); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("a flipped bit: %v", err)
	}
}

// world is a job's state in the plain, and what the store makes of it.
type world struct {
	*rapid.T
	fake     *storagefake.Store
	st       *Store
	state    map[string]string // by key; its first byte is the key group
	m        *checkpoint.Manifest
	retained []checkpoint.Retained
	replaced []checkpoint.Replacement
}

const worldGroups = 3

// Through any run of checkpoints, mergers, removals and restarts, what the
// newest checkpoint restores is the state at that moment.
func TestTidyingKeepsTheState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, fake: storagefake.New(), state: map[string]string{}}
		w.st = open(t, w.fake)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.checkpoint()
			if rapid.Bool().Draw(t, "tidy") {
				w.tidy()
			}
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				w.fake = w.fake.Restart()
				w.st = open(t, w.fake)
				w.replaced = nil
			}
			w.check()
		}
	})
}

func (w *world) checkpoint() {
	var p checkpoint.Part
	var data []byte
	for g := range worldGroups {
		var segment []byte
		for range rapid.IntRange(0, 3).Draw(w.T, "changes") {
			key := fmt.Sprint(g, rapid.IntRange(0, 5).Draw(w.T, "key"))
			if rapid.IntRange(0, 3).Draw(w.T, "delete") == 0 {
				delete(w.state, key)
				segment = dataflow.AppendDeletion(segment, []byte(key))
			} else {
				v := rapid.StringN(0, 8, 20).Draw(w.T, "value")
				w.state[key] = v
				segment = dataflow.AppendEntry(segment, []byte(key), []byte(v))
			}
		}
		p.Segments = append(p.Segments, checkpoint.Segment{Node: "op", Group: g, Ref: checkpoint.Ref{Offset: len(data), Length: len(segment)}})
		data = append(data, segment...)
	}
	seq, err := w.st.WriteChunk(context.Background(), data)
	w.ok(err)
	for i := range p.Segments {
		p.Segments[i].Ref.Seq = seq
	}
	n := uint64(1)
	if w.m != nil {
		n = w.m.Checkpoint + 1
	}
	head := manifest(n, worldGroups)
	head.Retained = w.retained
	w.m = checkpoint.Next(w.m, head, []checkpoint.Part{p})
	w.m.Replace(w.replaced)
	w.replaced = nil
	kept, err := w.st.WriteManifest(context.Background(), w.m)
	w.ok(err)
	w.retained = append(w.retained, kept)
	w.retained = w.retained[max(0, len(w.retained)-2):]
}

func (w *world) tidy() {
	oldest := w.retained[0]
	for _, r := range w.retained {
		oldest.Chunk = min(oldest.Chunk, r.Chunk)
	}
	replaced, err := w.st.Tidy(context.Background(), w.m, oldest)
	w.ok(err)
	w.replaced = replaced
}

func (w *world) check() {
	found, bad, err := w.st.List(context.Background())
	w.ok(err)
	if len(bad) > 0 || len(found) == 0 || found[0].Checkpoint != w.m.Checkpoint {
		w.Fatalf("found %v, unreadable %v", found, bad)
	}
	got := map[string]string{}
	for g := range worldGroups {
		w.ok(w.st.Segments(context.Background(), found[0].Manifest, "op", g, func(b []byte) error {
			return dataflow.EachEntry(b, func(e dataflow.Entry) error {
				if e.Deleted {
					delete(got, string(e.Key))
				} else {
					got[string(e.Key)] = string(bytes.Clone(e.Value))
				}
				return nil
			})
		}))
		if n := len(found[0].Segments["op"][g]); n > SegmentsMax+60 {
			w.Fatalf("group %d has grown to %d segments", g, n)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(w.state) {
		w.Fatalf("restored %v\nwant %v", got, w.state)
	}
}

func (w *world) ok(err error) {
	if err != nil {
		w.Fatal(err)
	}
}
