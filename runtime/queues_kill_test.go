package runtime_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor/queues"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// TestKillNineBetweenQueues kills a job that reads a queue and writes to an exchange with
// signal 9, over and over. Every message counts once in its state, however often it was
// delivered; the exchange, which knows ids, takes each result once; and nothing is left
// behind in the queue.
func TestKillNineBetweenQueues(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	data, out := filepath.Join(dir, "data"), filepath.Join(dir, "out.ndjson")
	in, results := numberedBy("in"), numberedBy("results")
	k := runtimetest.Kills{Count: 16, Within: 400 * time.Millisecond}
	const each = 2000
	n := int64(k.KillCount()+1) * each
	runtimetest.KillLoop(t, k, func(ctx context.Context, l *runtimetest.Life) error {
		e, err := runtime.Open(ctx, runtime.DataDir(data), runtime.Logger(quiet))
		if err != nil {
			return err
		}
		defer e.Close(ctx)
		if _, err := results.queue.Declare(ctx, e); err != nil {
			return err
		}
		opts := []runtime.Option{runtime.ExactlyOnce(), runtime.CheckpointEvery(20 * time.Millisecond), runtime.Parallelism(1 + l.Number%3)}
		from, to := int64(l.Number)*each, int64(l.Number+1)*each
		if l.Last {
			from, opts = 0, append(opts, runtime.UntilEnd())
		}
		if err := in.publish(ctx, e, from, to); err != nil {
			return err
		}
		b := topology.New("between")
		numbers := topology.From(b, "numbers", sources.Queue(in.queue, queues.Prefetch(500)))
		topology.To(numbers, "results", sinks.Exchange(results.exchange))
		tallied(numbers, sinks.JSONLines[tally](out))
		_, err = e.Run(ctx, b, opts...)
		return err
	})
	checkTallies(t, out, n)
	e := open(t, data)
	if s := in.stats(t, e); s.Live != 0 || s.Taken != uint64(n) || s.Acked != uint64(n) {
		t.Errorf("the queue: %+v", s.QueueCounts)
	}
	requireEachOnce(t, e, results, n)
}

// requireEachOnce requires that a queue has the numbers up to n.
func requireEachOnce(t *testing.T, e *runtime.Engine, from numbered, n int64) {
	t.Helper()
	if s := from.stats(t, e); s.Ready != int(n) {
		t.Fatalf("there are %+v, want %d", s.QueueCounts, n)
	}
	c, err := from.queue.Subscribe(within(t), e, queues.Prefetch(5000))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(within(t))
	seen := map[int64]bool{}
	for range n {
		d, err := c.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		seen[d.Value] = true
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if !seen[i] {
			t.Fatalf("%d is missing", i)
		}
	}
}
