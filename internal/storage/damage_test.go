package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
)

// damaged opens a store with the logs "good" and "bad", of which bad has n
// entries, lets f damage the directory of bad, and opens the store again.
func damaged(t *testing.T, n int, f func(dir string) error) storage.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := storage.Open(t.Context(), dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"good": 3, "bad": n} {
		l, err := s.OpenLog(t.Context(), name, storage.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, err := l.Append(t.Context(), storage.Data, []byte(strings.Repeat("abc", 1000)), uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = errors.Join(s.Close(), f(filepath.Join(dir, "fsync", "jetstream", "$G", "streams", "bad")))
	if err != nil {
		t.Fatal(err)
	}
	if s, err = storage.Open(t.Context(), dir, storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	good, err := s.OpenLog(t.Context(), "good", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if es, err := good.Read(t.Context(), 1, 1<<20); err != nil || len(es) != 3 {
		t.Fatalf("the other log has %d entries, %v", len(es), err)
	}
	return s
}

func remove(file string) func(string) error {
	return func(dir string) error { return os.Remove(filepath.Join(dir, file)) }
}

func logs(t *testing.T, s storage.Store) []string {
	t.Helper()
	names, err := s.Logs(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A process that is killed while it creates a log leaves one file of two.
func TestHalfCreatedLogIsCreatedAgain(t *testing.T) {
	for _, file := range []string{"meta.sum", "meta.inf"} {
		s := damaged(t, 0, remove(file))
		if got := logs(t, s); !slices.Equal(got, []string{"good"}) {
			t.Errorf("without %s the logs are %v", file, got)
		}
		l, err := s.OpenLog(t.Context(), "bad", storage.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), storage.Data, nil, 0); err != nil {
			t.Error(err)
		}
	}
}

// A log that cannot be loaded is never taken for one that does not exist.
func TestLogThatCannotBeLoaded(t *testing.T) {
	for _, file := range []string{"meta.sum", "meta.inf"} {
		s := damaged(t, 3, remove(file))
		if got := logs(t, s); !slices.Equal(got, []string{"bad", "good"}) {
			t.Errorf("without %s the logs are %v", file, got)
		}
		if _, err := s.OpenLog(t.Context(), "bad", storage.LogOptions{}); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("without %s: %v", file, err)
		}
	}
}

// Damage in the middle of a log is an error for its reader: not a gap, not
// other data. What is before it, and behind it, can be read.
func TestDamagedEntry(t *testing.T) {
	const entries, size = 60, 256 << 10 // two blocks
	for _, block := range []string{"1.blk", "2.blk"} {
		dir := filepath.Join(t.TempDir(), "data")
		s, l := openOne(t, dir)
		for i := range entries {
			if _, err := l.Append(t.Context(), storage.Data, bytes.Repeat([]byte{byte(i)}, size), uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "fsync", "jetstream", "$G", "streams", "a", "msgs", block)
		if err := errors.Join(s.Close(), flipInTheMiddle(path)); err != nil {
			t.Fatal(err)
		}
		_, l = openOne(t, dir)
		readable, bad := 0, 0
		for next := uint64(1); next <= entries; {
			es, err := l.Read(t.Context(), next, 4<<20)
			if err != nil || len(es) == 0 {
				if !errors.Is(err, storage.ErrCorrupt) {
					t.Fatalf("from %d: %d entries, %v", next, len(es), err)
				}
				bad, next = bad+1, next+1
				continue
			}
			for _, e := range es {
				if e.Seq != next || !bytes.Equal(e.Data, bytes.Repeat([]byte{byte(next - 1)}, size)) {
					t.Fatalf("entry %d was read at %d, or is not what it was", e.Seq, next)
				}
				next, readable = next+1, readable+1
			}
		}
		if readable != entries-1 || bad != 1 {
			t.Errorf("%s: %d entries are readable, %d are not", block, readable, bad)
		}
	}
}

func openOne(t *testing.T, dir string) (storage.Store, storage.Log) {
	t.Helper()
	s, err := storage.Open(t.Context(), dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l, err := s.OpenLog(t.Context(), "a", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

func flipInTheMiddle(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o600)
}
