package runtimetest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// squares is a topology as production would have it: a function from its ends.
func squares(in topology.Source[int64], out topology.Sink[int64]) *topology.Builder {
	b := topology.New("squares")
	topology.To(topology.Map(topology.From(b, "in", in), "square", func(i int64) int64 { return i * i }), "out", out)
	return b
}

func numbers(n int64) topology.Source[int64] {
	return sources.Generator(func(i int64) int64 { return i }, sources.Count(n), sources.Splits(2))
}

// A kill loop over a file: in the end every line is there, once.
func TestKillLoop(t *testing.T) {
	dir := runtimetest.Dir(t)
	out := filepath.Join(dir, "out")
	killed := runtimetest.KillLoop(t, runtimetest.Kills{Count: 4, Within: 150 * time.Millisecond}, func(ctx context.Context, l *runtimetest.Life) error {
		in := sources.Generator(func(i int64) int64 { return i }, sources.Count(4000), sources.Splits(2), sources.Rate(4000))
		if l.Last {
			in = numbers(4000)
		}
		_, err := runtime.Run(ctx, squares(in, sinks.JSONLines[int64](out)), runtime.DataDir(filepath.Join(dir, "data")),
			runtime.ExactlyOnce(), runtime.CheckpointEvery(10*time.Millisecond))
		return err
	})
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		seen[line] = true
	}
	if lines := strings.Count(string(b), "\n"); lines != 4000 || len(seen) != 4000 || killed == 0 {
		t.Errorf("%d lines, %d of them different, after %d kills", lines, len(seen), killed)
	}
}

func TestThreeWays(t *testing.T) {
	runtimetest.ThreeWays(t, func(w *runtimetest.Way) *topology.Builder {
		return squares(runtimetest.From(w, numbers(1000)), runtimetest.To[int64](w, "out"))
	}, func(t testing.TB, w *runtimetest.Way) {
		seen := map[int64]bool{}
		for _, v := range runtimetest.Values[int64](w, "out") {
			seen[v] = true
		}
		if n := len(runtimetest.Values[int64](w, "out")); n != 1000 || len(seen) != 1000 {
			t.Errorf("%d values, %d of them different", n, len(seen))
		}
	})
}

func TestSpawn(t *testing.T) {
	p := runtimetest.Spawn(t, func(context.Context) error { return errors.New("this went wrong") })
	p.Await(t.Context(), "this went wrong")
	if status := p.Wait(); status != 1 {
		t.Errorf("status %d", status)
	}
}

func TestTap(t *testing.T) {
	var tap runtimetest.Tap
	tap.Pour(7)
	r, err := runtimetest.Through(&tap, numbers(100)).Open(t.Context(), topology.OpenRequest{Split: "0"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b topology.Batch[int64]
	if err := r.Read(t.Context(), &b, 5); err != nil || b.Len() != 5 {
		t.Fatalf("%d records, %v", b.Len(), err)
	}
	select {
	case <-tap.Empty():
		t.Fatal("two are left")
	default:
	}
	if err := r.Read(t.Context(), &b, 5); err != nil || b.Len() != 7 {
		t.Fatalf("%d records, %v", b.Len(), err)
	}
	<-tap.Empty()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Read(ended, &b, 5); !errors.Is(err, context.Canceled) {
		t.Fatalf("the tap is empty: %v", err)
	}
	// What a source has not got remains for others.
	tap.Pour(3)
	short, err := runtimetest.Through(&tap, numbers(2)).Open(t.Context(), topology.OpenRequest{Split: "0"})
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	if err := short.Read(t.Context(), &b, 5); err != nil || b.Len() != 8 {
		t.Fatalf("%d records, %v", b.Len(), err)
	}
	if err := r.Read(t.Context(), &b, 5); err != nil || b.Len() != 10 {
		t.Fatalf("%d records, %v", b.Len(), err)
	}
	<-tap.Empty()
	tap.Open()
	if err := r.Read(t.Context(), &b, 50); err != nil || b.Len() != 51 { // the split had 50, and 1 was of the other
		t.Fatalf("%d records, %v", b.Len(), err)
	}
}
