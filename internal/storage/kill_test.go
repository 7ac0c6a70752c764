package storage_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
)

// A child process appends to three logs and says what was acknowledged; the
// test kills it in the middle, again and again, and looks for what is missing.

const childDir = "TROUPE_TEST_APPEND_TO"

// trimmedLog is the one of them that is trimmed again and again, mostly to where
// it was trimmed before, and sometimes to its end.
const trimmedLog = "b"

var childLogs = map[string]storage.Durability{"a": storage.Fsync, "b": storage.Fsync, "c": storage.Interval}

func entryOf(log string, seq uint64) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%s%d,", log, seq)), 1+int(seq*7919%3000))
}

// childMain is the child, when this process is one.
func childMain() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	if err := appendForEver(dir); err != nil {
		fmt.Println("failed:", err)
	}
	return true
}

func appendForEver(dir string) error {
	ctx := context.Background()
	s, err := storage.Open(ctx, dir, storage.Options{})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for name, d := range childLogs {
		l, err := s.OpenLog(ctx, name, storage.LogOptions{Durability: d})
		if err != nil {
			return err
		}
		b, err := l.Bounds(ctx)
		if err != nil {
			return err
		}
		go func() { failed <- appendTo(ctx, l, b.Last) }()
	}
	return <-failed
}

// appendTo says that an entry was acknowledged before it appends the next: so
// what was stored and not said is one entry at most.
func appendTo(ctx context.Context, l storage.Log, last uint64) error {
	for ; ; last++ {
		if _, err := l.Append(ctx, storage.Data, entryOf(l.Name(), last+1), last); err != nil {
			return err
		}
		if _, err := fmt.Printf("%s %d\n", l.Name(), last+1); err != nil {
			return err
		}
		if n := last + 1; l.Name() == trimmedLog && n%10 == 0 {
			if err := l.Trim(ctx, n-n%30); err != nil {
				return err
			}
		}
	}
}

func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	acked := map[string]uint64{}
	for round := range 6 {
		runChild(t, dir, 40+round*37, acked)
		verify(t, dir, acked)
	}
	for name := range childLogs {
		if acked[name] == 0 {
			t.Errorf("the child appended nothing to %s", name)
		}
	}
}

// runChild kills the child after it acknowledged n appends, and takes down all
// that it acknowledged before it died.
func runChild(t *testing.T, dir string, n int, acked map[string]uint64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), exe)
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for ; lines.Scan(); n-- {
		var name string
		var seq uint64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d", &name, &seq); err != nil {
			if n > 0 {
				t.Fatalf("the child says %q", lines.Text())
			}
			break // a line that the kill cut off
		}
		if seq != acked[name]+1 {
			t.Fatalf("entry %d of %s was acknowledged after %d", seq, name, acked[name])
		}
		acked[name] = seq
		if n == 1 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	if n > 0 {
		t.Fatalf("the child ended %s appends early", strconv.Itoa(n))
	}
}

// verify reads everything. An entry that was stored but not acknowledged may
// be there, one at most: appends were made one at a time.
func verify(t *testing.T, dir string, acked map[string]uint64) {
	t.Helper()
	s, err := storage.Open(t.Context(), dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, d := range childLogs {
		l, err := s.OpenLog(t.Context(), name, storage.LogOptions{Durability: d})
		if err != nil {
			t.Fatal(err)
		}
		begin, err := l.Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next := begin.First
		if next > 1 && name != trimmedLog || next > acked[name]+1 {
			t.Fatalf("%s begins at %d", name, next)
		}
		for {
			es, err := l.Read(t.Context(), next, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(es) == 0 {
				break
			}
			for _, e := range es {
				if e.Seq != next || !bytes.Equal(e.Data, entryOf(name, next)) {
					t.Fatalf("entry %d of %s is %d %.20q", next, name, e.Seq, e.Data)
				}
				next++
			}
		}
		b, err := l.Bounds(t.Context())
		if err != nil || b.Last != next-1 {
			t.Fatalf("%s was read up to %d, its bounds are %+v, %v", name, next-1, b, err)
		}
		if last := next - 1; last < acked[name] || last > acked[name]+1 {
			t.Fatalf("%s ends at %d, acknowledged were %d", name, last, acked[name])
		}
		acked[name] = next - 1
	}
}
