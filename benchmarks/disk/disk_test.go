package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestAppend(t *testing.T) {
	for _, sync := range []bool{false, true} {
		dir := t.TempDir()
		got, err := Append(t.Context(), dir, make([]byte, 1000), 20, sync)
		if err != nil {
			t.Fatal(err)
		}
		if got.Bytes != 20_000 || len(got.Writes) != 20 || got.Wall <= 0 || got.BytesPerS() <= 0 {
			t.Errorf("timing %+v", got)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

func TestProbe(t *testing.T) {
	got, err := Probe(t.Context(), t.TempDir())
	if err != nil || len(got.Writes) != 300 || got.Bytes != 300*4096 {
		t.Errorf("%d writes, %d bytes, %v", len(got.Writes), got.Bytes, err)
	}
}

func TestAppendFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := Append(t.Context(), filepath.Join(dir, "missing"), nil, 1, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Append(stopped, dir, make([]byte, 10), 5, true); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if took, err := f.Append(t.Context(), []byte("twelve bytes"), true); err != nil || took <= 0 {
			t.Errorf("took %v, %v", took, err)
		}
	}
	if info, err := f.f.Stat(); err != nil || info.Size() != 36 {
		t.Errorf("size %v, %v", info, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := f.Append(t.Context(), []byte("more"), false); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestDatasyncReportsErrors(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if datasync(f) == nil {
		t.Error("a closed file was synced")
	}
}
