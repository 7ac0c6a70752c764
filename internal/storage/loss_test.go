package storage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/natsnode"
	"github.com/troupestream/troupe/internal/natsnode/blocks"
	"github.com/troupestream/troupe/internal/storage"
)

// The logs that are damaged below: entries as the log of a topic, that of a
// checkpoint's chunks and the directory of topics have them.
var lossLogs = map[string]struct {
	kind    storage.Kind
	entries int
	bytes   int
	kept    uint64 // 0: all
}{
	"topic_t_0":         {storage.Data, 300, 200, 0},
	"checkpoint_job_cs": {storage.Data, 40, 256 << 10, 0}, // two blocks
	"meta_topics":       {storage.State, 20, 120, 16},
	other:               {storage.Data, 3, 100, 0},
}

// lossEntry is what an entry of such a log holds.
func lossEntry(name string, seq uint64, n int) []byte {
	part := fmt.Appendf(nil, "%s %d ", name, seq)
	return bytes.Repeat(part, n/len(part)+1)[:n]
}

// other is a log that nothing happens to.
const other = "other"

// lossSource makes a directory with a log and another one, and returns a copy of
// it as it was when the process was killed, and one after it was closed.
func lossSource(t *testing.T, log string) (live, closed string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s := quietly(t, dir)
	for _, name := range slices.Compact([]string{log, other}) {
		l, err := s.OpenLog(t.Context(), name, storage.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c := lossLogs[name]
		for seq := range uint64(c.entries) {
			if n := seq + 1; c.kept > 0 && n > c.kept {
				if err := l.Trim(t.Context(), n-c.kept+1); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Append(t.Context(), c.kind, lossEntry(name, seq+1, c.bytes), seq); err != nil {
				t.Fatal(err)
			}
		}
		noted(t, dir, name, uint64(c.entries))
	}
	live = copyDir(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return live, dir
}

func quietly(t *testing.T, dir string) storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), dir, storage.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// noted waits until it is noted in the directory that the log was acknowledged up
// to seq: that happens in the background.
func noted(t *testing.T, dir, log string, seq uint64) {
	t.Helper()
	const slot = 256
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); goruntime.Gosched() {
		b, err := os.ReadFile(filepath.Join(dir, "fsync", "acknowledged"))
		if err != nil {
			t.Fatal(err)
		}
		for ; len(b) >= slot; b = b[slot:] {
			if string(b[24:24+min(int(b[5]), slot-24)]) == log && binary.LittleEndian.Uint64(b[8:]) == seq {
				return
			}
		}
	}
	t.Fatalf("it is not noted that %s was acknowledged up to %d", log, seq)
}

// copyDir copies a directory, from which the server may be removing what was
// deleted. Full blocks are only linked: nobody changes them.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || strings.Contains(path, "/streams/.") {
			return nil
		}
		if err != nil {
			return err
		}
		at := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			return os.Mkdir(at, 0o700)
		}
		if info, err := d.Info(); err == nil && info.Size() > 7<<20 {
			return os.Link(path, at)
		}
		b, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(at, b, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func streamOf(dir, log string) string {
	return filepath.Join(dir, "fsync", "jetstream", "$G", "streams", log)
}

// newestBlock is the path of the newest block that is not empty.
func newestBlock(t *testing.T, stream string) string {
	t.Helper()
	indexes, err := blocks.List(filepath.Join(stream, "msgs"))
	if err != nil || len(indexes) == 0 {
		t.Fatalf("%s has no blocks, %v", stream, err)
	}
	return blocks.File(filepath.Join(stream, "msgs"), indexes[len(indexes)-1])
}

func changed(f func(b []byte) []byte) func(*testing.T, string) error {
	return func(t *testing.T, stream string) error {
		path := newestBlock(t, stream)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, f(b), 0o600)
	}
}

var losses = map[string]func(t *testing.T, stream string) error{
	"bit flipped at the front":      changed(func(b []byte) []byte { b[40] ^= 1; return b }),
	"bit flipped in the middle":     changed(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }),
	"bit flipped in the last entry": changed(func(b []byte) []byte { b[len(b)-60] ^= 4; return b }),
	"length flipped in the middle":  changed(func(b []byte) []byte { b[lengthAt(b)] ^= 2; return b }),
	"last byte cut":                 changed(func(b []byte) []byte { return b[:len(b)-1] }),
	"half cut":                      changed(func(b []byte) []byte { return b[:len(b)/2] }),
	"last half zeroed":              changed(func(b []byte) []byte { clear(b[len(b)/2:]); return b }),
	"first half zeroed":             changed(func(b []byte) []byte { clear(b[:len(b)/2]); return b }),
	"emptied":                       changed(func([]byte) []byte { return nil }),
	"block removed":                 func(t *testing.T, s string) error { return os.Remove(newestBlock(t, s)) },
	"all blocks removed":            func(_ *testing.T, s string) error { return os.RemoveAll(filepath.Join(s, "msgs")) },
	"log removed":                   func(_ *testing.T, s string) error { return os.RemoveAll(s) },
}

// lengthAt is where the record in the middle of a block has its length.
func lengthAt(b []byte) int {
	at := 0
	for at < len(b)/2 {
		at += int(binary.LittleEndian.Uint32(b[at:]) &^ (1 << 31))
	}
	return at
}

// Whatever damages a log, and whether the process was killed, came to its end, or
// lost the server's index besides: it is reported as damage, by an error that
// says what to do, before a byte of the log has changed. Other logs are whole.
func TestNoLossIsSilent(t *testing.T) {
	for log := range lossLogs {
		if log == other {
			continue
		}
		live, closed := lossSource(t, log)
		for loss, f := range losses {
			t.Run(log+"/"+loss+"/killed", func(t *testing.T) { lose(t, live, log, f) })
			t.Run(log+"/"+loss+"/closed", func(t *testing.T) { lose(t, closed, log, f) })
			t.Run(log+"/"+loss+"/closed, no index", func(t *testing.T) {
				lose(t, closed, log, func(t *testing.T, stream string) error {
					return errors.Join(os.Remove(filepath.Join(stream, "msgs", "index.db")), f(t, stream))
				})
			})
		}
	}
}

// lose damages a log in a copy of a directory, and looks at it twice: it does not
// heal.
func lose(t *testing.T, from, log string, damage func(*testing.T, string) error) {
	t.Parallel()
	dir := copyDir(t, from)
	if err := damage(t, streamOf(dir, log)); err != nil {
		t.Fatal(err)
	}
	before := contents(t, streamOf(dir, log))
	for range 2 {
		s := quietly(t, dir)
		if err := readAll(t, s, other); err != nil {
			t.Error(err)
		}
		checkDamage(t, readAll(t, s, log), dir)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, before, contents(t, streamOf(dir, log)))
	}
}

// checkDamage checks the error about a damaged log of the directory.
func checkDamage(t *testing.T, err error, dir string) {
	t.Helper()
	if !errors.Is(err, storage.ErrCorrupt) || strings.Contains(err.Error(), "\n") {
		t.Errorf("err = %v", err)
		return
	}
	var d *natsnode.Damaged
	if !errors.As(err, &d) { // a reader met the damage: it says where
		if !strings.Contains(err.Error(), "entry ") {
			t.Errorf("err = %v", err)
		}
		return
	}
	for _, p := range []string{d.Log, d.File, d.Accept, "backup", "acknowledged up to"} {
		if !strings.Contains(err.Error(), p) || p == "" {
			t.Errorf("err = %v, it does not say %q", err, p)
		}
	}
	if !strings.HasPrefix(d.File, dir) || filepath.Dir(d.Accept) != filepath.Join(dir, "fsync") {
		t.Errorf("file %s, to accept %s", d.File, d.Accept)
	}
}

// readAll reads a log from its first entry to its last, and requires that it is
// what was written.
func readAll(t *testing.T, s storage.Store, name string) error {
	t.Helper()
	c := lossLogs[name]
	l, err := s.OpenLog(t.Context(), name, storage.LogOptions{})
	if err != nil {
		return err
	}
	first := uint64(1)
	if c.kept > 0 {
		first = uint64(c.entries) + 1 - c.kept
	}
	next := first
	for {
		es, err := l.Read(t.Context(), next, 4<<20)
		if err != nil {
			return err
		}
		if len(es) == 0 {
			break
		}
		for _, e := range es {
			if e.Seq != next || !bytes.Equal(e.Data, lossEntry(name, next, c.bytes)) {
				t.Fatalf("%s: entry %d was read at %d", name, e.Seq, next)
			}
			next++
		}
	}
	if next != uint64(c.entries)+1 {
		t.Fatalf("%s ends at %d without an error", name, next-1)
	}
	return nil
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, b := range before {
		if a, ok := after[path]; !ok || a != b {
			t.Errorf("%s has changed, from %d bytes to %d", path, len(b), len(a))
		}
	}
	if len(after) != len(before) {
		t.Errorf("there were %d files, there are %d", len(before), len(after))
	}
}

// What a kill leaves is no damage: whole logs, with what was being written.
func TestKilledLogsOpen(t *testing.T) {
	for _, log := range []string{"topic_t_0", "meta_topics"} {
		live, _ := lossSource(t, log)
		for what, f := range map[string]func(b []byte) []byte{
			"nothing more":         func(b []byte) []byte { return b },
			"half an entry":        func(b []byte) []byte { return append(b, b[:lengthAt(b[:100])/2]...) },
			"the head of an entry": func(b []byte) []byte { return append(b, b[:10]...) },
			"zeros":                func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
		} {
			dir := copyDir(t, live)
			if err := changed(f)(t, streamOf(dir, log)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				s := quietly(t, dir)
				if err := errors.Join(readAll(t, s, log), readAll(t, s, other), s.Close()); err != nil {
					t.Errorf("%s, %s: %v", log, what, err)
				}
			}
		}
	}
}

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

// A log that was deleted is not missed, and one of its name begins anew.
func TestDeletedLogIsNotMissed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := quietly(t, dir)
	for round := range 3 {
		l, err := s.OpenLog(t.Context(), "a", storage.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(5 - round) {
			if _, err := l.Append(t.Context(), storage.Data, []byte("x"), seq); err != nil {
				t.Fatal(err)
			}
		}
		noted(t, dir, "a", uint64(5-round))
		if err := readKilled(t, copyDir(t, dir), 5-round); err != nil {
			t.Error(err)
		}
		if err := s.DeleteLog(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := readKilled(t, copyDir(t, dir), 0); err != nil {
			t.Error(err)
		}
	}
}

func readKilled(t *testing.T, dir string, want int) error {
	t.Helper()
	s := quietly(t, dir)
	defer s.Close()
	l, err := s.OpenLog(t.Context(), "a", storage.LogOptions{})
	if err != nil {
		return err
	}
	if es, err := l.Read(t.Context(), 1, 1<<20); err != nil || len(es) != want {
		return fmt.Errorf("%d entries, want %d: %w", len(es), want, err)
	}
	return nil
}

// Trims of all sizes, with a kill after each, leave nothing that looks damaged.
func TestTrimmedLogsOpenAfterKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, l := openOne(t, dir)
	last := uint64(0)
	for _, trim := range []uint64{1, 5, 30, 31, 200, 201, 400} {
		for ; last < trim; last++ {
			if _, err := l.Append(t.Context(), storage.Data, bytes.Repeat([]byte{1}, 50<<10), last); err != nil {
				t.Fatal(err)
			}
		}
		for _, before := range []uint64{trim, trim + 1} { // all but the last, and all
			if err := l.Trim(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			noted(t, dir, "a", last)
			if err := readKilled(t, copyDir(t, dir), int(trim+1-before)); err != nil {
				t.Fatalf("%d entries, dropped below %d: %v", last, before, err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The format of the blocks is that of one version of the server. When an update
// changes it, this fails.
func TestBlocksAreWhatTheServerWrites(t *testing.T) {
	for name, c := range lossLogs {
		_, dir := lossSource(t, name)
		held, err := blocks.Check(streamOf(dir, name), name)
		if err != nil || held.Damage != nil || held.Torn != nil || held.Last != uint64(c.entries) || held.First == 0 {
			t.Errorf("%s: %+v, %v", name, held, err)
		}
	}
	_, dir := lossSource(t, "meta_topics")
	path := newestBlock(t, streamOf(dir, "meta_topics"))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := range b {
		_, err := f.WriteAt([]byte{b[at] ^ 1<<(at%8)}, int64(at))
		held, checkErr := blocks.Check(streamOf(dir, "meta_topics"), "meta_topics")
		if err = errors.Join(err, checkErr); err != nil || held.Damage == nil && held.Torn == nil {
			t.Fatalf("bit %d of byte %d was flipped unnoticed, %v", at%8, at, err)
		}
		if _, err := f.WriteAt(b[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}
