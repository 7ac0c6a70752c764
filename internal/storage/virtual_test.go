package storage_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/natsnode"
	"github.com/troupestream/troupe/internal/storage"
)

const inBubble = "TROUPE_TEST_BUBBLE"

// The whole store runs in virtual time, so that what stands on it can be tested
// over days. The test has a process of its own: nats.go shares timers among all
// connections of a process, and a bubble must not meet those of another.
func TestRunsInVirtualTime(t *testing.T) {
	if os.Getenv(inBubble) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		child := exec.CommandContext(t.Context(), exe, "-test.run=^TestRunsInVirtualTime$", "-test.timeout=60s")
		child.Env = append(os.Environ(), inBubble+"=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	defer natsnode.KeepClock()()
	dir := filepath.Join(t.TempDir(), "data")
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		for day := range uint64(3) {
			s, err := storage.Open(t.Context(), dir, storage.Options{SyncInterval: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			for name, d := range childLogs {
				l, err := s.OpenLog(t.Context(), name, storage.LogOptions{Durability: d})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := l.Append(t.Context(), storage.Data, []byte("x"), day); err != nil {
					t.Fatal(err)
				}
				time.Sleep(8 * time.Hour)
				if es, err := l.Read(t.Context(), 1, 100); err != nil || len(es) != int(day)+1 {
					t.Fatalf("%d entries, %v", len(es), err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begin); d < 72*time.Hour {
			t.Errorf("only %s went by", d)
		}
	})
}
