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
	"github.com/troupestream/troupe/internal/natsnode/blocks/blockstest"
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
		if err = copyFile(path, at, d); errors.Is(err, fs.ErrNotExist) {
			return nil // the server is about to put another in its place
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func copyFile(from, to string, d fs.DirEntry) error {
	if info, err := d.Info(); err == nil && info.Size() > 7<<20 {
		return os.Link(from, to)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
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
			t.Run(log+"/"+loss+"/killed", func(t *testing.T) { lose(t, 2, live, log, f) })
			t.Run(log+"/"+loss+"/closed", func(t *testing.T) { lose(t, 1, closed, log, f) })
			t.Run(log+"/"+loss+"/closed, no index", func(t *testing.T) {
				lose(t, 1, closed, log, func(t *testing.T, stream string) error {
					return errors.Join(os.Remove(filepath.Join(stream, "msgs", "index.db")), f(t, stream))
				})
			})
		}
	}
}

// lose damages a log in a copy of a directory, and looks at it some times: it does
// not heal.
func lose(t *testing.T, times int, from, log string, damage func(*testing.T, string) error) {
	t.Parallel()
	dir := copyDir(t, from)
	if err := damage(t, streamOf(dir, log)); err != nil {
		t.Fatal(err)
	}
	before := contents(t, streamOf(dir, log))
	for range times {
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
	for _, p := range []string{d.Log, d.File, d.Accept, "backup", "nothing was changed"} {
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

// A log that was closed in good order is not read when it is opened. A block
// whose lengths are damaged, which the server would cut as soon as it loads it,
// is kept from it when an entry of it is asked for. The others can be read, also
// those in front of it.
func TestDamagedBlockIsKeptFromTheServer(t *testing.T) {
	const entries, size = 24, 1 << 20
	dir := oldLog(t, entries, size)
	second := blocks.File(filepath.Join(streamOf(dir, "a"), "msgs"), 2)
	bad, err := blocks.First(second)
	if err != nil || bad != 7 {
		t.Fatalf("the second block begins with %d, %v", bad, err)
	}
	b, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	b[lengthAt(b)] ^= 2
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(second, b, 0o600), os.Chtimes(second, old, old)); err != nil {
		t.Fatal(err)
	}
	_, l := openOne(t, dir)
	readable := 0
	for from := uint64(1); from <= entries; {
		es, err := l.Read(t.Context(), from, 32<<20)
		if err != nil || len(es) == 0 {
			checkDamage(t, err, dir)
			from++
			continue
		}
		for _, e := range es {
			if e.Seq != from || e.Data[0] != byte(from-1) {
				t.Fatalf("entry %d was read at %d", e.Seq, from)
			}
			from, readable = from+1, readable+1
		}
	}
	if readable != entries-6 {
		t.Errorf("%d entries are readable", readable)
	}
	if err := l.Trim(t.Context(), bad+1); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("trim within the block: %v", err)
	}
	after, err := os.ReadFile(second)
	if err != nil || !bytes.Equal(after, b) {
		t.Errorf("the block has changed, from %d bytes to %d, %v", len(b), len(after), err)
	}
}

// oldLog makes a directory that was closed in good order, with a log "a" of four
// blocks that were written long ago: the server loads by itself what is new.
func oldLog(t *testing.T, entries uint64, size int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s, _ := openOne(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	for i := range uint64(4) {
		var b []byte
		for n := range entries / 4 {
			seq := i*entries/4 + n + 1
			b = blockstest.Message(b, "a", int(i)+1, seq, bytes.Repeat([]byte{byte(seq - 1)}, size))
		}
		files = append(files, blocks.File(filepath.Join(streamOf(dir, "a"), "msgs"), uint32(i)+1))
		if err := os.WriteFile(files[i], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _ = openOne(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, f := range files {
		if err := os.Chtimes(f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	return dir
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
