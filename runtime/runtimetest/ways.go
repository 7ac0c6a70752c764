package runtimetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/topology"
)

// Way is one of the ways in which ThreeWays runs a topology.
type Way struct {
	Name        string
	Parallelism int
	Dir         string // of this way: for files that the topology writes

	tap     Tap
	mu      sync.Mutex
	outputs map[string]output
}

// output is a sink's name, with what it holds, as lines of JSON and as values.
type output struct {
	sink   any
	values func() any
	lines  func() []string
}

// From makes the records of a source count: in the third way the job is killed
// when its sources have given a random number of them.
func From[T any](w *Way, s topology.Source[T]) topology.Source[T] { return Through(&w.tap, s) }

// To returns a sink that keeps what it is given, under a name.
func To[T any](w *Way, name string) topology.Sink[T] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o, ok := w.outputs[name]; ok {
		return o.sink.(topology.Sink[T])
	}
	s := sinks.Slice[T]()
	w.outputs[name] = output{sink: topology.Sink[T](s), values: func() any { return s.Values() }, lines: func() []string { return lines(s.Values()) }}
	return s
}

// Values are what the sink of that name holds.
func Values[T any](w *Way, name string) []T {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, _ := w.outputs[name].values().([]T)
	return v
}

func lines[T any](values []T) []string {
	all := make([]string, 0, len(values))
	for _, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			b = fmt.Appendf(nil, "%+v", v)
		}
		all = append(all, string(b))
	}
	slices.Sort(all)
	return all
}

// MaxKills is how often ThreeWays kills the job of the third way.
const MaxKills = 6

// ThreeWays runs a topology three times, with exactly-once state: straight, on
// one task a chain; with a checkpoint every few milliseconds, on two; and killed
// up to MaxKills times, each time resumed at another parallelism. Every sink that
// To returned must hold the same each time, in any order. check, which may be
// nil, is called after each way and compares with what is right.
//
// The topology that build returns must give the same results however its records
// are spread over tasks. It is built anew for every start.
func ThreeWays(t *testing.T, build func(*Way) *topology.Builder, check func(testing.TB, *Way)) {
	t.Helper()
	ways := []*Way{
		{Name: "straight", Parallelism: 1},
		{Name: "checkpointed", Parallelism: 2},
		{Name: "killed", Parallelism: 3},
	}
	for i, w := range ways {
		w.Dir, w.outputs = t.TempDir(), map[string]output{}
		t.Run(w.Name, func(t *testing.T) {
			w.run(t, build)
			if check != nil {
				check(t, w)
			}
			if i > 0 {
				w.compare(t, ways[0])
			}
		})
	}
}

func (w *Way) run(t *testing.T, build func(*Way) *topology.Builder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	every := time.Hour
	if w.Parallelism > 1 {
		every = 3 * time.Millisecond
	}
	e, err := runtime.Open(ctx, runtime.DataDir(filepath.Join(w.Dir, "data")), runtime.ExactlyOnce(),
		runtime.CheckpointEvery(every), runtime.BatchSize(16), runtime.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	if w.Parallelism == 3 {
		w.kill(ctx, t, e, build)
	}
	w.tap.Open()
	r, err := e.Run(ctx, build(w), runtime.Parallelism(w.Parallelism))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Finished {
		t.Fatalf("the job did not come to its end: %+v", r)
	}
}

// kill starts the job several times, and each time kills it when its sources
// have given as many records as they may.
func (w *Way) kill(ctx context.Context, t *testing.T, e *runtime.Engine, build func(*Way) *topology.Builder) {
	t.Helper()
	r := Random(t)
	for n := range MaxKills {
		w.tap.Close()
		w.tap.Pour(1 + r.Int64N(400))
		j, err := e.Start(ctx, build(w), runtime.Parallelism(1+n%3))
		if err != nil {
			t.Fatal(err)
		}
		w.someCheckpoints(ctx, r, j)
		select {
		case <-w.tap.Empty():
		case <-j.Done():
			return
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
		w.someCheckpoints(ctx, r, j)
		if err := j.Kill(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// someCheckpoints waits for a few checkpoints, or none.
func (w *Way) someCheckpoints(ctx context.Context, r *rand.Rand, j *runtime.Job) {
	for range r.IntN(3) {
		if _, err := j.Checkpoint(ctx); err != nil {
			return // the job has ended, which is seen elsewhere
		}
	}
}

func (w *Way) compare(t *testing.T, with *Way) {
	t.Helper()
	for name, o := range w.outputs {
		got, want := o.lines(), with.outputs[name].lines()
		if !slices.Equal(got, want) {
			t.Errorf("sink %q holds %d values, and %d when the topology runs %s; %s", name, len(got), len(want), with.Name, firstDifference(got, want))
		}
	}
}

func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] < want[i] {
			return "only here: " + got[i]
		}
		if got[i] > want[i] {
			return "missing: " + want[i]
		}
	}
	if len(got) > len(want) {
		return "only here: " + got[len(want)]
	}
	return "missing: " + want[len(got)]
}
