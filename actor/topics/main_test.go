package topics

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a system over a store in memory, and the context that carries it.
func engine(t testing.TB, opts ...actor.Option) (context.Context, *actor.System) {
	t.Helper()
	store := storagefake.New()
	sys := actor.NewSystem(store, opts...)
	t.Cleanup(func() {
		if err := sys.Close(context.Background()); err != nil {
			t.Error(err)
		}
		store.Close()
	})
	return actor.WithSystem(t.Context(), sys), sys
}

// inEngine makes a sink or source find its engine under any context.
type inEngine struct{ sys *actor.System }

type engineSink[T any] struct {
	topology.Sink[T]
	inEngine
}

func (s engineSink[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	return s.Sink.Open(actor.WithSystem(ctx, s.sys), o)
}

type engineSource[T any] struct {
	topology.Source[T]
	inEngine
}

func (s engineSource[T]) Splits(ctx context.Context) ([]string, error) {
	return s.Source.Splits(actor.WithSystem(ctx, s.sys))
}

func (s engineSource[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	return s.Source.Open(actor.WithSystem(ctx, s.sys), r)
}

// contents reads everything that a topic holds, one partition after the other.
func contents[T any](ctx context.Context, t *testing.T, topic Topic[T]) []T {
	t.Helper()
	src := topic.Source()
	splits, err := src.Splits(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for _, s := range splits {
		all = append(all, partition(ctx, t, topic, s).Values...)
	}
	return all
}

// partition reads everything that a partition holds.
func partition[T any](ctx context.Context, t *testing.T, topic Topic[T], split string) *topology.Batch[T] {
	t.Helper()
	r, err := topic.Source().Open(ctx, topology.OpenRequest{Split: split, Until: topology.Until{End: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := new(topology.Batch[T])
	for {
		b := new(topology.Batch[T])
		err := r.Read(ctx, b, 1000)
		for _, trace := range b.Traces {
			trace.Index += all.Len()
			all.Traces = append(all.Traces, trace)
		}
		all.Values, all.Times = append(all.Values, b.Values...), append(all.Times, b.Times...)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func open[T any](ctx context.Context, t *testing.T, topic Topic[T], o topology.SinkOpen) topology.SinkWriter[T] {
	t.Helper()
	w, err := topic.Sink().Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func put[T any](ctx context.Context, t *testing.T, w topology.SinkWriter[T], values ...T) {
	t.Helper()
	if err := w.Write(ctx, &topology.Batch[T]{Values: values}); err != nil {
		t.Fatal(err)
	}
}

var topicCount atomic.Int64

// fresh describes a topic that no other test uses.
func fresh[T any]() Topic[T] { return Of[T](fmt.Sprint("topic-", topicCount.Add(1))) }

func requireError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
}
