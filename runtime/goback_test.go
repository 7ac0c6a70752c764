package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

const copiedLines = 1000

// copying is a job that copies numbered lines to a file and to memory, and panics at
// a record if it is told to. No checkpoint is taken but the last.
type copying struct {
	t       *testing.T
	engine  *runtime.Engine
	in, out string
	memory  *sinks.SliceSink[string]
	panicAt int // record of a run; 0: none
}

func newCopying(t *testing.T) *copying {
	dir := t.TempDir()
	c := &copying{t: t, in: filepath.Join(dir, "in"), out: filepath.Join(dir, "out"), memory: sinks.Slice[string]()}
	var text strings.Builder
	for i := range copiedLines {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	if err := os.WriteFile(c.in, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.engine = open(t, filepath.Join(dir, "data"), runtime.BatchSize(16))
	t.Cleanup(func() {
		if err := c.engine.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *copying) topology() *topology.Builder {
	b, n := topology.New("copying"), 0
	lines := topology.Map(topology.From(b, "in", sources.Lines(c.in)), "work", func(s string) string {
		if n++; c.panicAt > 0 && n >= c.panicAt {
			panic("on purpose")
		}
		return s
	})
	topology.To(lines, "out", sinks.Lines(c.out))
	topology.To(lines, "memory", c.memory)
	return b
}

// run runs the job until it has finished, or failed at a record of this run.
func (c *copying) run(panicAt int, opts ...runtime.Option) runtime.Report {
	c.t.Helper()
	c.panicAt = panicAt
	r, err := c.engine.Run(within(c.t), c.topology(), opts...)
	if (err != nil) != (panicAt > 0) || r.Finished != (panicAt == 0) {
		c.t.Fatalf("record %d to panic at: finished %v, %v", panicAt, r.Finished, err)
	}
	return r
}

// check expects that all lines are in the output, times over.
func (c *copying) check(times int) {
	c.t.Helper()
	in, err := os.ReadFile(c.in)
	out, err2 := os.ReadFile(c.out)
	if err := errors.Join(err, err2); err != nil {
		c.t.Fatal(err)
	}
	want := strings.Repeat(string(in), times)
	if string(out) != want {
		c.t.Errorf("the file has %d lines, want %d", strings.Count(string(out), "\n"), times*copiedLines)
	}
	if got := strings.Join(c.memory.Values(), "\n") + "\n"; got != want {
		c.t.Errorf("the slice has %d lines, want %d", len(c.memory.Values()), times*copiedLines)
	}
}

// TestAJobThatDiesGoingBackGoesBackAgain: a plain start must not take for complete
// what a start before it has cut.
func TestAJobThatDiesGoingBackGoesBackAgain(t *testing.T) {
	for _, way := range []struct {
		name  string
		opts  []runtime.Option
		times int
	}{
		{"fresh", []runtime.Option{runtime.FreshState()}, 1},
		{"fresh from the beginning", []runtime.Option{runtime.FreshState(), runtime.ReplayFromBeginning()}, 1},
		{"from the beginning", []runtime.Option{runtime.ReplayFromBeginning()}, 2},
		{"from a savepoint", []runtime.Option{runtime.FromSavepoint("early")}, 1},
		{"from a checkpoint", []runtime.Option{runtime.FromCheckpoint(1)}, 1},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := newCopying(t)
			j, err := c.engine.Start(within(t), c.topology())
			if err == nil {
				_, err = j.Savepoint(within(t), "early")
			}
			if err == nil {
				_, err = j.Wait(within(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			c.check(1)
			if r := c.run(0); !r.AlreadyFinished {
				t.Fatalf("it should have finished: %+v", r)
			}
			c.run(50, way.opts...)
			c.run(20) // going on with that comes to nothing, either
			if r := c.run(0); r.AlreadyFinished {
				t.Errorf("the job that went back is taken for one that has finished")
			}
			c.check(way.times)
			if r := c.run(0); !r.AlreadyFinished {
				t.Errorf("behind a checkpoint it went back once more")
			}
		})
	}
}

// TestAJobThatIsRefusedHasNotGoneBack: what can be known before output is cut is
// known before it is put on record that it will be.
func TestAJobThatIsRefusedHasNotGoneBack(t *testing.T) {
	c := newCopying(t)
	c.run(0)
	elsewhere := *c
	elsewhere.out = filepath.Join(t.TempDir(), "no", "such", "directory", "out")
	isDirectory := *c
	isDirectory.out = t.TempDir()
	noInput := *c
	noInput.in = filepath.Join(t.TempDir(), "in")
	for name, refused := range map[string]struct {
		c    *copying
		want error
		opts []runtime.Option
	}{
		"a directory that is not there": {&elsewhere, fs.ErrNotExist, []runtime.Option{runtime.FreshState()}},
		"output that is no file":        {&isDirectory, nil, []runtime.Option{runtime.FreshState()}},
		"input that is not there":       {&noInput, fs.ErrNotExist, []runtime.Option{runtime.FreshState()}},
		"no such savepoint":             {c, runtime.ErrNoSavepoint, []runtime.Option{runtime.FromSavepoint("other")}},
		"no such checkpoint":            {c, nil, []runtime.Option{runtime.FromCheckpoint(77)}},
	} {
		_, err := c.engine.Run(within(t), refused.c.topology(), refused.opts...)
		if err == nil || refused.want != nil && !errors.Is(err, refused.want) {
			t.Errorf("%s: %v", name, err)
		}
		if r := c.run(0); !r.AlreadyFinished {
			t.Errorf("%s: the job that was refused has gone back", name)
		}
	}
	c.check(1)
}

// TestStartsThatComeToNothingKeepCheckpoints: however often a job goes back in vain,
// what it could go back to stays.
func TestStartsThatComeToNothingKeepCheckpoints(t *testing.T) {
	c := newCopying(t)
	r := c.run(0)
	for range 5 {
		c.run(50, runtime.FreshState())
	}
	_, err := c.engine.Run(within(t), c.topology(), runtime.FromCheckpoint(77))
	if want := fmt.Sprintf("it has %d, %d", r.Checkpoint.Number+5, r.Checkpoint.Number); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
	// What a start is told goes before what the job was told when it went back.
	c.run(0, runtime.ReplayFromOffset(int64(len("line 0\n"))))
	if got := c.memory.Values(); len(got) != copiedLines-1 || got[0] != "line 1" {
		t.Errorf("%d lines from %q on", len(got), got[0])
	}
}

// TestAJobThatNeverRanHasNothingToGoBackFrom, so nothing is put on record.
func TestAJobThatNeverRanHasNothingToGoBackFrom(t *testing.T) {
	c := newCopying(t)
	if r := c.run(0, runtime.FreshState(), runtime.ReplayFromBeginning()); r.Checkpoint.Number != 1 {
		t.Errorf("its first checkpoint is %d", r.Checkpoint.Number)
	}
	c.check(1)
}

// TestADamagedCheckpointBehindGoingBack: to fall back behind the first checkpoint is to go
// back again, and not to what the job has gone back from.
func TestADamagedCheckpointBehindGoingBack(t *testing.T) {
	r := newRig(t)
	r.interrupt(r.topology(), 1)
	r.finish()
	e := r.open(runtime.FreshState())
	j, err := e.Start(within(t), r.topology())
	if err != nil {
		t.Fatal(err)
	}
	first := r.checkpoint(j)
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	r.restart()
	for _, m := range r.entries(manifestsLog, storage.State) {
		if manifestOf(t, m).Checkpoint == first.Number {
			r.corrupt(manifestsLog, m.Seq, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		}
	}
	if got := r.finish(); got.AlreadyFinished || got.Resumed != nil {
		t.Errorf("%+v", got)
	}
}
