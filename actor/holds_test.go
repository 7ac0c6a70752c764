package actor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// heldBed is a topic that the queue "work" is bound to.
type heldBed struct {
	*logBed
	reached   atomic.Uint64 // by the feed, which there is none of
	directory *queueDirectory
	log       *logInfo
	id        uint32
}

// newHeldBed has a topic whose retention keeps only the newest batch.
func newHeldBed(t *testing.T, s *System, config ...TopicConfig) *heldBed {
	t.Helper()
	b := &heldBed{logBed: &logBed{TB: t, sys: s}}
	b.open(append(config, TopicConfig{Retention: Retention{Records: 1}})[0])
	return b
}

func (b *heldBed) open(config TopicConfig) {
	b.Helper()
	ctx := testContext(b)
	var err error
	if b.topic, err = b.sys.Declare(ctx, "orders", config); err != nil {
		b.Fatal(err)
	}
	b.producer = newProducer(b, b.topic, ProducerOptions{})
	if b.directory, err = b.sys.directory(ctx); err != nil {
		b.Fatal(err)
	}
	q, err := b.sys.declareQueue(ctx, "work", QueueConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.id = q.id
	stopShard(b, b.sys, q.shard)
	if err := b.sys.BindTopic(ctx, "orders", "work", FromBeginning()); err != nil {
		b.Fatal(err)
	}
	if b.log, err = b.directory.logOf(ctx, b.topic, 0); err != nil {
		b.Fatal(err)
	}
}

// stopShard stops the shard of a queue: the test says itself what is fed.
func stopShard(t testing.TB, s *System, number int) {
	t.Helper()
	s.shards.mu.Lock()
	pid := s.shards.open[number]
	s.shards.mu.Unlock()
	s.Stop(pid)
	<-s.Watch(pid)
}

func TestAQueueHoldsWhatItNeeds(t *testing.T) {
	b := newHeldBed(t, logSystem(t, storagefake.New()))
	b.batches(10, 10)
	trim := func(before, want uint64) {
		t.Helper()
		got, err := b.topic.Trim(testContext(t), 0, before)
		if err != nil || got.First != want {
			t.Fatalf("trimmed before %d it begins with %d, %v; want %d", before, got.First, err, want)
		}
	}
	trim(100, 0) // nobody knows yet what the queue needs
	h := b.sys.holds
	h.follows(b.log.id, b.id, 30, &b.reached)
	trim(100, 0) // it has read up to 30, and not said what it needs of that
	b.sys.release(b.id, []queue.Release{{Log: b.log.id, Before: 25}}, nil)
	trim(100, 20)
	b.sys.release(b.id, []queue.Release{{Log: b.log.id, Before: 30}}, nil)
	trim(100, 30)
	b.reached.Store(70) // there was nothing for it up to there
	trim(100, 70)
	h.sends(b.log.id, b.id, 80)
	b.reached.Store(90)
	trim(100, 70)
	if err := b.sys.UnbindTopic(testContext(t), "orders", "work"); err != nil {
		t.Fatal(err)
	}
}

func TestRetentionDropsNothingThatAQueueNeeds(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := newHeldBed(t, NewSystem(storagefake.New()))
		b.sys.evacuations.begin(b.log.id) // one that does not end: nothing is copied
		b.batches(10, 10)
		first := func(want uint64) {
			t.Helper()
			time.Sleep(2 * DefaultRetentionEvery)
			synctest.Wait()
			if got, err := b.topic.Bounds(context.Background(), 0); err != nil || got.First != want {
				t.Errorf("it begins with %d, %v; want %d", got.First, err, want)
			}
		}
		first(0)
		b.sys.holds.follows(b.log.id, b.id, 35, &b.reached)
		b.sys.release(b.id, []queue.Release{{Log: b.log.id, Before: 35}}, nil)
		first(30)
		b.reached.Store(95)
		first(90) // the newest batch stays in any case
		if err := b.sys.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestAfterARestartNothingIsDroppedBeforeQueuesHaveSaidWhatTheyNeed(t *testing.T) {
	store := storagefake.New()
	b := newHeldBed(t, NewSystem(store))
	b.batches(10, 10)
	if err := b.sys.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	store = store.Restart()
	b.sys = logSystem(t, store)
	topic, err := b.sys.Topic(testContext(t), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := topic.Trim(testContext(t), 0, 100); err != nil || got.First != 0 {
		t.Fatalf("before the queues are open it begins with %v, %v", got, err)
	}
	b.open(topic.Config())
	if got, err := topic.Trim(testContext(t), 0, 100); err != nil || got.First != 0 {
		t.Fatalf("before the queue has said what it needs it begins with %v, %v", got, err)
	}
	b.sys.holds.follows(b.log.id, b.id, 60, &b.reached)
	b.sys.release(b.id, []queue.Release{{Log: b.log.id, Before: 40}}, nil)
	if got, err := topic.Trim(testContext(t), 0, 100); err != nil || got.First != 40 {
		t.Fatalf("it begins with %v, %v", got, err)
	}
	if err := b.sys.deleteQueue(testContext(t), "work", 0); err != nil {
		t.Fatal(err)
	}
	if got, err := topic.Trim(testContext(t), 0, 100); err != nil || got.First != 100 {
		t.Fatalf("without the queue it begins with %v, %v", got, err)
	}
}

func TestCompactionLeavesWhatAQueueNeeds(t *testing.T) {
	b := newHeldBed(t, logSystem(t, storagefake.New(), WithPartitionLimits(compactLimits())), compactedTopic)
	for range 5 {
		appendPairsTo(t, b.producer, "a=1", "b=1")
	}
	b.sys.holds.follows(b.log.id, b.id, 10, &b.reached)
	if info := compactTopic(t, b.topic); info.Clean != 0 {
		t.Errorf("it was compacted up to %d, and a queue needs all of it", info.Clean)
	}
	b.sys.release(b.id, []queue.Release{{Log: b.log.id, Before: 5}}, nil)
	if info := compactTopic(t, b.topic); info.Clean != 4 || info.Records != 2 {
		t.Errorf("a queue needs it from 5 on, and it was compacted up to %d to %d records", info.Clean, info.Records)
	}
	b.sys.release(b.id, []queue.Release{{Log: b.log.id, Before: 10}}, nil)
	if info := compactTopic(t, b.topic); info.Clean != 8 {
		t.Errorf("no queue needs it, and it was compacted up to %d", info.Clean)
	}
}

func TestTheLogOfAnExchangeGoesWhenNoQueueNeedsIt(t *testing.T) {
	s := logSystem(t, storagefake.New())
	ctx := testContext(t)
	d := must[*queueDirectory](t)(s.directory(ctx))
	x := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{Type: Fanout}))
	q := must[*queueInfo](t)(s.declareQueue(ctx, "work", QueueConfig{}))
	stopShard(t, s, q.shard)
	topic := must[*Topic](t)(s.Declare(ctx, x.info.topic(false), TopicConfig{}))
	log := must[*logInfo](t)(d.logOf(ctx, topic, 0))
	if err := d.follows(ctx, topic, log, q.shard); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, newProducer(t, topic, ProducerOptions{}), 0, "a", "b")
	s.holds.follows(log.id, q.id, 2, new(atomic.Uint64))
	if err := s.DeleteExchange(ctx, "orders", false); err != nil {
		t.Fatal(err)
	}
	d.deleteOrphans(ctx)
	if _, ok := d.log(log.id); !ok {
		t.Fatal("the log is gone, and a queue needs it")
	}
	s.release(q.id, []queue.Release{{Log: log.id, Before: 2}}, nil)
	eventually(t, "the log to be deleted", func() bool {
		_, err := s.Topic(ctx, topic.Name())
		return errors.Is(err, ErrNoTopic)
	})
}
