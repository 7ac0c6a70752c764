package runtime_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/queues"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// numbered is what numbers come through: an exchange that knows each of them, and a queue.
type numbered struct {
	exchange queues.Exchange[int64]
	queue    queues.Queue[int64]
}

func numberedBy(name string) numbered {
	x := queues.ExchangeOf[int64](name).IdentifiedBy(func(i int64) string { return strconv.FormatInt(i, 10) }).
		Configure(func(c *actor.ExchangeConfig) { c.Type, c.Dedup.Enabled = actor.Fanout, true })
	return numbered{x, queues.Of[int64](name).From(x, "")}
}

// publish publishes numbers. What was published before is known.
func (n numbered) publish(ctx context.Context, e *runtime.Engine, from, to int64) error {
	if _, err := n.queue.Declare(ctx, e); err != nil {
		return err
	}
	p, err := n.exchange.NewPublisher(ctx, e)
	if err != nil {
		return err
	}
	for i := from; i < to && err == nil; i++ {
		_, err = p.Publish(ctx, i)
	}
	return errors.Join(err, p.Close(ctx))
}

func (n numbered) stats(t *testing.T, e *runtime.Engine) actor.QueueStats {
	t.Helper()
	q, err := e.Queue(within(t), n.queue.QueueName())
	if err == nil {
		err = q.CatchUp(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := q.Stats(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tallied counts numbers by their rest.
func tallied(numbers topology.Stream[int64], out topology.Sink[tally]) {
	byRest := topology.KeyBy(numbers, "by-rest", func(i int64) int64 { return i % tallyKeys })
	counts := topology.Fold(byRest, "tally", func(k int64, t tally, i int64) tally {
		return tally{Key: k, Count: t.Count + 1, Sum: t.Sum + i}
	})
	topology.To(counts, "out", out)
}

// A job that takes no checkpoints of its own accord reads a queue of many times what it may
// have in hand: it takes one whenever it needs to. What it leaves is acknowledged, and the
// next run goes on with the state.
func TestAJobReadsAQueueToItsEnd(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.ndjson")
	e := open(t, filepath.Join(dir, "data"))
	in := numberedBy("in")
	for _, part := range [][2]int64{{0, 2000}, {2000, 2300}} {
		if err := in.publish(within(t), e, part[0], part[1]); err != nil {
			t.Fatal(err)
		}
		b := topology.New("tallies")
		tallied(topology.From(b, "numbers", sources.Queue(in.queue, queues.Prefetch(64))), sinks.JSONLines[tally](out))
		r, err := e.Run(within(t), b, runtime.UntilEnd(), runtime.ExactlyOnce(), runtime.CheckpointEvery(0))
		if err != nil || !r.Finished {
			t.Fatalf("%+v, %v", r, err)
		}
		checkTallies(t, out, part[1])
		if s := in.stats(t, e); s.Live != 0 || s.Acked != uint64(part[1]) {
			t.Errorf("%+v", s.QueueCounts)
		}
	}
}

// A job that dies between two checkpoints, or between a checkpoint and what it acknowledges
// behind it, is given again what it had not acknowledged, and counts it once.
func TestAJobThatDiesCountsMessagesOnce(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.ndjson")
	e := open(t, filepath.Join(dir, "data"))
	in := numberedBy("in")
	const n = 6000
	if err := in.publish(within(t), e, 0, n); err != nil {
		t.Fatal(err)
	}
	opts := []runtime.Option{runtime.ExactlyOnce(), runtime.CheckpointEvery(2 * time.Millisecond)}
	for life := range int64(4) {
		var read atomic.Int64
		enough := make(chan struct{})
		b := topology.New("tallies")
		numbers := topology.From(b, "numbers", sources.Queue(in.queue, queues.Prefetch(200)))
		tallied(topology.Map(numbers, "look", func(i int64) int64 {
			if read.Add(1) == 300+137*life {
				close(enough)
			}
			return i
		}), sinks.JSONLines[tally](out))
		j, err := e.Start(within(t), b, opts...)
		if err != nil {
			t.Fatal(err)
		}
		<-enough
		if err := j.Kill(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	b := topology.New("tallies")
	tallied(topology.Map(topology.From(b, "numbers", sources.Queue(in.queue)), "look", func(i int64) int64 { return i }), sinks.JSONLines[tally](out))
	if r, err := e.Run(within(t), b, append(opts, runtime.UntilEnd())...); err != nil || !r.Finished {
		t.Fatalf("%+v, %v", r, err)
	}
	checkTallies(t, out, n)
	if s := in.stats(t, e); s.Live != 0 || s.Acked != n {
		t.Errorf("%+v", s.QueueCounts)
	}
}

// hesitant is a sink some of whose checkpoints cannot be prepared, and others not be
// committed.
type hesitant[T any] struct {
	topology.Sink[T]
	calls *atomic.Int64
}

func (h hesitant[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	w, err := h.Sink.Open(ctx, o)
	return hesitantWriter[T]{w, h.calls}, err
}

type hesitantWriter[T any] struct {
	topology.SinkWriter[T]
	calls *atomic.Int64
}

func (h hesitantWriter[T]) fails() error {
	if n := h.calls.Add(1); n%4 == 3 && n < 24 {
		return errors.New("on purpose")
	}
	return nil
}

func (h hesitantWriter[T]) Prepare(ctx context.Context, n uint64) ([]byte, error) {
	if err := h.fails(); err != nil {
		return nil, err
	}
	return h.SinkWriter.Prepare(ctx, n)
}

func (h hesitantWriter[T]) Commit(ctx context.Context, n uint64) error {
	if err := h.fails(); err != nil {
		return err
	}
	return h.SinkWriter.Commit(ctx, n)
}

// A job whose checkpoints fail, before they are complete or behind that, begins again from
// its last one, acknowledges nothing that is not in it, and counts each message once.
func TestAJobWhoseCheckpointsFailCountsMessagesOnce(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.ndjson")
	e := open(t, filepath.Join(dir, "data"))
	in := numberedBy("in")
	const n = 3000
	if err := in.publish(within(t), e, 0, n); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	b := topology.New("tallies")
	tallied(topology.From(b, "numbers", sources.Queue(in.queue, queues.Prefetch(200))), hesitant[tally]{sinks.JSONLines[tally](out), &calls})
	r, err := e.Run(within(t), b, runtime.ExactlyOnce(), runtime.CheckpointEvery(0), runtime.UntilEnd())
	if err != nil || !r.Finished || calls.Load() < 24 {
		t.Fatalf("%+v after %d calls: %v", r, calls.Load(), err)
	}
	checkTallies(t, out, n)
	if s := in.stats(t, e); s.Live != 0 || s.Acked != n {
		t.Errorf("%+v", s.QueueCounts)
	}
}

func TestEngineKnowsExchangesAndQueues(t *testing.T) {
	e := open(t, t.TempDir())
	ctx := within(t)
	if _, err := e.DeclareExchange(ctx, "orders", actor.ExchangeConfig{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.DeclareQueue(ctx, "emails", actor.QueueConfig{}); err != nil {
		t.Fatal(err)
	}
	b := actor.Binding{Exchange: "orders", Queue: "emails", RoutingKey: "k"}
	if err := errors.Join(e.Bind(ctx, b), e.Unbind(ctx, b)); err != nil {
		t.Fatal(err)
	}
	if x, err := e.Exchange(ctx, "orders"); err != nil || x.Name() != "orders" {
		t.Errorf("%v", err)
	}
	q, err := e.Queue(ctx, "emails")
	if err != nil || q.Name() != "emails" {
		t.Fatal(err)
	}
	if s, err := q.Stats(ctx); err != nil || s.Live != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := e.Queue(ctx, "other"); !errors.Is(err, actor.ErrNoQueue) {
		t.Errorf("%v", err)
	}
	all, err := e.Queues(ctx)
	if err != nil || len(all) != 1 || all[0].Name != "emails" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := e.Exchanges(ctx); err != nil || len(all) < 2 || all[0].Name != "" {
		t.Errorf("%+v, %v", all, err)
	}
}
