package storage_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage"
)

// smallDisk mounts a file system of 64 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

type fullDisk struct {
	t       *testing.T
	s       storage.Store
	l       storage.Log
	entry   []byte
	acked   uint64 // entries acknowledged
	ballast string
}

func openOn(t *testing.T, disk string, reserve int64) *fullDisk {
	t.Helper()
	s, err := storage.Open(t.Context(), filepath.Join(disk, "data"), storage.Options{
		ReserveBytes: reserve, Timeout: 20 * time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := &fullDisk{t: t, s: s, entry: bytes.Repeat([]byte("0123456789abcdef"), 16<<10), ballast: filepath.Join(disk, "ballast")}
	d.reopen()
	return d
}

func (d *fullDisk) reopen() {
	d.t.Helper()
	var err error
	if d.l, err = d.s.OpenLog(d.t.Context(), "a", storage.LogOptions{}); err != nil {
		d.t.Fatal(err)
	}
}

// fill appends until something goes wrong, and returns what.
func (d *fullDisk) fill() error {
	for range 1000 {
		if _, err := d.l.Append(d.t.Context(), storage.Data, d.entry, d.acked); err != nil {
			return err
		}
		d.acked++
	}
	d.t.Fatal("the disk took more than it can hold")
	return nil
}

// intact requires that all that was acknowledged is there, and says how much is.
func (d *fullDisk) intact() {
	d.t.Helper()
	next := uint64(1)
	for {
		es, err := d.l.Read(d.t.Context(), next, 4<<20)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(es) == 0 {
			break
		}
		for _, e := range es {
			if e.Seq != next || !bytes.Equal(e.Data, d.entry) {
				d.t.Fatalf("entry %d was read as %d", next, e.Seq)
			}
			next++
		}
	}
	if next-1 < d.acked {
		d.t.Fatalf("%d entries are left of %d", next-1, d.acked)
	}
	d.acked = next - 1
}

// fillDisk writes to the file until nothing fits any more.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func TestFullDiskRefusesAndHeals(t *testing.T) {
	d := openOn(t, smallDisk(t), 8<<20)
	for range 3 {
		if err := d.fill(); !errors.Is(err, storage.ErrFull) {
			t.Fatalf("err = %v", err)
		}
	}
	d.intact()
	before := d.acked
	if err := d.l.Trim(t.Context(), d.acked-10); err != nil {
		t.Fatal(err)
	}
	if err := d.fill(); !errors.Is(err, storage.ErrFull) || d.acked < before+10 {
		t.Fatalf("after trimming %d more were taken, then: %v", d.acked-before, err)
	}
}

// A disk without a single free byte: the store opens, reads and lists; it takes
// nothing, and goes on when there is room.
func TestOpensOnAFullDisk(t *testing.T) {
	disk := smallDisk(t)
	d := openOn(t, disk, 8<<20)
	if err := d.fill(); !errors.Is(err, storage.ErrFull) {
		t.Fatal(err)
	}
	if err := d.s.Close(); err != nil {
		t.Fatal(err)
	}
	ballast := d.ballast
	fillDisk(t, ballast)
	acked := d.acked
	d = openOn(t, disk, 8<<20)
	d.acked = acked
	d.intact()
	if _, err := d.l.Append(t.Context(), storage.Data, d.entry, d.acked); !errors.Is(err, storage.ErrFull) {
		t.Fatal(err)
	}
	if _, err := d.s.OpenLog(t.Context(), "b", storage.LogOptions{}); !errors.Is(err, storage.ErrFull) {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := d.l.Trim(t.Context(), d.acked); err != nil {
		t.Fatal(err)
	}
	if _, err := d.l.Append(t.Context(), storage.Data, d.entry, d.acked); err != nil {
		t.Fatal(err)
	}
}

// Something else fills the disk behind the store's back, so that the server
// itself meets the error. It gives no answer and takes no more; the store
// notices, and works again when there is room, without a restart of the process.
func TestWriteErrorHeals(t *testing.T) {
	disk := smallDisk(t)
	d := openOn(t, disk, -1)
	if _, err := d.l.Append(t.Context(), storage.Data, d.entry, 0); err != nil {
		t.Fatal(err)
	}
	d.acked = 1
	for round := range 3 {
		fillDisk(t, d.ballast)
		err := d.fill()
		if !errors.Is(err, storage.ErrUnknown) {
			t.Fatalf("err = %v", err)
		}
		if err := os.Remove(d.ballast); err != nil {
			t.Fatal(err)
		}
		d.reopen()
		d.intact()
		if _, err := d.l.Append(t.Context(), storage.Epoch, d.entry, d.acked); err != nil {
			t.Fatalf("round %d, after making room: %v", round, err)
		}
		d.acked++
	}
}
