package runtime_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// brittle is a source, or a sink, that panics when it is closed.
type brittle struct{}

func (brittle) Splits(context.Context) ([]string, error) { return []string{"only"}, nil }
func (brittle) Info() topology.SinkInfo                  { return topology.SinkInfo{} }
func (brittle) Position() []byte                         { return []byte{} }
func (brittle) Lag() int64                               { return 0 }
func (brittle) Close() error                             { panic("it fell apart") }

func (brittle) Read(context.Context, *topology.Batch[int], int) error { return io.EOF }

type brittleSource struct{ brittle }

func (s brittleSource) Open(context.Context, topology.OpenRequest) (topology.SourceReader[int], error) {
	return s.brittle, nil
}

type brittleSink struct{ brittle }

func (s brittleSink) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[int], error) {
	return s, nil
}

func (brittleSink) Write(context.Context, *topology.Batch[int]) error { return nil }
func (brittleSink) Prepare(context.Context, uint64) ([]byte, error)   { return nil, nil }
func (brittleSink) Commit(context.Context, uint64) error              { return nil }

// A source or sink that panics while it is closed ends no process: what it had
// to do is done by then.
func TestAPanicInCloseIsContained(t *testing.T) {
	b := topology.New("brittle")
	topology.To(topology.From(b, "in", brittleSource{}), "out", brittleSink{})
	e := open(t, t.TempDir())
	if r, err := e.Run(within(t), b, runtime.Parallelism(2)); err != nil || !r.Finished {
		t.Fatalf("%+v, %v", r, err)
	}
}

// leaky is a source, or a sink, that reports an error when it is closed.
type leaky struct{ brittle }

var errLeaks = errors.New("it leaks")

func (leaky) Close() error { return errLeaks }
func (s leaky) Open(context.Context, topology.OpenRequest) (topology.SourceReader[int], error) {
	return s, nil
}

type leakySink struct {
	brittleSink
	inline bool
}

func (s leakySink) Info() topology.SinkInfo { return topology.SinkInfo{Inline: s.inline} }
func (leakySink) Close() error              { return errLeaks }
func (s leakySink) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[int], error) {
	return s, nil
}

// What a source or a sink reports when it is closed is logged by name, and does not
// make a job fail whose results are committed.
func TestAnErrorOfCloseIsLogged(t *testing.T) {
	for _, inline := range []bool{false, true} {
		log := newJournal()
		b := topology.New("leaky")
		topology.To(topology.From(b, "in", leaky{}), "out", leakySink{inline: inline})
		e := open(t, t.TempDir(), runtime.Logger(slog.New(log)))
		if r, err := e.Run(within(t), b, runtime.Parallelism(1)); err != nil || !r.Finished {
			t.Fatalf("%+v, %v", r, err)
		}
		text := log.String()
		if log.count(slog.LevelError, "the job is complete") == 0 || !strings.Contains(text, `sink "out": it leaks`) ||
			!strings.Contains(text, `split "only" of source "in": it leaks`) {
			t.Errorf("inline %v: it is not told of all that was not closed:\n%s", inline, text)
		}
	}
}

// Of a job that fails it is told as well, and not as if results were missing.
func TestAnErrorOfCloseBehindAFailureIsAWarning(t *testing.T) {
	log := newJournal()
	b := topology.New("leaky")
	in := topology.From(b, "in", sources.Slice(1))
	topology.To(topology.Map(in, "work", func(int) int { panic("no") }), "out", leakySink{})
	e := open(t, t.TempDir(), runtime.Logger(slog.New(log)))
	if _, err := e.Run(within(t), b, runtime.Parallelism(1)); err == nil || errors.Is(err, errLeaks) {
		t.Fatal(err)
	}
	if log.count(slog.LevelWarn, "could not be closed") != 1 || log.count(slog.LevelError, "could not be closed") != 0 {
		t.Errorf("logged:\n%v", log)
	}
}
