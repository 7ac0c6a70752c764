package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime/runtimetest"
)

// TestKillNine kills the program with signal 9, over and over, wherever it is, and runs it
// again with the same directory. In the end every order is in the revenue, was charged
// and mailed once, and all results are those of an unbroken run. TROUPE_KILLS=200 makes it
// a long one.
func TestKillNine(t *testing.T) {
	dir := runtimetest.Dir(t)
	k := runtimetest.Kills{Count: 10, Within: 800 * time.Millisecond}
	killed := settings{shop: shop{seed: 7, orders: 1200}, data: filepath.Join(dir, "killed")}
	n := runtimetest.KillLoop(t, k, func(ctx context.Context, l *runtimetest.Life) error {
		s := killed
		if !l.Last { // so slow that there is something to kill
			s.rate = float64(s.shop.orders) / (float64(k.KillCount()) * k.Within.Seconds() / 2)
		}
		return s.work(ctx, io.Discard, os.Stderr)
	})
	if n < k.KillCount()/2 {
		t.Errorf("only %d of %d lives were ended by a kill", n, k.KillCount())
	}
	straight := killed
	straight.data = filepath.Join(dir, "straight")
	var stderr bytes.Buffer
	if err := straight.work(t.Context(), io.Discard, &stderr); err != nil || stderr.Len() > 0 {
		t.Fatalf("the unbroken run: %v%s", err, &stderr)
	}
	same(t, fmt.Sprint("after ", n, " kills"), results(t, killed.data), results(t, straight.data))
	for _, name := range []string{"bank", "mail"} {
		eachOnce(t, name, results(t, killed.data)[name])
	}
}

// eachOnce looks for itself whether the world outside was asked for something twice.
func eachOnce(t *testing.T, name, text string) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if seen[line] {
			t.Errorf("%s: twice: %s", name, line)
		}
		seen[line] = true
	}
}

// SIGTERM ends a run in good order, and the next one goes on.
func TestStopAndGoOn(t *testing.T) {
	dir := t.TempDir()
	p := exec.Command(os.Args[0], "-n", "1000", "-rate", "500", "-data", dir)
	p.Env = append(os.Environ(), asProgram+"=yes")
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	p.Stderr = &stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := out.Read(first); err != nil { // it tells how far it is: it is in the middle
		t.Fatal(err, &stderr)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err := p.Wait(); err != nil || stderr.Len() > 0 {
		t.Fatalf("a stop is no trouble, yet: %v%s", err, &stderr)
	}
	if err != nil || !strings.HasSuffix(string(rest), "stopped before the end: the same command goes on from here\n") {
		t.Errorf("%v: it says\n%s", err, rest)
	}
	if s := summaryIn(t, runOK(t, "-n", "1000", "-data", dir, "-json")); s.Acked+s.Dead != 2000 {
		t.Errorf("the run behind the stop: %+v", s)
	}
}
