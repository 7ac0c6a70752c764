package sinks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupestream/troupe/topology"
)

func open[T any](t *testing.T, s topology.Sink[T], o topology.SinkOpen) topology.SinkWriter[T] {
	t.Helper()
	w, err := s.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func put[T any](t *testing.T, w topology.SinkWriter[T], values ...T) {
	t.Helper()
	if err := w.Write(t.Context(), &topology.Batch[T]{Values: values}); err != nil {
		t.Fatal(err)
	}
}

func prepare[T any](t *testing.T, w topology.SinkWriter[T]) []byte {
	t.Helper()
	state, err := w.Prepare(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func requireFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

// requireRefused requires one sentence with all the parts, and an untouched file.
func requireRefused(t *testing.T, s topology.Sink[string], o topology.SinkOpen, parts ...string) error {
	t.Helper()
	w, err := s.Open(t.Context(), o)
	if err == nil {
		w.Close()
		t.Fatalf("the sink was opened with %+v", o)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
	return err
}

func TestFirstStartBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := open(t, Lines(path), topology.SinkOpen{})
	requireFile(t, path, "")
	put(t, w, "new")
	w.Close()
	requireFile(t, path, "new\n")

	open(t, Lines(path), topology.SinkOpen{Resumed: true}).Close() // the checkpoint did not know the sink
	requireFile(t, path, "")
}

func TestResumeCutsOffWhatWasNotCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	w := open(t, Lines(path), topology.SinkOpen{})
	put(t, w, "kept")
	state := prepare(t, w)
	put(t, w, "dropped")
	w.Close()
	requireFile(t, path, "kept\ndropped\n")

	w = open(t, Lines(path), topology.SinkOpen{Resumed: true, States: [][]byte{state}})
	requireFile(t, path, "kept\n")
	put(t, w, "again")
	w.Close()
	requireFile(t, path, "kept\nagain\n")
}

func TestChangedOutputIsRefused(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){
		"differently": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("other\nfile\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"has 3 bytes and had at least 5": func(t *testing.T, path string) {
			if err := os.Truncate(path, 3); err != nil {
				t.Fatal(err)
			}
		},
		"is gone": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.txt")
			w := open(t, Lines(path), topology.SinkOpen{})
			put(t, w, "kept")
			state := prepare(t, w)
			w.Close()
			change(t, path)
			before, _ := os.ReadFile(path)
			requireRefused(t, Lines(path), topology.SinkOpen{Sink: "out", Resumed: true, States: [][]byte{state}},
				path, name, "put", "start the job afresh")
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Errorf("the file was changed from %q to %q", before, after)
			}
		})
	}
}

func TestForeignStateIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	for _, states := range [][][]byte{{[]byte("x")}, {[]byte(`{"bytes":-1}`)}, {[]byte(`{"other":1}`)}, {[]byte(`{"bytes":0}`), []byte(`{"bytes":0}`)}} {
		requireRefused(t, Lines(path), topology.SinkOpen{Resumed: true, States: states}, path, "start the job afresh")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file was created: %v", err)
	}
}

func TestPathsThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing", "out.txt")
	err := requireRefused(t, Lines(missing), topology.SinkOpen{Sink: "out"}, "does not exist; create "+filepath.Dir(missing)+" first")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	requireRefused(t, Lines(dir), topology.SinkOpen{}, dir+" is not a regular file")
	requireRefused(t, Lines(""), topology.SinkOpen{}, "it has no path")
	requireRefused(t, Lines(filepath.Join(dir, "out")), topology.SinkOpen{Tasks: 2}, "set its parallelism to 1")
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		requireRefused(t, Lines(filepath.Join(dir, "out")), topology.SinkOpen{}, "cannot be written", "permission denied")
	}
}

func TestOneFileHasOneSink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "out.txt"), filepath.Join(dir, "link.txt")
	w := open(t, Lines(path), topology.SinkOpen{Job: "job", Sink: "one"})
	put(t, w, "one")
	prepare(t, w)
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		requireRefused(t, Lines(p), topology.SinkOpen{Job: "job", Sink: "two"}, p, `sink "one" of job "job"`, "a file of its own")
	}
	requireFile(t, path, "one\n")

	w.Close()
	open(t, Lines(link), topology.SinkOpen{Job: "job", Sink: "two"})
}

// A writer that was left behind by a start of the job that failed must not
// write between the lines of its successor.
func TestOldWriterIsFenced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	old := open(t, Lines(path), topology.SinkOpen{Job: "job", Sink: "out"})
	put(t, old, "old")
	w := open(t, Lines(path), topology.SinkOpen{Job: "job", Sink: "out"})
	put(t, w, "new")
	if err := old.Write(t.Context(), &topology.Batch[string]{Values: []string{"old"}}); err == nil {
		t.Error("the old writer still writes")
	}
	if _, err := old.Prepare(t.Context(), 1); err == nil {
		t.Error("the old writer still takes checkpoints")
	}
	old.Close()
	w.Close()
	requireFile(t, path, "new\n")
}

func TestFailedWriteIsFinal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.txt")
	w := open(t, Lines(path), topology.SinkOpen{})
	put(t, w, "line")
	w.(*fileWriter[string]).file.Close() // whatever is written from now on fails
	_, err := w.Prepare(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), "not committed") {
		t.Fatalf("got %v", err)
	}
	if again := w.Write(t.Context(), &topology.Batch[string]{Values: []string{"x"}}); again != err {
		t.Errorf("after %v, Write returned %v", err, again)
	}
}

func TestTypesThatCSVCannotHold(t *testing.T) {
	type nested struct{ Inner struct{ A int } }
	_, err := CSV[nested](filepath.Join(t.TempDir(), "out.csv")).Open(t.Context(), topology.SinkOpen{Sink: "out"})
	if err == nil || !strings.Contains(err.Error(), "field Inner") {
		t.Errorf("got %v", err)
	}
	_, err = CSV[struct{ A int }]("x", Comma('"')).Open(t.Context(), topology.SinkOpen{})
	if err == nil || !strings.Contains(err.Error(), "cannot separate") {
		t.Errorf("got %v", err)
	}
}

func TestSliceInAnotherProcessIsRefused(t *testing.T) {
	first := Slice[int]()
	w := open(t, first, topology.SinkOpen{Tasks: 1, Incarnation: 1})
	put(t, w, 1, 2)
	state := prepare(t, w)
	_, err := Slice[int]().Open(t.Context(), topology.SinkOpen{Sink: "all", Tasks: 1, Incarnation: 2, Resumed: true, States: [][]byte{state}})
	if err == nil || !strings.Contains(err.Error(), "lives in memory") {
		t.Errorf("got %v", err)
	}
}
