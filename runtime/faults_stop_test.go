package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// TestSignalStopsInGoodOrder stops a job with SIGTERM, over and over, and
// resumes it: nothing is lost, and nothing is there twice.
func TestSignalStopsInGoodOrder(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	k := runtimetest.Kills{Count: 30, Within: 100 * time.Millisecond, Signal: syscall.SIGTERM}
	const rate = 4000
	n := int64(float64(k.KillCount())*rate*k.Within.Seconds()) + rate
	stopped := runtimetest.KillLoop(t, k, func(ctx context.Context, l *runtimetest.Life) error {
		pace := float64(rate)
		if l.Last {
			pace = 0
		}
		talks := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
		report, err := runtime.Run(ctx, faultTopology(readings(n, pace), sinksIn(dir)), runtime.DataDir(filepath.Join(dir, "data")),
			runtime.ExactlyOnce(), runtime.Logger(talks), runtime.CheckpointEvery(10*time.Millisecond), runtime.Parallelism(1+l.Number%3))
		if err == nil && report.Stopped == l.Last {
			err = fmt.Errorf("life %d: %+v", l.Number, report)
		}
		return err
	})
	if stopped != k.KillCount() {
		t.Errorf("%d of %d lives ended with the signal", stopped, k.KillCount())
	}
	judge(t, dir, n)
}

// stuck is a sink that never takes anything, and says so.
type stuck[T any] struct {
	topology.Sink[T]
	say func(string)
}

func (s stuck[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	w, err := s.Sink.Open(ctx, o)
	return stuckWriter[T]{w, s.say}, err
}

type stuckWriter[T any] struct {
	topology.SinkWriter[T]
	say func(string)
}

func (w stuckWriter[T]) Write(ctx context.Context, _ *topology.Batch[T]) error {
	w.say("the sink is stuck")
	<-ctx.Done()
	return ctx.Err()
}

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	p := runtimetest.Spawn(t, func(ctx context.Context) error {
		seen := make(chan os.Signal, 1)
		signal.Notify(seen, syscall.SIGTERM)
		go func() { <-seen; fmt.Println("the first signal has come") }()
		out := sinksIn(dir)
		out.records = stuck[reading]{out.records, func(s string) { fmt.Println(s) }}
		_, err := runtime.Run(ctx, faultTopology(readings(1000, 0), out), runtime.DataDir(filepath.Join(dir, "data")), runtime.Logger(quiet))
		return err
	})
	p.Await(within(t), "the sink is stuck")
	p.Signal(syscall.SIGTERM)
	p.Await(within(t), "the first signal has come")
	p.Signal(syscall.SIGTERM)
	if status := p.Wait(); status != 143 {
		t.Errorf("status %d\n%s", status, p.Output())
	}
}

// startStuck starts a job whose sink is stuck.
func startStuck(t *testing.T, dir string, opts ...runtime.Option) (*runtime.Engine, *runtime.Job) {
	t.Helper()
	reached := make(chan struct{}, 1)
	out := sinksIn(dir)
	out.records = stuck[reading]{out.records, func(string) { reached <- struct{}{} }}
	e := openFaults(t, dir)
	j, err := e.Start(within(t), faultTopology(readings(1000, 0), out), opts...)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-reached:
	case <-within(t).Done():
		t.Fatal("nothing was written")
	}
	return e, j
}

// A stop that takes too long ends without a last checkpoint, and says so.
func TestAStopThatTakesTooLongIsAnError(t *testing.T) {
	e, j := startStuck(t, t.TempDir(), runtime.StopTimeout(time.Millisecond))
	if _, err := j.Stop(within(t)); err == nil || !strings.Contains(err.Error(), `job "faults" did not stop within 1ms`) {
		t.Errorf("err = %v", err)
	}
	closeEngine(t, e)
}

// Close does not wait for ever for a job that cannot stop.
func TestCloseEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	e, _ := startStuck(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	e = openFaults(t, dir) // the directory is free again
	closeEngine(t, e)
}

// TestASecondProcessIsRefused opens a directory that another process works in.
func TestASecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	data := filepath.Join(dir, "data")
	p := runtimetest.Spawn(t, func(ctx context.Context) error {
		e, err := runtime.Open(ctx, runtime.DataDir(data), runtime.Logger(quiet))
		if err != nil {
			return err
		}
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGUSR1)
		fmt.Println("open")
		<-asked
		out := sinksIn(dir)
		if _, err := e.Run(ctx, faultTopology(readings(1000, 0), out)); err != nil {
			return err
		}
		return e.Close(ctx)
	})
	p.Await(within(t), "open")
	for range 3 {
		_, err := runtime.Run(within(t), faultTopology(readings(1000, 0), sinksIn(dir)), runtime.DataDir(data), runtime.Logger(quiet))
		if err == nil || !strings.Contains(err.Error(), data) || !strings.Contains(err.Error(), fmt.Sprint("process ", p.Pid())) || strings.Contains(err.Error(), "\n") {
			t.Errorf("err = %v", err)
		}
	}
	p.Signal(syscall.SIGUSR1)
	if status := p.Wait(); status != 0 {
		t.Errorf("the first process ended with status %d\n%s", status, p.Output())
	}
	if got := readJSONLines[reading](t, filepath.Join(dir, recordsFile)); len(got) != 1000 {
		t.Errorf("the first process wrote %d records", len(got))
	}
}

// TestASlowFunctionCanBeStopped: what is in a batch when a stop comes has to be
// finished first, so a slow source reads a little at a time.
func TestASlowFunctionCanBeStopped(t *testing.T) {
	t.Parallel()
	called := make(chan struct{}, 1000)
	b := topology.New("slow")
	numbers := topology.From(b, "in", sources.Generator(func(i int64) int64 { return i }))
	slow := topology.Map(numbers, "slow", func(i int64) int64 {
		called <- struct{}{}
		time.Sleep(20 * time.Millisecond) // this is what makes it slow
		return i
	})
	topology.To(slow, "out", sinks.Discard[int64]())
	e := openFaults(t, t.TempDir(), runtime.Parallelism(1), runtime.CheckpointEvery(0))
	j, err := e.Start(within(t), b)
	if err != nil {
		t.Fatal(err)
	}
	for range 120 { // so many that batches have become small
		<-called
	}
	r, err := j.Stop(within(t))
	if err != nil || !r.Stopped || r.Checkpoint == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	// What was read and not begun is at most readAhead batches, of a few records.
	if after := int64(len(called)); after > 64 || r.Checkpoint.Records != 120+after {
		t.Errorf("%d more records were processed after the stop, and the checkpoint has %d", after, r.Checkpoint.Records)
	}
	closeEngine(t, e)
}
