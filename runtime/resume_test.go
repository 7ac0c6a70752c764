package runtime_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// tally is the running count and sum of a key.
type tally struct {
	Key   int64 `json:"key"`
	Count int64 `json:"count"`
	Sum   int64 `json:"sum"`
}

const tallyKeys = 37

// tallies counts the numbers below n by their remainder.
func tallies(n int64, rate float64, out string) *topology.Builder {
	return talliesFrom(n, rate, out, "tally")
}

func talliesFrom(n int64, rate float64, out, fold string) *topology.Builder {
	b := topology.New("tallies")
	opts := []sources.GeneratorOption{sources.Count(n), sources.Splits(3)}
	if rate > 0 {
		opts = append(opts, sources.Rate(rate))
	}
	numbers := topology.From(b, "numbers", sources.Generator(func(i int64) int64 { return i }, opts...))
	byRest := topology.KeyBy(numbers, "by-rest", func(i int64) int64 { return i % tallyKeys })
	counts := topology.Fold(byRest, fold, func(k int64, t tally, i int64) tally {
		return tally{Key: k, Count: t.Count + 1, Sum: t.Sum + i}
	})
	topology.To(counts, "out", sinks.JSONLines[tally](out))
	return b
}

// checkTallies reads what the sink has written: every update of every key must
// be there exactly once, in order.
func checkTallies(t *testing.T, path string, n int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last := map[int64]tally{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var v tally
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if want := last[v.Key].Count + 1; v.Count != want {
			t.Fatalf("key %d: count %d after %d", v.Key, v.Count, want-1)
		}
		last[v.Key] = v
	}
	want := map[int64]tally{}
	for i := range n {
		w := want[i%tallyKeys]
		want[i%tallyKeys] = tally{Key: i % tallyKeys, Count: w.Count + 1, Sum: w.Sum + i}
	}
	if fmt.Sprint(last) != fmt.Sprint(want) {
		t.Fatalf("got %v\nwant %v", last, want)
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, dir string, opts ...runtime.Option) *runtime.Engine {
	t.Helper()
	e, err := runtime.Open(within(t), append([]runtime.Option{runtime.DataDir(dir), runtime.ExactlyOnce(), runtime.CheckpointEvery(0)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	closedInTheEnd(t, e)
	return e
}

// closedInTheEnd sees to it that an engine does not outlive its test, nor its directory.
func closedInTheEnd(t *testing.T, e *runtime.Engine) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = e.Close(ctx) // whoever cares for the error has closed it before
	})
}

func TestAKilledJobResumesAtAnyParallelism(t *testing.T) {
	for _, p := range [][2]int{{1, 1}, {1, 3}, {3, 1}, {2, 3}} {
		t.Run(fmt.Sprint(p[0], " to ", p[1]), func(t *testing.T) {
			ctx, dir := within(t), t.TempDir()
			out, data := filepath.Join(dir, "out.ndjson"), filepath.Join(dir, "data")
			const n = 30_000
			e := open(t, data, runtime.Parallelism(p[0]))
			j, err := e.Start(ctx, tallies(n, 20_000, out))
			if err != nil {
				t.Fatal(err)
			}
			var c runtime.Checkpoint
			for c.Records < 3000 {
				if c, err = j.Checkpoint(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Kill(ctx); err != nil {
				t.Fatal(err)
			}
			r, err := e.Run(ctx, tallies(n, 0, out), runtime.Parallelism(p[1]))
			if err != nil {
				t.Fatal(err)
			}
			if r.Resumed == nil || r.Resumed.Number != c.Number || !r.Finished || r.Checkpoint.Records != n {
				t.Fatalf("resumed %+v, last %+v, finished %v", r.Resumed, r.Checkpoint, r.Finished)
			}
			checkTallies(t, out, n)
			if err := e.Close(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAFinishedJobStaysFinished(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	out, data := filepath.Join(dir, "out.ndjson"), filepath.Join(dir, "data")
	for i := range 2 {
		r, err := runtime.Run(ctx, tallies(500, 0, out), runtime.DataDir(data), runtime.ExactlyOnce())
		if err != nil {
			t.Fatal(err)
		}
		if r.AlreadyFinished != (i == 1) || !r.Finished {
			t.Fatalf("run %d: %+v", i, r)
		}
		checkTallies(t, out, 500)
	}
}

// TestAFinishedJobNeedsItsInputNoMore, and says so rather than that it is gone.
func TestAFinishedJobNeedsItsInputNoMore(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	in, out := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out.txt")
	if err := os.WriteFile(in, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := func(opts ...topology.BuilderOption) *topology.Builder {
		b := topology.New("copied", opts...)
		lines := topology.KeyBy(topology.From(b, "in", sources.Lines(in)), "all", func(string) string { return "" })
		topology.To(topology.Fold(lines, "join", func(_, a, b string) string { return a + b }), "out", sinks.Lines(out))
		return b
	}
	e := open(t, filepath.Join(dir, "data"))
	defer e.Close(ctx)
	if _, err := e.Run(ctx, copied()); err != nil {
		t.Fatal(err)
	}
	other := copied(topology.KeyGroups(64))
	if _, err := e.Run(ctx, other); err == nil || !strings.Contains(err.Error(), "KeyGroups(128)") || !strings.Contains(err.Error(), "FreshState") {
		t.Errorf("other key groups: %v", err)
	}
	if r, err := e.Run(ctx, copied(topology.KeyGroups(64)), runtime.FreshState()); err != nil || r.Resumed != nil || !r.Finished {
		t.Errorf("other key groups, anew: %+v, %v", r, err)
	}
	if err := os.Remove(in); err != nil {
		t.Fatal(err)
	}
	if r, err := e.Run(ctx, copied(topology.KeyGroups(64))); err != nil || !r.AlreadyFinished {
		t.Errorf("without its input: %+v, %v", r, err)
	}
	if _, err := e.Run(ctx, copied(topology.KeyGroups(64)), runtime.ReplayFromBeginning()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a replay without its input: %v", err)
	}
}

func TestStopDrainsAndTakesALastCheckpoint(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	out, data := filepath.Join(dir, "out.ndjson"), filepath.Join(dir, "data")
	const n = 20_000
	e := open(t, data)
	defer e.Close(ctx)
	var stopped int64
	for round := 0; ; round++ {
		j, err := e.Start(ctx, tallies(n, 30_000, out))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Checkpoint(ctx); err != nil {
			// It ended before the checkpoint could be taken.
			if r, err := j.Wait(ctx); err != nil || !r.Finished {
				t.Fatalf("%+v %v", r, err)
			}
			break
		}
		r, err := j.Stop(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if r.Finished {
			break
		}
		if !r.Stopped || r.Checkpoint == nil || r.Checkpoint.Records < stopped {
			t.Fatalf("round %d: %+v", round, r)
		}
		stopped = r.Checkpoint.Records
		if round == 5 {
			if r, err := e.Run(ctx, tallies(n, 0, out)); err != nil || !r.Finished {
				t.Fatalf("%+v %v", r, err)
			}
			break
		}
	}
	checkTallies(t, out, n)
}

func TestASavepointIsKeptAndFound(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	out, data := filepath.Join(dir, "out.ndjson"), filepath.Join(dir, "data")
	const n = 20_000
	e := open(t, data)
	defer e.Close(ctx)
	j, err := e.Start(ctx, tallies(n, 20_000, out))
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Savepoint(ctx, "before-the-change")
	if err != nil {
		t.Fatal(err)
	}
	for range 8 { // more than are retained
		if _, err := j.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(ctx, tallies(n, 0, out), runtime.FromSavepoint("another")); err == nil {
		t.Fatal("there is no such savepoint")
	}
	r, err := e.Run(ctx, tallies(n, 0, out), runtime.FromSavepoint("before-the-change"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Resumed == nil || r.Resumed.Number != s.Number || r.Resumed.Savepoint != s.Savepoint {
		t.Fatalf("resumed from %+v, not from %+v", r.Resumed, s)
	}
	checkTallies(t, out, n)
	_, err = e.Run(ctx, tallies(n, 0, out), runtime.FromSavepoint("another"))
	if !errors.Is(err, runtime.ErrNoSavepoint) || !strings.Contains(err.Error(), `it has "before-the-change"`) {
		t.Fatalf("%v does not name the savepoints there are", err)
	}
	_, err = e.Run(ctx, tallies(n, 0, out), runtime.FromCheckpoint(r.Checkpoint.Number+1))
	last := fmt.Sprintf("it has %d, %d, %d", r.Checkpoint.Number, r.Checkpoint.Number-1, r.Checkpoint.Number-2)
	if err == nil || !strings.HasSuffix(err.Error(), last) {
		t.Fatalf("%v does not name each checkpoint there is, once", err)
	}
}

func TestReplayIntoFreshAndKeptState(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	out, data := filepath.Join(dir, "out.ndjson"), filepath.Join(dir, "data")
	const n = 3000
	run := func(opts ...runtime.Option) runtime.Report {
		t.Helper()
		r, err := runtime.Run(ctx, tallies(n, 0, out), append(opts, runtime.DataDir(data), runtime.ExactlyOnce())...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	run()
	run(runtime.ReplayFromBeginning(), runtime.FreshState())
	checkTallies(t, out, n)

	run(runtime.ReplayFromBeginning(), runtime.FreshState(), runtime.UntilOffset(500))
	checkTallies(t, out, 3*500) // of each of the three splits

	run(runtime.ReplayFromOffset(500))
	checkTallies(t, out, n)
}

// TestABoundedJobGoesOn where it ended: what keys have is kept, and event time
// begins anew.
func TestABoundedJobGoesOn(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	e := open(t, filepath.Join(dir, "data"))
	defer e.Close(ctx)
	visits := topics.Of[int64]("visits")
	fill := func(from, n int64) {
		b := topology.New("fill")
		topology.To(topology.From(b, "in", sources.Generator(func(i int64) int64 { return from + i }, sources.Count(n))), "out", visits.Sink())
		if _, err := e.Run(ctx, b, runtime.FreshState()); err != nil {
			t.Fatal(err)
		}
	}
	totals, windows, tardy := sinks.Slice[int64](), sinks.Slice[int](), sinks.Slice[int64]()
	read := func() *topology.Builder {
		b := topology.New("read")
		in := topology.EventTime(topology.From(b, "in", visits.Source()), "time", 0, func(i int64) time.Time { return time.Unix(i, 0) })
		all := topology.KeyBy(in, "all", func(int64) string { return "" })
		topology.To(topology.Fold(all, "total", func(_ string, n, _ int64) int64 { return n + 1 }), "totals", topology.Sink[int64](totals))
		ended, late := topology.WindowFold(all, "minutes", topology.Tumbling(time.Minute), func(_ string, n int, _ int64) int { return n + 1 })
		topology.To(topology.Map(ended, "count", func(w topology.Window[string, int]) int { return w.Value }), "windows", topology.Sink[int](windows))
		topology.To(topology.Map(late, "late", func(l topology.Late[int64]) int64 { return l.Value }), "tardy", topology.Sink[int64](tardy))
		return b
	}
	for round, c := range []struct{ from, more, total int64 }{{0, 90, 90}, {90, 0, 90}, {90, 90, 180}} {
		if c.more > 0 {
			fill(c.from, c.more)
		}
		r, err := e.Run(ctx, read(), runtime.UntilEnd(), runtime.Parallelism(1+round))
		if err != nil {
			t.Fatal(err)
		}
		if !r.Finished || r.AlreadyFinished || r.Checkpoint.Records != c.total {
			t.Fatalf("round %d: %+v, with %+v", round, r, r.Checkpoint)
		}
	}
	if got := totals.Values(); int64(len(got)) != 180 || slices.Max(got) != 180 {
		t.Errorf("the totals are %v", got)
	}
	// Every round ends its windows; none of what it reads is late.
	got := windows.Values()
	slices.Sort(got)
	if want := []int{30, 30, 60, 60}; !slices.Equal(got, want) {
		t.Errorf("the windows hold %v, want %v", got, want)
	}
	if late := tardy.Values(); len(late) > 0 {
		t.Errorf("%v came late", late)
	}
	if r, err := e.Run(ctx, read(), runtime.UntilEnd()); err != nil || r.Resumed == nil {
		t.Errorf("once more: %+v, %v", r, err)
	}
}

func TestAChangedTopologyIsRefusedWithTheDifference(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	out, data := filepath.Join(dir, "out.ndjson"), filepath.Join(dir, "data")
	e := open(t, data)
	defer e.Close(ctx)
	j, err := e.Start(ctx, tallies(20_000, 20_000, out))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = e.Run(ctx, talliesFrom(20_000, 0, out, "sums"))
	var bad *runtime.IncompatibleError
	if !errors.As(err, &bad) || len(bad.Diff.Lost) != 1 || bad.Diff.Lost[0].Node != "tally" {
		t.Fatalf("the state of fold tally is lost: %v", err)
	}
	if _, err := e.Run(ctx, talliesFrom(20_000, 0, out, "sums"), runtime.AllowLostState()); err != nil {
		t.Fatal(err)
	}
}

func TestASplitThatComesBackIsNotReadAgain(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	out := filepath.Join(dir, "out.txt")
	file := func(name string) string { return filepath.Join(dir, name+".in") }
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(file(name), []byte(name+"1\n"+name+"2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, filepath.Join(dir, "data"))
	defer e.Close(ctx)
	run := func() {
		t.Helper()
		b := topology.New("lines")
		lines := topology.From(b, "in", sources.Lines(filepath.Join(dir, "*.in")))
		// Without this one the job would finish, and not go on the next time.
		beat := topology.From(b, "beat", sources.Generator(func(int64) string { return "" }, sources.Rate(1000)))
		kept := topology.Filter(topology.Merge(lines, "all", beat), "kept", func(s string) bool { return s != "" })
		topology.To(kept, "out", sinks.Lines(out))
		j, err := e.Start(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		for ended := false; !ended; {
			if _, err := j.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
			for _, o := range j.Status().Operators {
				ended = ended || (o.Name == "in" && o.Ended)
			}
		}
		if _, err := j.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if err := os.Rename(file("b"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	run()
	if err := os.Rename(filepath.Join(dir, "away"), file("b")); err != nil {
		t.Fatal(err)
	}
	run()
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(got))
	slices.Sort(lines)
	if want := "a1 a2 b1 b2"; strings.Join(lines, " ") != want {
		t.Fatalf("got %v, want %s", lines, want)
	}
}
