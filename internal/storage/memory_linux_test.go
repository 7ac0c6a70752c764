package storage_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
)

// residentMiB is the resident memory of this process.
func residentMiB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Fscan(bytes.NewReader(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * os.Getpagesize() >> 20
}

// The server keeps the newest block of a log in memory for ten seconds when
// somebody reads from it, and with a fast writer that meant gigabytes.
func TestMemoryStaysFlatBehindAFastWriter(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's own memory would be measured")
	}
	s, err := storage.Open(t.Context(), filepath.Join(t.TempDir(), "data"), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := s.OpenLog(t.Context(), "a", storage.LogOptions{Durability: storage.Interval})
	if err != nil {
		t.Fatal(err)
	}
	const entries = 3000
	data := make([]byte, 256<<10)
	appended, before, peak := make(chan struct{}, 1), residentMiB(t), 0
	go func() {
		defer close(appended)
		for seq := range uint64(entries) {
			if _, err := l.Append(t.Context(), storage.Data, data, seq); err != nil {
				t.Error(err)
				return
			}
			select {
			case appended <- struct{}{}:
			default:
			}
		}
	}()
	for next := uint64(1); next <= entries; {
		es, err := l.Read(t.Context(), next, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		next += uint64(len(es))
		peak = max(peak, residentMiB(t))
		if len(es) == 0 {
			if _, more := <-appended; !more && t.Failed() {
				return
			}
		}
	}
	t.Logf("resident memory rose from %d to %d MiB while %d MiB went through", before, peak, entries/4)
	if peak > before+200 {
		t.Errorf("resident memory rose from %d to %d MiB", before, peak)
	}
}
