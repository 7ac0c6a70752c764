package queues

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/sources/sourcetest"
	"github.com/troupestream/troupe/topology"
)

// engineFor is a system over a store in memory, and the context that carries it.
func engineFor(t testing.TB) (context.Context, *actor.System) {
	t.Helper()
	store := storagefake.New()
	sys := actor.NewSystem(store)
	t.Cleanup(func() {
		if err := sys.Close(context.Background()); err != nil {
			t.Error(err)
		}
		store.Close()
	})
	return actor.WithSystem(t.Context(), sys), sys
}

// engineSource finds its engine under any context.
type engineSource[T any] struct {
	topology.Source[T]
	sys *actor.System
}

func (s engineSource[T]) Splits(ctx context.Context) ([]string, error) {
	return s.Source.Splits(actor.WithSystem(ctx, s.sys))
}

func (s engineSource[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	return s.Source.Open(actor.WithSystem(ctx, s.sys), r)
}

type task struct {
	ID   int
	Note string
}

func nth(i int) task { return task{i, strings.Repeat("x", i%40)} }

// fragile is a codec that panics on some tasks.
type fragile struct{ Codec[task] }

func (f fragile) Decode(data []byte) (task, error) {
	v, err := f.Codec.Decode(data)
	if v == shortFuse() {
		panic("a short fuse")
	}
	return v, err
}

func shortFuse() task { return task{ID: -2} }

var queueCount atomic.Int64

// bed is a queue and who publishes to it.
type bed struct {
	t     testing.TB
	ctx   context.Context
	sys   *actor.System
	tasks Queue[task]
	queue *actor.Queue
	to    *actor.ExchangePublisher
}

func newBed(ctx context.Context, t testing.TB, sys *actor.System, c actor.QueueConfig) *bed {
	t.Helper()
	b := &bed{t: t, ctx: ctx, sys: sys, tasks: Of[task](fmt.Sprint("tasks-", queueCount.Add(1)))}
	b.tasks.codec = fragile{b.tasks.codec}
	var err error
	if b.queue, err = sys.DeclareQueue(ctx, b.tasks.name, c); err != nil {
		t.Fatal(err)
	}
	x, err := sys.Exchange(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if b.to, err = x.NewPublisher(ctx, actor.ExchangePublisherOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.to.Close(context.Background()) })
	return b
}

func (b *bed) publish(bodies ...[]byte) {
	b.t.Helper()
	for _, body := range bodies {
		if _, err := b.to.Publish(b.ctx, &actor.Message{RoutingKey: b.tasks.name, Body: body}); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.to.Flush(b.ctx); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) encoded(v task) []byte {
	b.t.Helper()
	body, err := codec.For[task]().Append(nil, v)
	if err != nil {
		b.t.Fatal(err)
	}
	return body
}

func (b *bed) fill(from, to int) {
	b.t.Helper()
	for i := from; i < to; i++ {
		b.publish(b.encoded(nth(i)))
	}
}

func (b *bed) want(n int) map[string][]task {
	all := []task{}
	for i := range n {
		all = append(all, nth(i))
	}
	return map[string][]task{b.tasks.name: all}
}

func (b *bed) source(opts ...ConsumerOption) topology.Source[task] {
	return engineSource[task]{b.tasks.Source(opts...), b.sys}
}

// pooled are the goroutines that actors run on.
var pooled = []string{"github.com/troupestream/troupe/actor.(*Dispatcher).worker"}

func TestSourceConforms(t *testing.T) {
	ctx, sys := engineFor(t)
	poisoned := func(poison func(*bed) []byte) func(t *testing.T) sourcetest.Case[task] {
		return func(t *testing.T) sourcetest.Case[task] {
			b := newBed(ctx, t, sys, actor.QueueConfig{})
			b.fill(0, 9)
			b.publish(poison(b))
			b.fill(9, 14)
			return sourcetest.Case[task]{Source: b.source(), Want: b.want(14), Poison: map[string]int{b.tasks.name: 9}}
		}
	}
	sourcetest.Run(t, sourcetest.Harness[task]{
		Until: topology.Until{End: true}, Pooled: pooled, OneReader: true,
		New: func(t *testing.T) sourcetest.Case[task] {
			b := newBed(ctx, t, sys, actor.QueueConfig{})
			b.fill(0, 31)
			return sourcetest.Case[task]{Source: b.source(), Want: b.want(31)}
		},
		Waiting: func(t *testing.T) topology.Source[task] {
			return newBed(ctx, t, sys, actor.QueueConfig{}).source()
		},
		Poisoned:  poisoned(func(*bed) []byte { return []byte("no task") }),
		Panicking: poisoned(func(b *bed) []byte { return b.encoded(shortFuse()) }),
	})
}

func (b *bed) open(position []byte, opts ...ConsumerOption) (*reader[task], *source[task]) {
	b.t.Helper()
	s := b.tasks.Source(opts...).(*source[task])
	return b.openWith(s, position), s
}

func (b *bed) openWith(s *source[task], position []byte) *reader[task] {
	b.t.Helper()
	r, err := s.Open(b.ctx, topology.OpenRequest{Split: b.tasks.name, Position: position, Until: topology.Until{End: true}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { r.Close() })
	return r.(*reader[task])
}

// drain reads to the end of the queue, and returns the ids.
func (b *bed) drain(r topology.SourceReader[task]) (ids []int) {
	b.t.Helper()
	for {
		batch := new(topology.Batch[task])
		err := r.Read(b.ctx, batch, 7)
		for _, v := range batch.Values {
			ids = append(ids, v.ID)
		}
		if err == io.EOF {
			return ids
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}
