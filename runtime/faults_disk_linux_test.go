package runtime_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// smallDisk mounts a file system of 96 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("a small disk cannot be mounted, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestAFullDiskLosesNothing lets a job run until the disk is full, makes room,
// and lets it go on.
func TestAFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	const n, size, ballastBytes = 3000, 4096, 48 << 20
	disk := smallDisk(t)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, ballastBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	type big struct {
		ID  int64
		Pad string
	}
	pad := strings.Repeat("x", size)
	run := func() (runtime.Report, error) {
		b := topology.New("full")
		in := topology.From(b, "in", sources.Generator(func(i int64) big { return big{i, pad} }, sources.Count(n)))
		topology.To(in, "out", sinks.Topic(topics.Of[big]("big")))
		return runtime.Run(within(t), b, runtime.DataDir(filepath.Join(disk, "data")), runtime.ExactlyOnce(), runtime.Logger(quiet),
			runtime.CheckpointEvery(0), runtime.Restarts(2, 0))
	}
	_, err := run()
	if !errors.Is(err, storage.ErrFull) || !strings.Contains(err.Error(), "out of space") {
		t.Fatalf("err = %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if report, err := run(); err != nil || !report.Finished {
		t.Fatalf("%+v %v", report, err)
	}
	e := openFaults(t, disk)
	defer closeEngine(t, e)
	seen := map[int64]int{}
	last := int64(-1)
	readTopic(t, e, "big", func(_ int, offset int64, v big) {
		seen[v.ID]++
		if v.ID != last+1 {
			t.Errorf("offset %d holds record %d, behind record %d", offset, v.ID, last)
		}
		last = v.ID
	})
	if len(seen) != n {
		t.Errorf("%d records of %d", len(seen), n)
	}
	for id, times := range seen {
		if times != 1 {
			t.Fatalf("record %d is there %d times", id, times)
		}
	}
}
