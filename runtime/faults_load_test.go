package runtime_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/runtime/runtimetest/ledger"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// slowSink takes its time, and watches what that does to the rest.
type slowSink struct {
	topology.Sink[string]
	pause          time.Duration // for each record
	read           *atomic.Int64 // records that the source has made
	watch          func(batch int)
	written, ahead atomic.Int64
	batches        atomic.Int64
}

func (s *slowSink) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[string], error) {
	w, err := s.Sink.Open(ctx, o)
	return slowWriter{w, s}, err
}

func (s *slowSink) Info() topology.SinkInfo { return topology.SinkInfo{MaxParallelism: 1} }

type slowWriter struct {
	topology.SinkWriter[string]
	s *slowSink
}

func (w slowWriter) Write(ctx context.Context, b *topology.Batch[string]) error {
	select {
	case <-time.After(w.s.pause * time.Duration(b.Len())): // this is what makes it slow
	case <-ctx.Done():
		return ctx.Err()
	}
	w.s.written.Add(int64(b.Len()))
	if ahead := w.s.read.Load() - w.s.written.Load(); ahead > w.s.ahead.Load() {
		w.s.ahead.Store(ahead)
	}
	w.s.watch(int(w.s.batches.Add(1)))
	return nil
}

// residentBytes is what the process takes of memory, after a collection.
func residentBytes(t *testing.T) int64 {
	goruntime.GC()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("resident memory cannot be measured here: %v", err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// costOf is how long f takes: the median of several runs.
func costOf(f func()) time.Duration {
	times := make([]time.Duration, 9)
	for i := range times {
		begun := time.Now()
		f()
		times[i] = time.Since(begun)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// TestASlowSinkSlowsItsSource: the sink takes a thousand times as long for a
// record as the source does. Memory stays flat, and the source waits.
func TestASlowSinkSlowsItsSource(t *testing.T) {
	const batch, splits, parallelism, parcels = 16, 2, 2, 4
	var read atomic.Int64
	warm, end := make(chan struct{}), make(chan struct{})
	pad := strings.Repeat("x", 1024)
	produce := func(i int64) string {
		read.Add(1)
		return strconv.FormatInt(i%97, 10) + pad
	}
	pause := costOf(func() {
		for i := range int64(1000) {
			produce(i)
		}
	})
	read.Store(0)
	in := sources.Generator(produce, sources.Splits(splits))
	out := &slowSink{Sink: sinks.Discard[string](), pause: pause, read: &read, watch: func(n int) {
		switch n {
		case 20:
			close(warm)
		case 120:
			close(end)
		}
	}}
	b := topology.New("slow")
	keyed := topology.KeyBy(topology.From(b, "in", in), "by-key", func(s string) string { return s[:2] })
	topology.To(topology.Fold(keyed, "last", func(_, _, s string) string { return s }), "out", topology.Sink[string](out))
	e := openFaults(t, t.TempDir(), runtime.BatchSize(batch), runtime.Parallelism(parallelism), runtime.InFlight(parcels, 1<<20), runtime.CheckpointEvery(0))
	j, err := e.Start(within(t), b)
	if err != nil {
		t.Fatal(err)
	}
	<-warm
	before := residentBytes(t)
	<-end
	after := residentBytes(t)
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	// The source, left to itself, would have made a gigabyte and a half meanwhile,
	// a thousand times what the sink took.
	if grown := after - before; grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	// What was read ahead, and for every channel a window at the receiver and as
	// much on its way; a sender gathers up to a batch for each target besides.
	channels := splits*parallelism + parallelism
	bound := int64(batch * (splits*4 + channels*(2*parcels+4)))
	if ahead := out.ahead.Load(); ahead > bound {
		t.Errorf("the source was up to %d records ahead of the sink, more than %d", ahead, bound)
	}
}

// TestABurstWaitsForItsSink: one batch gives rise to far more than there is
// room for, and is not finished before the sink has taken most of it.
func TestABurstWaitsForItsSink(t *testing.T) {
	const batch, parcels, fan = 16, 2, 1000
	// A window's parcels at both ends, what waits in front of it, the batch that
	// is gathered and the one being written, and what one record gave rise to.
	const bound = batch*(2*parcels+8+4) + fan
	numbers := func(n int64) topology.Source[int64] {
		return sources.Generator(func(i int64) int64 { return i }, sources.Count(n))
	}
	bursts := map[string]func(b *topology.Builder, made *atomic.Int64) topology.Stream[string]{
		"of one record": func(b *topology.Builder, made *atomic.Int64) topology.Stream[string] {
			return topology.FlatMap(topology.From(b, "in", numbers(200)), "burst", func(int64) []string {
				made.Add(fan)
				return make([]string, fan)
			})
		},
		"of windows": func(b *topology.Builder, made *atomic.Int64) topology.Stream[string] {
			in := topology.EventTime(topology.From(b, "in", numbers(10_000)), "time", 0, func(int64) time.Time { return time.Unix(1, 0) })
			keyed := topology.KeyBy(in, "by-number", func(i int64) int64 { return i })
			ended, _ := topology.WindowFold(keyed, "window", topology.Tumbling(time.Minute), func(_ int64, n int, _ int64) int { return n + 1 })
			return topology.Map(ended, "text", func(topology.Window[int64, int]) string {
				made.Add(1)
				return ""
			})
		},
		"of timers": func(b *topology.Builder, made *atomic.Int64) topology.Stream[string] {
			in := topology.EventTime(topology.From(b, "in", numbers(10_000)), "time", 0, func(int64) time.Time { return time.Unix(1, 0) })
			keyed := topology.KeyBy(in, "by-number", func(i int64) int64 { return i })
			return topology.Process(keyed, "timers", func(p *topology.Processor[int64, int64, string]) {
				p.OnRecord(func(int64) { p.SetEventTimer(time.Unix(60, 0)) })
				p.OnEventTimer(func(time.Time) {
					made.Add(1)
					p.Emit("")
				})
			})
		},
	}
	for name, burst := range bursts {
		t.Run(name, func(t *testing.T) {
			var made atomic.Int64
			end := make(chan struct{})
			out := &slowSink{Sink: sinks.Discard[string](), pause: 50 * time.Microsecond, read: &made, watch: func(n int) {
				if n == 200 {
					close(end)
				}
			}}
			b := topology.New("burst")
			topology.To(burst(b, &made), "out", topology.Sink[string](out))
			e := openFaults(t, t.TempDir(), runtime.BatchSize(batch), runtime.Parallelism(1), runtime.InFlight(parcels, 1<<20), runtime.CheckpointEvery(0))
			j, err := e.Start(within(t), b)
			if err != nil {
				t.Fatal(err)
			}
			<-end
			if err := j.Kill(within(t)); err != nil {
				t.Fatal(err)
			}
			closeEngine(t, e)
			if ahead := out.ahead.Load(); ahead > bound {
				t.Errorf("%d records were ahead of the sink, more than %d", ahead, bound)
			}
		})
	}
}

// TestNothingIsLeftBehind starts and ends engines and jobs in every way.
func TestNothingIsLeftBehind(t *testing.T) {
	before := openFiles(t)
	others := goleak.IgnoreCurrent()
	log := newJournal()
	for n := range 30 {
		dir := t.TempDir()
		e := openFaults(t, dir, runtime.CheckpointEvery(2*time.Millisecond), runtime.Logger(slog.New(log)))
		j, err := e.Start(within(t), faultTopology(readings(800, 8000), sinksIn(dir)), runtime.Parallelism(1+n%3))
		if err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			_, _ = j.Checkpoint(within(t)) // the job may have come to its end
		}
		switch n % 5 {
		case 0:
			err = j.Kill(within(t))
		case 1:
			_, err = j.Stop(within(t))
		case 2:
			_, err = j.Wait(within(t))
		case 3:
			go func() { _, _ = j.Stop(context.Background()) }()
		}
		if err != nil {
			t.Fatal(err)
		}
		closeEngine(t, e)
	}
	goleak.VerifyNone(t, others)
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, and were %d", after, before)
	}
	for _, line := range []string{"an actor failed", "the job failed", "user code panicked"} {
		if n := log.count(slog.LevelError, line); n > 0 {
			t.Errorf("%q was logged %d times", line, n)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open files cannot be counted here: %v", err)
	}
	return len(all)
}

// TestAtLeastOnceRepeatsNoMoreThanItMust kills a job with at-least-once state:
// nothing is lost, and what comes again was read since the last checkpoint.
func TestAtLeastOnceRepeatsNoMoreThanItMust(t *testing.T) {
	const n = 3000 // more than the lives below can read
	r := newRig(t)
	bound := 0
	for kill := range 6 {
		bound += r.killAtLeastOnce(n, kill)
	}
	e := r.openAtLeastOnce()
	defer func() { closeEngine(t, e) }()
	if _, err := e.Run(within(t), faultTopology(readings(n, 0), sinksIn(r.dir))); err != nil {
		t.Fatal(err)
	}
	var l ledger.Ledger
	for i := range int64(n) {
		v := readingOf(i)
		l.Sent(ledger.Send{ID: v.id(), Key: v.key(), Offset: ledger.NoOffset})
	}
	l.Declare(ledger.Sink{Name: "topic", MaxRepeats: bound, Unordered: true})
	seen := map[int64]int{}
	readTopic(t, e, "records", func(_ int, _ int64, v reading) {
		seen[v.ID]++
		d := ledger.Delivery{Sink: "topic", ID: v.id(), Key: v.key(), Attempt: seen[v.ID]}
		if seen[v.ID] > 1 {
			d.Cause = "kill"
		}
		l.Delivered(d)
	})
	l.Finished(ledger.Read{What: "topic", Want: n, Got: int64(len(seen))})
	v := l.Check()
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	if v.Repeated == 0 {
		t.Error("nothing came again, which would prove nothing")
	}
}

func (r *rig) openAtLeastOnce() *runtime.Engine {
	r.t.Helper()
	e, err := runtime.Open(within(r.t), runtime.Store(r.store), runtime.Logger(quiet), runtime.CheckpointEvery(0), runtime.Parallelism(2))
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// killAtLeastOnce kills the job when it is some way behind its last checkpoint,
// and returns how far.
func (r *rig) killAtLeastOnce(n int64, kill int) int {
	r.t.Helper()
	const portion = 100
	out, wrote := sinksIn(r.dir), make(chan struct{}, 1)
	out.copies = noisy[reading]{out.copies, wrote}
	e := r.openAtLeastOnce()
	j, err := e.Start(within(r.t), faultTopology(runtimetest.Through(&r.tap, readings(n, 0)), out))
	if err != nil {
		r.t.Fatal(err)
	}
	for range 1 + kill%3 {
		r.tap.Pour(portion)
		r.checkpoint(j)
	}
	r.tap.Pour(portion)
	select {
	case <-wrote:
	case <-within(r.t).Done():
		r.t.Fatal("nothing was written")
	}
	if err := j.Kill(within(r.t)); err != nil {
		r.t.Fatal(err)
	}
	report, _ := j.Wait(within(r.t))
	behind := r.sourceOut(j) - report.Checkpoint.Records
	if report.Resumed != nil {
		behind += report.Resumed.Records
	}
	r.tap.Close()
	closeEngine(r.t, e)
	r.restart()
	return int(behind)
}

// noisy is a sink that tells of what it has written since its last checkpoint.
type noisy[T any] struct {
	topology.Sink[T]
	wrote chan struct{}
}

func (s noisy[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	w, err := s.Sink.Open(ctx, o)
	return noisyWriter[T]{w, s.wrote}, err
}

type noisyWriter[T any] struct {
	topology.SinkWriter[T]
	wrote chan struct{}
}

func (w noisyWriter[T]) Write(ctx context.Context, b *topology.Batch[T]) error {
	err := w.SinkWriter.Write(ctx, b)
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return err
}

func (w noisyWriter[T]) Prepare(ctx context.Context, checkpoint uint64) ([]byte, error) {
	select {
	case <-w.wrote:
	default:
	}
	return w.SinkWriter.Prepare(ctx, checkpoint)
}

func (r *rig) sourceOut(j *runtime.Job) int64 {
	for _, o := range j.Status().Operators {
		if o.Name == "readings" {
			return o.Out
		}
	}
	r.t.Fatal("there is no such source")
	return 0
}
