package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// outputMax is how much is kept of what a process writes: 64 KiB.
const outputMax = 64 << 10

// Process is a run of a test's program in a process of its own.
type Process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *tail
}

// Spawn runs live in a process of its own, which is the test binary running this
// very test up to its call of Spawn: see KillLoop. The process ends with live,
// with status 0 or, after an error, 1; it is killed when the test ends.
func Spawn(t *testing.T, live func(context.Context) error) *Process {
	t.Helper()
	if l, ok := lifeOf(t.Name()); ok {
		l.run(func(ctx context.Context, _ *Life) error { return live(ctx) })
	}
	p := spawn(t, 0, true, 0)
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func spawn(t *testing.T, n int, last bool, moments int64) *Process {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, output: newTail(),
		cmd: exec.Command(path, "-test.run="+exactly(t.Name()), "-test.count=1", "-test.timeout=5m")}
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%d/%t/%d", lifeVariable, t.Name(), n, last, moments), dirVariable+"="+Dir(t))
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Pid is the id of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Await waits until the process has written text. It fails the test when the
// context of the test ends first.
func (p *Process) Await(ctx context.Context, text string) {
	p.t.Helper()
	if err := p.output.await(ctx, text); err != nil {
		p.t.Fatalf("the process has not written %q: %v\n%s", text, err, p.Output())
	}
}

// speaks waits until the process has written anything, or has ended.
func (p *Process) speaks() { _ = p.output.await(p.t.Context(), "") }

// Wait waits for the end of the process and returns its status: 128 and the
// number of the signal when one ended it.
func (p *Process) Wait() int {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if w, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Output is the end of what the process has written.
func (p *Process) Output() string { return p.output.String() }

// exactly is the pattern that matches one test and no other.
func exactly(test string) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// lifeOf returns the life that this process is for, if it is one of that test.
func lifeOf(test string) (*Life, bool) {
	rest, ours := strings.CutPrefix(os.Getenv(lifeVariable), test+"/")
	if !ours {
		return nil, false
	}
	l, moments := new(Life), int64(0)
	_, err := fmt.Sscanf(strings.ReplaceAll(rest, "/", " "), "%d %t %d", &l.Number, &l.Last, &moments)
	l.moments.Store(moments)
	return l, err == nil
}

// run lives, and ends the process.
func (l *Life) run(live func(context.Context, *Life) error) {
	if err := live(context.Background(), l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
	came chan struct{} // closed and replaced with every write
}

func newTail() *tail { return &tail{came: make(chan struct{})} }

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, p...)
	if over := len(w.kept) - outputMax; over > 0 {
		w.kept = append(w.kept[:0], w.kept[over:]...)
	}
	close(w.came)
	w.came = make(chan struct{})
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.kept)
}

// await waits for text; an empty one stands for anything.
func (w *tail) await(ctx context.Context, text string) error {
	for {
		w.mu.Lock()
		found, came := len(w.kept) > 0 && strings.Contains(string(w.kept), text), w.came
		w.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-came:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
