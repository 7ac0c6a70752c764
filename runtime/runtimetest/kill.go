package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Environment variables between a KillLoop and its children, and for whoever
// runs the tests.
const (
	// KillsVariable sets how many kills a KillLoop makes, whatever its Kills say.
	KillsVariable = "TROUPE_KILLS"
	// SeedVariable sets the seed of a KillLoop's random numbers.
	SeedVariable = "TROUPE_SEED"

	lifeVariable = "TROUPE_LIFE" // "test/number/last/moments"
	outputMax    = 64 << 10      // bytes kept of what a child says
)

// Kills says how often and when a KillLoop kills. The zero value: 20 times,
// within 250 ms.
type Kills struct {
	// Count is how many kills there are before the process may run to its end.
	Count int
	// Within bounds the random time, counted from the start of the process,
	// after which it is killed.
	Within time.Duration
	// Moments bounds the random number of calls of Life.Moment after which every
	// other life ends; 0: the program does not call it.
	Moments int
	// Signal is what ends a life; default: SIGKILL. After any other signal, the
	// process must end by itself with status 0.
	Signal syscall.Signal
}

// Life is one run of the program, from its start to its kill.
type Life struct {
	Number int  // counts from 0
	Last   bool // it will not be killed

	moments atomic.Int64 // left to live; below zero: any number
}

// Moment marks a moment at which a kill would be interesting. In some lives it
// does not return.
func (l *Life) Moment() {
	if l.moments.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the kill is on its way
	}
}

// KillLoop runs live in a process of its own, kills that at random, and runs it
// again, as often as k says; and then once more, to its end. The process is the
// test binary, which runs this very test: up to its call of KillLoop, which does
// not return there. So what comes before should be the same every time, and
// state that is to survive belongs into directories that both can name:
//
//	func TestKills(t *testing.T) {
//		dir := runtimetest.Dir(t)
//		runtimetest.KillLoop(t, runtimetest.Kills{}, func(ctx context.Context, l *runtimetest.Life) error {
//			_, err := runtime.Run(ctx, build(dir), runtime.DataDir(filepath.Join(dir, "data")))
//			return err
//		})
//		// Compare what is in dir with what should be there.
//	}
//
// It returns how many lives ended by the signal; the others had come to their
// end before. A life that ends with an error fails the test.
func KillLoop(t *testing.T, k Kills, live func(context.Context, *Life) error) (killed int) {
	t.Helper()
	if l, ok := lifeOf(t.Name()); ok {
		l.run(live)
	}
	k = k.withDefaults()
	r := random(t)
	for n := range k.Count {
		if k.life(t, r, n) {
			killed++
		}
	}
	k.last(t)
	return killed
}

func (k Kills) withDefaults() Kills {
	if k.Count <= 0 {
		k.Count = 20
	}
	if n, err := strconv.Atoi(os.Getenv(KillsVariable)); err == nil && n > 0 {
		k.Count = n
	}
	if k.Within <= 0 {
		k.Within = 250 * time.Millisecond
	}
	if k.Signal == 0 {
		k.Signal = syscall.SIGKILL
	}
	return k
}

// KillCount is how many kills a KillLoop of k makes.
func (k Kills) KillCount() int { return k.withDefaults().Count }

// random returns the random numbers of a test, and has their seed told if it fails.
func random(t *testing.T) *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv(SeedVariable), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the random numbers were those of %s=%d", SeedVariable, seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// life runs one life. It says whether the signal ended it.
func (k Kills) life(t *testing.T, r *rand.Rand, n int) bool {
	t.Helper()
	moments, after := int64(0), time.Duration(r.Int64N(int64(k.Within)))
	if k.Moments > 0 && n%2 == 1 {
		// It kills itself; should it come to fewer moments than that, the
		// signal still comes.
		moments, after = 1+r.Int64N(int64(k.Moments)), k.Within
	}
	c := newChild(t, n, false, moments)
	timer := time.AfterFunc(after, func() { _ = c.cmd.Process.Signal(k.Signal) })
	defer timer.Stop()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return k.Signal != syscall.SIGKILL
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && k.Signal == syscall.SIGKILL:
		return true
	}
	t.Fatalf("life %d ended with %v:\n%s", n, err, c.output.String())
	return false
}

func (k Kills) last(t *testing.T) {
	t.Helper()
	c := newChild(t, k.Count, true, 0)
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("the last life ended with %v:\n%s", err, c.output.String())
	}
}

type child struct {
	cmd    *exec.Cmd
	output *tail
}

func newChild(t *testing.T, n int, last bool, moments int64) *child {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(path, "-test.run="+exactly(t.Name()), "-test.count=1", "-test.timeout=5m"), output: new(tail)}
	c.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%d/%t/%d", lifeVariable, t.Name(), n, last, moments), dirVariable+"="+Dir(t))
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

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
type tail struct{ b bytes.Buffer }

func (w *tail) Write(p []byte) (int, error) {
	w.b.Write(p)
	if over := w.b.Len() - outputMax; over > 0 {
		w.b.Next(over)
	}
	return len(p), nil
}

func (w *tail) String() string { return w.b.String() }
