package runtime_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/topology"
)

const savepointLog = "savepoint_faults_before"

// savedJob takes a savepoint, goes on, and is killed.
func savedJob(t *testing.T) (*rig, runtime.Checkpoint) {
	r := newRig(t)
	e := r.open()
	j, err := e.Start(within(t), r.topology())
	if err != nil {
		t.Fatal(err)
	}
	c := r.checkpointBehind(j, r.checkpoint(j))
	s, err := j.Savepoint(within(t), "before")
	if err != nil || s.Savepoint != "before" || s.Number <= c.Number || s.Records < c.Records {
		t.Fatalf("%+v behind %+v, %v", s, c, err)
	}
	for c = s; c.Number < s.Number+6; {
		c = r.checkpointBehind(j, c)
	}
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	r.restart()
	return r, s
}

// TestASavepointNeedsNothingOfTheJob: it does when all of that is gone, and is not
// needed any more when the job has gone on from it.
func TestASavepointNeedsNothingOfTheJob(t *testing.T) {
	r, s := savedJob(t)
	for _, log := range []string{manifestsLog, chunksLog} {
		if err := r.store.DeleteLog(t.Context(), log); err != nil {
			t.Fatal(err)
		}
	}
	e := r.open()
	j, err := e.Start(within(t), r.topology(), runtime.FromSavepoint("before"))
	if err != nil {
		t.Fatal(err)
	}
	c := r.checkpointBehind(j, s)
	if c.Number <= s.Number {
		t.Errorf("checkpoint %d behind savepoint %d", c.Number, s.Number)
	}
	if err := e.DeleteSavepoint(within(t), "faults", "before"); err != nil {
		t.Fatal(err)
	}
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	r.restart()
	if report := r.finish(); report.Resumed == nil || report.Resumed.Number < c.Number {
		t.Errorf("resumed from %+v", report.Resumed)
	}
}

// TestASavepointHoldsNothing: what the job alone would have removed is removed.
func TestASavepointHoldsNothing(t *testing.T) {
	r, s := savedJob(t)
	for _, e := range r.entries(manifestsLog, storage.State) {
		if m := manifestOf(t, e); m.Checkpoint <= s.Number {
			t.Errorf("the manifest of checkpoint %d is kept behind savepoint %d", m.Checkpoint, s.Number)
		}
	}
	if report := r.finish(runtime.FromSavepoint("before")); report.Resumed == nil || report.Resumed.Number != s.Number || report.Resumed.Savepoint != "before" {
		t.Errorf("resumed from %+v, and not %+v", report.Resumed, s)
	}
}

func TestADamagedSavepointIsRefused(t *testing.T) {
	for name, damage := range damages {
		for _, kind := range []storage.Kind{storage.Data, storage.State} {
			t.Run(fmt.Sprintf("%s/%c", name, kind), func(t *testing.T) {
				r, _ := savedJob(t)
				r.corrupt(savepointLog, r.entries(savepointLog, kind)[0].Seq, damage)
				_, err := r.run(r.topology(), runtime.FromSavepoint("before"), runtime.Restarts(0, 0))
				if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), `savepoint "before" of job "faults"`) {
					t.Errorf("err = %v", err)
				}
				r.finish() // the job's own checkpoints are whole
			})
		}
	}
}

func TestSavepointsAreListedAndDeleted(t *testing.T) {
	r := newRig(t)
	e := r.open()
	defer func() { closeEngine(t, e) }()
	list := func() (names []string) {
		t.Helper()
		all, err := e.Savepoints(within(t), "faults")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			names = append(names, fmt.Sprint(s.Savepoint, " ", s.Number))
		}
		return names
	}
	if all := list(); len(all) > 0 {
		t.Errorf("savepoints of a job that never was: %v", all)
	}
	j, err := e.Start(within(t), r.topology())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a", "b"} {
		if _, err := j.Savepoint(within(t), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := list(); !slices.Equal(got, []string{"a 2", "b 3"}) {
		t.Errorf("savepoints %v", got)
	}
	for range 2 {
		if err = e.DeleteSavepoint(within(t), "faults", "b"); err != nil {
			break
		}
	}
	if !errors.Is(err, runtime.ErrNoSavepoint) || !strings.Contains(err.Error(), `savepoint "b" of job "faults"`) {
		t.Errorf("err = %v", err)
	}
	if got := list(); !slices.Equal(got, []string{"a 2"}) {
		t.Errorf("savepoints %v", got)
	}
}

func TestNamesOfSavepointsAreChecked(t *testing.T) {
	r := newRig(t)
	e := r.open()
	defer closeEngine(t, e)
	j, err := e.Start(within(t), r.topology())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "Big", "a_b", "a/b", "7th", "a name", strings.Repeat("a", 64), strings.Repeat("x", 20<<20)} {
		_, err := j.Savepoint(within(t), name)
		if err == nil || !strings.Contains(err.Error(), "1 to 63 lower-case letters") || len(err.Error()) > 300 {
			t.Errorf("savepoint %.40q: %.400v", name, err)
		}
		_, err = e.Start(within(t), topology.New("other"), runtime.FromSavepoint(name))
		if err == nil || !strings.Contains(err.Error(), "FromSavepoint") {
			t.Errorf("from savepoint %.40q: %.400v", name, err)
		}
		if err := e.DeleteSavepoint(within(t), "faults", name); err == nil {
			t.Errorf("savepoint %.40q was deleted", name)
		}
	}
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	if r.log.count(8, "") > 0 {
		t.Errorf("errors were logged:\n%s", r.log)
	}
}

// TestASavepointThatCannotBeWrittenLeavesNothing: neither a log, nor a job that
// fails.
func TestASavepointThatCannotBeWrittenLeavesNothing(t *testing.T) {
	r := newRig(t)
	full := errors.New("not there")
	r.store.OnAppend(func(a storagefake.Append) storagefake.Fault {
		if strings.HasPrefix(a.Log, "savepoint_") && a.Kind == storage.State {
			return storagefake.Fault{Err: full}
		}
		return storagefake.Fault{}
	})
	e := r.open()
	j, err := e.Start(within(t), r.topology())
	if err != nil {
		t.Fatal(err)
	}
	c := r.checkpointBehind(j, r.checkpoint(j))
	if _, err := j.Savepoint(within(t), "before"); !errors.Is(err, full) {
		t.Fatalf("err = %v", err)
	}
	if logs, err := r.store.Logs(t.Context(), "savepoint_"); err != nil || len(logs) > 0 {
		t.Errorf("logs %v, %v", logs, err)
	}
	r.checkpointBehind(j, c)
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
}

// heldManifest holds the n-th manifest of the job back until it is let go.
func heldManifest(r *rig, n int) (reached, let chan struct{}) {
	reached, let = make(chan struct{}), make(chan struct{})
	seen := 0
	r.store.OnAppend(func(a storagefake.Append) storagefake.Fault {
		if a.Log != manifestsLog || a.Kind != storage.State {
			return storagefake.Fault{}
		}
		if seen++; seen != n {
			return storagefake.Fault{}
		}
		close(reached)
		return storagefake.Fault{Hold: let}
	})
	return reached, let
}

// TestWhoAsksGetsACheckpointThatBeginsLater: not the one that is under way.
func TestWhoAsksGetsACheckpointThatBeginsLater(t *testing.T) {
	for name, take := range map[string]func(*runtime.Job, *testing.T) (runtime.Checkpoint, error){
		"checkpoint": func(j *runtime.Job, t *testing.T) (runtime.Checkpoint, error) { return j.Checkpoint(within(t)) },
		"savepoint":  func(j *runtime.Job, t *testing.T) (runtime.Checkpoint, error) { return j.Savepoint(within(t), "same") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			reached, let := heldManifest(r, 1)
			e := r.open()
			j, err := e.Start(within(t), r.topology())
			if err != nil {
				t.Fatal(err)
			}
			numbers := make([]chan uint64, 3)
			ask := func(i int) {
				numbers[i] = make(chan uint64, 1)
				go func() {
					c, err := take(j, t)
					if err != nil {
						t.Error(err)
					}
					numbers[i] <- c.Number
				}()
			}
			ask(0)
			<-reached
			ask(1)
			ask(2)
			close(let)
			first := <-numbers[0]
			if second, third := <-numbers[1], <-numbers[2]; first != 1 || second < 2 || third < 2 {
				t.Errorf("answered by checkpoints %d, %d and %d", first, second, third)
			}
			if err := j.Kill(within(t)); err != nil {
				t.Fatal(err)
			}
			closeEngine(t, e)
		})
	}
}

// TestAsManyCheckpointsAreKeptAsAskedFor: after a stop as well.
func TestAsManyCheckpointsAreKeptAsAskedFor(t *testing.T) {
	for keep := 2; keep <= 4; keep++ {
		ctx, dir := within(t), t.TempDir()
		out, data := filepath.Join(dir, "out.ndjson"), filepath.Join(dir, "data")
		e := open(t, data)
		j, err := e.Start(ctx, tallies(20_000, 20_000, out), runtime.RetainCheckpoints(keep))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			if i == 4 {
				_, err = j.Savepoint(ctx, "one")
			} else {
				_, err = j.Checkpoint(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		_, err = e.Run(ctx, tallies(20_000, 0, out), runtime.FromCheckpoint(1))
		want := "it has 9, 8, 7, 6"[:len("it has 9")+3*(keep-1)]
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v does not end with %q", err, want)
		}
		closeEngine(t, e)
	}
}
