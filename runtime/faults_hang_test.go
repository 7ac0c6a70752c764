package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/topology"
)

// hang is user code that does not return in one place, whatever its context
// says, until it is released.
type hang struct {
	where   string
	reached chan struct{}
	release chan struct{}
	wrote   chan struct{}
}

func newHang(where string) *hang {
	return &hang{where, make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)}
}

func (h *hang) at(where string) {
	if h.where != where {
		return
	}
	select {
	case <-h.reached:
	default:
		close(h.reached)
	}
	<-h.release
}

type hangingSource struct{ *hang }

func (s hangingSource) Splits(context.Context) ([]string, error) {
	s.at("Splits")
	return []string{"only"}, nil
}

func (s hangingSource) Open(context.Context, topology.OpenRequest) (topology.SourceReader[int], error) {
	s.at("source Open")
	return hangingReader(s), nil
}

type hangingReader struct{ *hang }

func (r hangingReader) Read(ctx context.Context, b *topology.Batch[int], _ int) error {
	r.at("Read")
	b.Values = append(b.Values, 1)
	return ctx.Err()
}
func (hangingReader) Position() []byte { return []byte{} }
func (hangingReader) Lag() int64       { return -1 }
func (hangingReader) Close() error     { return nil }

type hangingSink struct{ *hang }

func (hangingSink) Info() topology.SinkInfo { return topology.SinkInfo{} }
func (s hangingSink) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[int], error) {
	s.at("sink Open")
	return hangingWriter(s), nil
}

type hangingWriter struct{ *hang }

func (w hangingWriter) Write(context.Context, *topology.Batch[int]) error {
	w.at("Write")
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return nil
}
func (w hangingWriter) Close() error                         { w.at("Close"); return nil }
func (w hangingWriter) Commit(context.Context, uint64) error { return nil }
func (w hangingWriter) Prepare(context.Context, uint64) ([]byte, error) {
	w.at("Prepare")
	return nil, nil
}

func hangingTopology(h *hang) *topology.Builder { return hangingNamed(h, "hanging") }

func hangingNamed(h *hang, name string) *topology.Builder {
	b := topology.New(name)
	in := topology.From(b, "in", hangingSource{h})
	out := topology.Map(in, "work", func(v int) int { h.at("Map"); return v })
	topology.To(out, "out", hangingSink{h})
	return b
}

// A job whose user code does not return is given up in bounded time, by name,
// and holds neither its engine nor its process.
func TestUserCodeThatDoesNotReturnIsNamed(t *testing.T) {
	for where, who := range map[string]string{
		"Splits": `source "in"`, "source Open": `source "in"`, "Read": `source "in"`, "Map": "task in-0 (in, work)",
		"sink Open": `sink "out"`, "Write": `sink "out"`, "Prepare": `sink "out"`, "Close": "closing out-0",
	} {
		t.Run(where, func(t *testing.T) {
			h, dir := newHang(where), t.TempDir()
			e := openFaults(t, dir)
			j, err := e.Start(within(t), hangingTopology(h), runtime.StopTimeout(10*time.Millisecond), runtime.KillTimeout(10*time.Millisecond),
				runtime.CheckpointEvery(time.Millisecond), runtime.Parallelism(1))
			if err != nil {
				t.Fatal(err)
			}
			if where == "Close" {
				<-h.wrote
			} else {
				<-h.reached
			}
			_, err = j.Stop(within(t))
			if !errors.Is(err, runtime.ErrHanging) || !strings.Contains(err.Error(), who) || strings.Contains(err.Error(), "\n") {
				t.Errorf("err = %v, want %s in it", err, who)
			}
			if err := j.Kill(within(t)); !errors.Is(err, runtime.ErrHanging) {
				t.Errorf("killed, err = %v", err)
			}
			if err := e.Close(within(t)); err != nil {
				t.Errorf("Close: %v", err)
			}
			again := openFaults(t, dir) // the directory is free
			closeEngine(t, again)
			close(h.release)
			<-j.Done() // what was given up ends all the same, if it can
		})
	}
}

// A process whose sink hangs ends at SIGTERM.
func TestASignalEndsAProcessThatHangs(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	p := runtimetest.Spawn(t, func(ctx context.Context) error {
		h := newHang("Write")
		go func() { <-h.reached; fmt.Println("the sink hangs") }()
		_, err := runtime.Run(ctx, hangingTopology(h), runtime.DataDir(filepath.Join(dir, "data")), runtime.Logger(quiet),
			runtime.StopTimeout(10*time.Millisecond), runtime.KillTimeout(10*time.Millisecond))
		if !errors.Is(err, runtime.ErrHanging) {
			return fmt.Errorf("Run returned %w", err)
		}
		fmt.Println(err)
		return nil
	})
	p.Await(within(t), "the sink hangs")
	p.Signal(syscall.SIGTERM)
	p.Await(within(t), `sink "out"`)
	if status := p.Wait(); status != 0 {
		t.Errorf("status %d\n%s", status, p.Output())
	}
}

// stuck is a source whose first record comes, and whose second Read does not
// return; its sink fails.
type stuckSource struct {
	*hang
	first bool
}

func (s *stuckSource) Splits(context.Context) ([]string, error) { return []string{"only"}, nil }
func (s *stuckSource) Open(context.Context, topology.OpenRequest) (topology.SourceReader[int], error) {
	return stuckReader{hangingReader{s.hang}, s}, nil
}

type stuckReader struct {
	hangingReader
	source *stuckSource
}

func (r stuckReader) Read(_ context.Context, b *topology.Batch[int], _ int) error {
	if !r.source.first {
		r.source.first = true
		b.Values = append(b.Values, 1)
		return nil
	}
	r.at("second Read")
	return io.EOF
}

type burningSink struct{ hangingSink }

func (s burningSink) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[int], error) {
	return burningWriter{hangingWriter(s.hangingSink)}, nil
}

type burningWriter struct{ hangingWriter }

var errOnFire = errors.New("disk is on fire")

// Write fails once the source hangs: an attempt that ends before that ends in time.
func (w burningWriter) Write(context.Context, *topology.Batch[int]) error {
	<-w.reached
	return errOnFire
}

// startBurning starts a job that fails while a call of user code does not return.
func startBurning(t *testing.T, opts ...runtime.Option) (h *hang, e *runtime.Engine, j *runtime.Job, log *journal) {
	h, log = newHang("second Read"), newJournal()
	b := topology.New("stuck")
	topology.To(topology.From(b, "in", &stuckSource{hang: h}), "out", burningSink{hangingSink{h}})
	e = openFaults(t, t.TempDir(), runtime.Logger(slog.New(log)))
	j, err := e.Start(within(t), b, append(opts, runtime.Parallelism(1), runtime.Restarts(3, time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	<-h.reached
	return h, e, j, log
}

// A failure is known at once, while a call of user code goes on that ignores the end
// of its context.
func TestAFailureIsToldBeforeUserCodeReturns(t *testing.T) {
	h, e, j, log := startBurning(t, runtime.KillTimeout(time.Hour))
	for log.count(slog.LevelError, "the job failed") == 0 {
		select {
		case <-log.came:
		case <-within(t).Done():
			t.Fatal("the failure is not told")
		}
	}
	if s := j.Status(); s.State != runtime.Waiting || !errors.Is(s.Failure, errOnFire) || s.Attempt != 1 {
		t.Errorf("%v, %v, attempt %d", s.State, s.Failure, s.Attempt)
	}
	close(h.release)
	if r, err := j.Wait(within(t)); err != nil || r.Restarts != 1 { // the source has no record left to fail on
		t.Errorf("%+v, %v", r, err)
	}
	closeEngine(t, e)
}

// A job that fails and hangs is given up after KillTimeout, with both in its error.
func TestAJobThatFailsAndHangsIsGivenUp(t *testing.T) {
	h, e, j, log := startBurning(t, runtime.KillTimeout(10*time.Millisecond))
	r, err := j.Wait(within(t))
	if !errors.Is(err, runtime.ErrHanging) || !errors.Is(err, errOnFire) || !strings.Contains(err.Error(), `source "in"`) || r.Job != "stuck" {
		t.Errorf("%+v, %v", r, err)
	}
	if s := j.Status(); s.State != runtime.Hanging || !errors.Is(s.Failure, errOnFire) ||
		log.count(slog.LevelError, "the job failed") != 1 || log.count(slog.LevelError, "the job hangs") != 1 {
		t.Errorf("%v, %v, logged %v", s.State, s.Failure, log)
	}
	if _, again := j.Stop(within(t)); again != err {
		t.Errorf("stopped, err = %v", again)
	}
	_, err = e.Start(within(t), hangingNamed(h, "stuck"))
	if !errors.Is(err, runtime.ErrHanging) {
		t.Errorf("started again, err = %v", err)
	}
	closeEngine(t, e)
	close(h.release)
	<-j.Done()
	if r, err := j.Wait(within(t)); err == nil || r.Restarts != 0 {
		t.Errorf("it has begun again: %+v, %v", r, err)
	}
}

// dragging is a sink whose Prepare returns when its context has ended, and says so.
type dragging struct{ hangingSink }

func (s dragging) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[int], error) {
	return draggingWriter{hangingWriter(s.hangingSink)}, nil
}

type draggingWriter struct{ hangingWriter }

func (w draggingWriter) Prepare(ctx context.Context, _ uint64) ([]byte, error) {
	w.at("dragging Prepare")
	<-ctx.Done()
	return nil, ctx.Err()
}

// A job whose sink never prepares comes to an end, with an error that names it.
func TestAJobWhoseCheckpointsNeverCompleteFails(t *testing.T) {
	// A machine that is slow makes checkpoints be given up before the sink is at fault:
	// the first case lets that happen, the second takes time enough for the source.
	for where, c := range map[string]struct {
		timeout  time.Duration
		failures int
		want     string
	}{
		"": {time.Millisecond, 1 << 30, `: it took longer than CheckpointTimeout (1ms): context deadline exceeded`},
		"dragging Prepare": {time.Second / 2, 2, `it hangs in sink "out"; it was to end for this: 2 checkpoints in a row were given up, ` +
			`the last one being: checkpoint 2 was given up after 500ms: out-0 of 2 tasks have not contributed`},
	} {
		t.Run(where, func(t *testing.T) {
			h := newHang(where)
			b := topology.New("dragging")
			topology.To(topology.From(b, "in", topology.Source[int](&stuckSource{hang: h})), "out", dragging{hangingSink{h}})
			e := openFaults(t, t.TempDir())
			_, err := e.Run(within(t), b, runtime.Parallelism(1), runtime.Restarts(0, 0), runtime.CheckpointEvery(0),
				runtime.CheckpointTimeout(c.timeout), runtime.CheckpointFailures(c.failures), runtime.KillTimeout(time.Second))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v\nwant %s", err, c.want)
			}
			closeEngine(t, e)
			close(h.release)
		})
	}
}
