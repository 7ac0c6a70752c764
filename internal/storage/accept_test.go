package storage_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/troupestream/troupe/internal/natsnode"
	"github.com/troupestream/troupe/internal/natsnode/blocks"
	"github.com/troupestream/troupe/internal/storage"
)

// Whoever accepts the loss gets a log that ends in front of the damage, and takes
// appends; what was given up is kept; and it is asked for each time.
func TestAcceptedLoss(t *testing.T) {
	live, closed := lossSource(t, "topic_t_0")
	for loss, f := range losses {
		for _, from := range []string{live, closed} {
			dir := copyDir(t, from)
			if err := f(t, streamOf(dir, "topic_t_0")); err != nil {
				t.Fatal(err)
			}
			damage := openDamaged(t, dir)
			if damage == nil {
				t.Fatalf("%s: no damage", loss)
			}
			if err := os.WriteFile(damage.Accept, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s := quietly(t, dir)
			l, err := s.OpenLog(t.Context(), "topic_t_0", storage.LogOptions{})
			if err != nil {
				t.Fatalf("%s: %v", loss, err)
			}
			b, err := l.Bounds(t.Context())
			if err != nil || b.Last != damage.Last {
				t.Fatalf("%s: the bounds are %+v, %v, whole were %d", loss, b, err, damage.Last)
			}
			if es, err := l.Read(t.Context(), 1, 1<<20); err != nil || uint64(len(es)) != damage.Last {
				t.Fatalf("%s: %d entries are left, %v", loss, len(es), err)
			}
			if _, err := l.Append(t.Context(), storage.Data, []byte("new"), b.Last); err != nil {
				t.Fatalf("%s: %v", loss, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if d := openDamaged(t, dir); d != nil {
				t.Errorf("%s: damaged again: %v", loss, d)
			}
			if _, err := os.Stat(damage.Accept); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: it stays accepted: %v", loss, err)
			}
		}
	}
}

// openDamaged opens and closes a directory, and returns what is the matter with
// the log of the topic.
func openDamaged(t *testing.T, dir string) *natsnode.Damaged {
	t.Helper()
	s := quietly(t, dir)
	defer s.Close()
	_, err := s.OpenLog(t.Context(), "topic_t_0", storage.LogOptions{})
	var d *natsnode.Damaged
	if err != nil && !errors.As(err, &d) {
		t.Fatal(err)
	}
	return d
}

// What is given up can be had back by hand.
func TestGivenUpIsKept(t *testing.T) {
	live, _ := lossSource(t, "checkpoint_job_cs")
	stream := streamOf(live, "checkpoint_job_cs")
	first := blocks.File(filepath.Join(stream, "msgs"), 1)
	if err := flipInTheMiddle(first); err != nil { // the newest is whole
		t.Fatal(err)
	}
	before := contents(t, filepath.Join(stream, "msgs"))
	if err := os.WriteFile(filepath.Join(live, "fsync", "accept-loss-of-checkpoint_job_cs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	quietly(t, live)
	kept := contents(t, filepath.Join(live, "fsync", "given-up", "checkpoint_job_cs-1"))
	same(t, before, kept)
}
