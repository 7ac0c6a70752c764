package actor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// A shard whose journal fails, while its queue is published to and worked on, reads it
// again and goes on: nothing is lost, and what was acknowledged does not come again.
func TestAShardOutlivesItsJournal(t *testing.T) {
	for name, fault := range map[string]storagefake.Fault{
		"another has written": {Err: storage.ErrFenced}, "it was closed": {Err: storage.ErrClosed}, "it cannot be written": {Err: errors.New("on purpose")},
		"an answer is lost": {LoseReply: true}, "a request is lost": {LoseRequest: true}} {
		t.Run(name, func(t *testing.T) {
			const messages = 200
			store := storagefake.New()
			b := runningBed(t, store)
			main := b.running("main", QueueConfig{})
			var faults atomic.Int64
			journal := shardConfig{number: main.info.shard}.log()
			store.OnAppend(func(a storagefake.Append) storagefake.Fault {
				if a.Log != journal || a.N%6 != 3 || faults.Load() == 8 {
					return storagefake.Fault{}
				}
				faults.Add(1)
				return fault
			})
			var mu sync.Mutex
			acked := map[string]int{}
			c := must[*QueueConsumer](t)(main.Consume(b.ctx, ConsumeOptions{Concurrency: 3}, func(ctx context.Context, d *QueueDelivery) error {
				if err := d.AckSync(ctx); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				acked[string(d.Body())]++
				return nil
			}))
			b.send("main", numbers(0, messages)...)
			var s QueueStats
			for s.Taken < messages || s.Live > 0 {
				s = must[QueueStats](t)(main.Stats(b.ctx)) // also while it starts again
			}
			mustDo(t, c.Close(b.ctx), s.Err)
			if s.Acked != messages || faults.Load() == 0 {
				t.Errorf("after %d faults: %+v", faults.Load(), s.QueueCounts)
			}
			for body, n := range acked {
				if n != 1 {
					t.Errorf("%s was acknowledged %d times", body, n)
				}
			}
		})
	}
}

// Get waits for a queue that begins anew.
func TestGetOutlivesAJournal(t *testing.T) {
	const messages = 100
	store := storagefake.New()
	b := runningBed(t, store)
	q := b.running("main", QueueConfig{})
	var faults atomic.Int64
	store.OnAppend(func(a storagefake.Append) storagefake.Fault {
		if a.Log != (shardConfig{number: q.info.shard}).log() || a.N%4 != 3 || faults.Load() == 20 {
			return storagefake.Fault{}
		}
		faults.Add(1)
		return storagefake.Fault{Err: storage.ErrFenced}
	})
	b.send("main", numbers(0, messages)...)
	for must[QueueStats](t)(q.Stats(b.ctx)).Acked < messages {
		for _, d := range must[[]*QueueDelivery](t)(q.Get(b.ctx, 3, time.Millisecond)) {
			if err := d.AckSync(b.ctx); err != nil && !isInterruption(err) {
				t.Fatal(err)
			}
		}
	}
	if faults.Load() < 5 {
		t.Errorf("there were only %d faults", faults.Load())
	}
}

// panics has a queue panic, and returns what it is told.
func (b *bed) panics(q *Queue) error {
	_, err := look(b.ctx, q, func(*queue.Queue) any { panic("on purpose") })
	return err
}

// Whoever asks a queue that fails is told so, also those whose questions have waited for
// it to start again.
func TestWhoWaitsForAQueueHearsThatItFails(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q := b.running("q", QueueConfig{})
	told := make(chan error, 4)
	for range cap(told) {
		go func() { told <- b.panics(q) }()
	}
	for range cap(told) {
		if err := await(t, told, "an answer"); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
}

// A queue that fails again and again is given up: it says so, its neighbours and its
// publishers go on, and the next process has all of it.
func TestAQueueThatIsGivenUp(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		b := timelessBed(t, store)
		q := b.running("q", QueueConfig{})
		neighbour := b.neighbour(q)
		b.sendNow("q", numbers(0, 3)...)
		mustDo(t, b.get(q, 1)[0].AckSync(b.ctx))
		for range DefaultRestartsMax + 1 {
			b.panics(q)
		}
		synctest.Wait() // until its shard has noticed
		_, err := q.Stats(b.ctx)
		if !errors.Is(err, ErrQueueFailed) || !strings.Contains(fmt.Sprint(err), "too often") {
			t.Errorf("%v", err)
		}
		b.sendNow("q", "3")
		b.sendNow(neighbour.Name(), "task")
		mustDo(t, b.get(neighbour, 1)[0].AckSync(b.ctx))
		b.end()
		b = timelessBed(t, store.Restart())
		defer b.end()
		q = must[*Queue](t)(b.Queue(b.ctx, "q"))
		mustDo(t, q.CatchUp(b.ctx))
		if s := must[QueueStats](t)(q.Stats(b.ctx)); s.Acked != 1 || s.Ready != 3 {
			t.Errorf("the next process has %+v", s.QueueCounts)
		}
	})
}

// neighbour declares a queue of the same shard.
func (b *bed) neighbour(q *Queue) *Queue {
	b.Helper()
	for i := 0; ; i++ {
		if n := b.running("neighbour-"+strconv.Itoa(i), QueueConfig{}); n.info.shard == q.info.shard {
			return n
		}
	}
}

// A shard whose journal cannot be read says so to those who use its queues, and to those
// who publish to them; the queues of others go on, and its own can be deleted.
func TestAShardThatCannotBeRead(t *testing.T) {
	store := storagefake.New()
	b := &bed{t, NewSystem(store), testContext(t)}
	q, other := b.running("q", QueueConfig{}), b.running("other", QueueConfig{})
	if q.info.shard == other.info.shard {
		t.Fatal("the names are to be of two shards")
	}
	b.sendNow("q", "task")
	mustDo(t, b.get(q, 1)[0].AckSync(b.ctx), b.Close(b.ctx))
	store = store.Restart()
	corruptData(t, store, shardConfig{number: q.info.shard}.log())
	b = runningBed(t, store)
	q, other = must[*Queue](t)(b.Queue(b.ctx, "q")), must[*Queue](t)(b.Queue(b.ctx, "other"))
	says := func(err error) {
		t.Helper()
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(fmt.Sprint(err), "from a backup") {
			t.Errorf("it says %v", err)
		}
	}
	_, err := q.Stats(b.ctx)
	says(err)
	hasty := b.publisher("", ExchangePublisherOptions{FailFast: true})
	_, err = hasty.Publish(b.ctx, &Message{RoutingKey: "q"})
	says(err)
	b.send("other", "task")
	mustDo(t, b.get(other, 1)[0].AckSync(b.ctx), q.Delete(b.ctx, QueueDelete{}))
	if _, err := hasty.Publish(b.ctx, &Message{RoutingKey: "q"}); !errors.Is(err, ErrUnroutable) {
		t.Error(err)
	}
}

// corruptData changes a byte of each entry of a log.
func corruptData(t *testing.T, store *storagefake.Store, name string) {
	t.Helper()
	log := must[storage.Log](t)(store.OpenLog(t.Context(), name, storage.LogOptions{}))
	bounds := must[storage.Bounds](t)(log.Bounds(t.Context()))
	for seq := bounds.First; seq <= bounds.Last; seq++ {
		mustDo(t, store.Corrupt(name, seq, func(b []byte) []byte {
			b[len(b)/2] ^= 1
			return b
		}))
	}
}
