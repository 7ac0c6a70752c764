package runtimetest

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
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
	// process must end by itself with status 0; and it comes no sooner than the
	// process has written something, which is to say that it is listening.
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
	r := Random(t)
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

// Random returns random numbers for a test. If the test fails, their seed is told:
// SeedVariable repeats them.
func Random(t *testing.T) *rand.Rand {
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
		// It kills itself, however long that takes on a busy machine; should it
		// come to fewer moments than that, the signal still comes.
		moments, after = 1+r.Int64N(int64(k.Moments)), 10*k.Within
	}
	p := spawn(t, n, false, moments)
	if k.Signal != syscall.SIGKILL {
		p.speaks()
	}
	timer := time.AfterFunc(after, func() { _ = p.cmd.Process.Signal(k.Signal) })
	defer timer.Stop()
	switch status := p.Wait(); {
	case status == 0:
		return k.Signal != syscall.SIGKILL
	case status == 128+int(syscall.SIGKILL) && k.Signal == syscall.SIGKILL:
		return true
	default:
		t.Fatalf("life %d ended with status %d:\n%s", n, status, p.Output())
		return false
	}
}

func (k Kills) last(t *testing.T) {
	t.Helper()
	p := spawn(t, k.Count, true, 0)
	if status := p.Wait(); status != 0 {
		t.Fatalf("the last life ended with status %d:\n%s", status, p.Output())
	}
}
