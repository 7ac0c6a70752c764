package runtime_test

import (
	"context"
	"io"
	"testing"

	"github.com/troupestream/troupe/runtime"
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
