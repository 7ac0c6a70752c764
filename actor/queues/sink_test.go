package queues

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/sinks/sinktest"
	"github.com/troupestream/troupe/topology"
)

// engineSink finds its engine under any context.
type engineSink struct {
	topology.Sink[task]
	sys *actor.System
}

func (s engineSink) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[task], error) {
	return s.Sink.Open(actor.WithSystem(ctx, s.sys), o)
}

func (f fragile) Append(dst []byte, v task) ([]byte, error) {
	if v == shortFuse() {
		panic("a short fuse")
	}
	return f.Codec.Append(dst, v)
}

// contents looks at what a queue has, and leaves it there.
func (b *bed) contents() (all []task) {
	b.t.Helper()
	r := b.openWith(b.tasks.Source().(*source[task]), nil)
	defer r.Close()
	for {
		batch := new(topology.Batch[task])
		err := r.Read(b.ctx, batch, 1000)
		all = append(all, batch.Values...)
		if err != nil {
			return all
		}
	}
}

// conform puts a sink through the suite; sink makes it, for a queue that is new.
func conform(t *testing.T, sink func(*bed) topology.Sink[task]) {
	ctx, sys := engineFor(t)
	sinktest.Run(t, sinktest.Harness[task]{
		Record: nth, Poison: func() task { return task{-1, strings.Repeat("p", 2<<20)} }, Panicking: shortFuse, Pooled: pooled,
		Equal: func(a, b task) bool { return a == b },
		New: func(t *testing.T) sinktest.Case[task] {
			b := newBed(ctx, t, sys, actor.QueueConfig{})
			return sinktest.Case[task]{
				Sink:     func() topology.Sink[task] { return engineSink{sink(b), sys} },
				Contents: func(t *testing.T) []task { return b.contents() },
			}
		},
	})
}

func TestQueueSinkConforms(t *testing.T) {
	conform(t, func(b *bed) topology.Sink[task] { return b.tasks.Sink() })
}

func TestExchangeSinkConforms(t *testing.T) {
	conform(t, func(b *bed) topology.Sink[task] { return b.exchange().Sink() })
}

// exchange leads to the queue.
func (b *bed) exchange() Exchange[task] {
	b.t.Helper()
	x := ExchangeOf[task]("to-" + b.tasks.name).StoredAs(b.tasks.codec).Type(actor.Fanout)
	if _, err := b.tasks.From(x, "").Declare(b.ctx, inEngine{b.sys}); err != nil {
		b.t.Fatal(err)
	}
	return x
}

func (b *bed) writer(s topology.Sink[task]) topology.SinkWriter[task] {
	b.t.Helper()
	w, err := s.Open(b.ctx, topology.SinkOpen{Job: "job", Sink: "out", Tasks: 1, ExactlyOnce: true})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { w.Close() })
	return w
}

func batchOf(ids ...int) *topology.Batch[task] {
	b := new(topology.Batch[task])
	for _, id := range ids {
		b.Values = append(b.Values, nth(id))
	}
	return b
}

func (b *bed) write(w topology.SinkWriter[task], batch *topology.Batch[task]) {
	b.t.Helper()
	err := w.Write(b.ctx, batch)
	if err == nil {
		_, err = w.Prepare(b.ctx, 1)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// What a job publishes again after a failure, an exchange that knows ids takes once.
func TestAnExchangeThatKnowsIdsTakesRepetitionsOnce(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	x := ExchangeOf[task]("known").StoredAs(b.tasks.codec).IdentifiedBy(func(v task) string { return fmt.Sprint(v.ID) }).
		Configure(func(c *actor.ExchangeConfig) { c.Type, c.Dedup.Enabled = actor.Fanout, true })
	if _, err := b.tasks.From(x, "").Declare(ctx, inEngine{sys}); err != nil {
		t.Fatal(err)
	}
	b.write(b.writer(x.Sink()), batchOf(0, 1, 2))
	b.write(b.writer(x.Sink()), batchOf(1, 2, 3)) // the job was begun anew
	if got := b.contents(); len(got) != 4 {
		t.Errorf("the queue has %v, want 0 to 3", got)
	}
}

// The event time of a record is that of its message, and that of the record again for a
// job that reads the queue.
func TestEventTimesGoThroughQueues(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	batch := batchOf(0, 1)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli()
	batch.Times = []int64{at, dataflow.NoTime}
	b.write(b.writer(b.tasks.Sink()), batch)
	r, _ := b.open(nil)
	got := new(topology.Batch[task])
	for got.Len() < 2 {
		if err := r.Read(ctx, got, 2-got.Len()); err != nil {
			t.Fatal(err)
		}
	}
	if got.Times[0] != at || got.Times[1] < at {
		t.Errorf("times %v, want %d and that of publishing", got.Times, at)
	}
}

// A value that cannot be routed is trouble of its own: those around it are published.
func TestUnroutableValuesAreRecordErrors(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	x := ExchangeOf[task]("picky").StoredAs(b.tasks.codec).RoutedBy(func(v task) string { return fmt.Sprint(v.ID % 2) })
	if _, err := b.tasks.From(x, "0").Declare(ctx, inEngine{sys}); err != nil {
		t.Fatal(err)
	}
	var bad *dataflow.RecordError
	if err := b.writer(x.Sink()).Write(ctx, batchOf(0, 2, 3, 4)); !errors.As(err, &bad) || bad.Index != 2 || !errors.Is(err, actor.ErrUnroutable) {
		t.Errorf("%v", err)
	}
	b.write(b.writer(x.Sink(DropUnroutable())), batchOf(4, 5, 6))
	if got := b.contents(); len(got) != 4 {
		t.Errorf("the queue has %v", got)
	}
}

// A full queue that refuses publishers holds the job up, and no longer than it is full.
func TestAFullQueueHoldsTheSinkUp(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{MaxLength: 2, Overflow: actor.RejectPublish})
	w := b.writer(b.tasks.Sink())
	b.write(w, batchOf(0, 1))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.Write(ended, batchOf(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	written := make(chan error, 1)
	go func() { written <- w.Write(ctx, batchOf(2)) }()
	c := b.consumer(actor.ConsumeOptions{})
	if err := b.next(c).AckSync(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestSinksNeedAnEngine(t *testing.T) {
	for _, s := range []topology.Sink[task]{Of[task]("q").Sink(), ExchangeOf[task]("x").Sink()} {
		if _, err := s.Open(context.Background(), topology.SinkOpen{}); !errors.Is(err, ErrNoEngine) {
			t.Errorf("%v", err)
		}
		if g := s.Info().Guarantee; g != topology.AtLeastOnce {
			t.Errorf("%v is promised", g)
		}
	}
}
