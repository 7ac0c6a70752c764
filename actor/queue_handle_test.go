package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// topicQueue is a queue that has every record of a topic, and what publishes to it.
type topicQueue struct {
	*Queue
	t    testing.TB
	sys  *System
	feed *Publisher
}

func newTopicQueue(t testing.TB, config QueueConfig, opts ...Option) *topicQueue {
	t.Helper()
	return openTopicQueue(t, logSystem(t, storagefake.New(), opts...), config)
}

func openTopicQueue(t testing.TB, s *System, config QueueConfig) *topicQueue {
	t.Helper()
	ctx := testContext(t)
	topic := declare(t, s, "tasks", TopicConfig{})
	q, err := s.DeclareQueue(ctx, "work", config)
	if err == nil {
		err = s.BindTopic(ctx, "tasks", "work", FromBeginning())
	}
	if err != nil {
		t.Fatal(err)
	}
	feed, err := topic.NewPublisher(ctx, PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { feed.Close(testContext(t)) })
	return &topicQueue{q, t, s, feed}
}

func (q *topicQueue) put(texts ...string) {
	q.t.Helper()
	for _, text := range texts {
		key, _, _ := strings.Cut(text, "-")
		if _, err := q.feed.Publish(testContext(q.t), AnyPartition, &Record{Key: []byte(key), Value: []byte(text), Time: NoTime}); err != nil {
			q.t.Fatal(err)
		}
	}
	if err := q.feed.Flush(testContext(q.t)); err != nil {
		q.t.Fatal(err)
	}
}

func (q *topicQueue) awaitStats(what string, is func(QueueStats) bool) QueueStats {
	q.t.Helper()
	for until := time.Now().Add(deadline); ; {
		s, err := q.Stats(testContext(q.t))
		if err == nil && s.Err != nil {
			err = s.Err
		}
		if err != nil {
			q.t.Fatal(err)
		}
		if is(s) {
			return s
		} else if time.Now().After(until) {
			q.t.Fatalf("timed out waiting for %s: %+v", what, s)
		}
	}
}

func (q *topicQueue) consume(o ConsumeOptions, h QueueHandler) *QueueConsumer {
	q.t.Helper()
	c, err := q.Consume(testContext(q.t), o, h)
	if err != nil {
		q.t.Fatal(err)
	}
	q.t.Cleanup(func() { c.Close(testContext(q.t)) })
	return c
}

func TestQueueConsume(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{})
	seen := newSeen()
	q.consume(ConsumeOptions{}, func(_ context.Context, d *QueueDelivery) error {
		seen.add(describeDelivery(d))
		if string(d.Body()) == "a-1" && d.Attempt() == 1 {
			return errors.New("once more")
		}
		return nil
	})
	q.put("a-1", "b-1")
	got := seen.wait(t, 3)
	if len(got) != 3 {
		t.Errorf("%q", got)
	}
	q.awaitStats("the end", func(s QueueStats) bool { return s.Acked == 2 && s.Live == 0 })
}

// A system that is opened again has what was not acknowledged, and nothing else.
func TestQueueConsumeAfterRestart(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	q := openTopicQueue(t, s, QueueConfig{})
	q.put("a-1", "a-2", "a-3")
	all, err := q.Get(testContext(t), 2, time.Minute)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if err := errors.Join(all[0].AckSync(testContext(t)), q.feed.Close(testContext(t)), s.Close(testContext(t))); err != nil {
		t.Fatal(err)
	}
	again := openTopicQueue(t, logSystem(t, store), QueueConfig{})
	seen := newSeen()
	again.consume(ConsumeOptions{}, func(_ context.Context, d *QueueDelivery) error {
		seen.add(describeDelivery(d))
		return nil
	})
	requireTexts(t, seen.wait(t, 2), "a-2 #1 again: returned", "a-3 #1")
	again.awaitStats("the end", func(s QueueStats) bool { return s.Acked == 3 && s.Live == 0 })
}

func TestQueuePauseAndPurge(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{})
	ctx := testContext(t)
	if err := q.Pause(ctx, true, false); err != nil {
		t.Fatal(err)
	}
	q.put("a-1", "a-2")
	q.awaitStats("messages", func(s QueueStats) bool { return s.Ready == 2 && s.DeliveryPaused })
	if all, err := q.Get(ctx, 1, 0); err != nil || len(all) != 0 {
		t.Errorf("a paused queue delivers %d: %v", len(all), err)
	}
	if err := q.Pause(ctx, false, false); !errors.Is(err, ErrInvalid) {
		t.Errorf("to pause nothing: %v", err)
	}
	if err := q.Pause(ctx, false, true); err != nil {
		t.Fatal(err)
	}
	q.awaitStats("what was paused before is so still", func(s QueueStats) bool { return s.DeliveryPaused && s.PublishingPaused })
	if n, err := q.Purge(ctx); err != nil || n != 2 {
		t.Errorf("purged %d: %v", n, err)
	}
	q.put("a-3")
	if err := q.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	all, err := q.Get(ctx, 1, time.Minute)
	if err != nil || len(all) != 1 || string(all[0].Body()) != "a-3" {
		t.Fatalf("after the pause: %d, %v", len(all), err)
	}
	o, err := q.Outcome(ctx, all[0].Position())
	if err != nil || o.Status != queue.StatusInFlight {
		t.Errorf("outcome %+v, %v", o, err)
	}
	if err := all[0].AckSync(ctx); err != nil {
		t.Error(err)
	}
	if o, err = q.Outcome(ctx, all[0].Position()); err != nil || o.Status != queue.StatusAcked {
		t.Errorf("outcome %+v, %v", o, err)
	}
}

func TestQueueHandles(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{})
	ctx := testContext(t)
	if _, err := q.sys.Queue(ctx, "nobody"); !errors.Is(err, ErrNoQueue) {
		t.Error(err)
	}
	if _, err := q.sys.DeclareQueue(ctx, "work", QueueConfig{MaxLength: 5}); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	mine, err := q.sys.DeclareQueue(ctx, "mine", QueueConfig{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.sys.Queue(ctx, "mine"); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	if all, err := q.sys.Queues(ctx); err != nil || len(all) != 2 || all[0].Name != "mine" {
		t.Errorf("%+v, %v", all, err)
	}
	if err := mine.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := mine.Stats(ctx); !errors.Is(err, ErrNoQueue) {
		t.Error(err)
	}
}

func TestQueueDelete(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{})
	ctx := testContext(t)
	q.put("a-1")
	q.awaitStats("a message", func(s QueueStats) bool { return s.Ready == 1 })
	if err := q.Delete(ctx, QueueDelete{IfEmpty: true}); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	c := q.consume(ConsumeOptions{ManualAck: true}, func(context.Context, *QueueDelivery) error { return nil })
	if err := q.Delete(ctx, QueueDelete{IfUnused: true}); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	if err := q.Delete(ctx, QueueDelete{}); err != nil {
		t.Fatal(err)
	}
	await(t, c.Ended(), "the end of the consumer")
	if err := c.Err(); !errors.Is(err, ErrNoQueue) {
		t.Error(err)
	}
	if _, err := q.sys.DeclareQueue(ctx, "work", QueueConfig{}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Stats(ctx); !errors.Is(err, ErrNoQueue) {
		t.Errorf("a handle on a queue that is gone: %v", err)
	}
}

func TestQueueDescribe(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{GroupBy: "key", DeadLetterRoutingKey: "dead"})
	ctx := testContext(t)
	if _, err := q.sys.DeclareExchange(ctx, "orders", ExchangeConfig{Type: Fanout}); err != nil {
		t.Fatal(err)
	}
	if err := q.sys.Bind(ctx, Binding{Exchange: "orders", Queue: "work"}); err != nil {
		t.Fatal(err)
	}
	d, err := q.Describe(ctx, ConsumeOptions{Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	text := d.String()
	for _, want := range []string{"queue work", "0 ready", "one at a time and in order", "at least once", "dead", fmt.Sprint(d.Bindings[0])} {
		if !strings.Contains(text, want) {
			t.Errorf("the description does not say %q:\n%s", want, text)
		}
	}
}

// Between the look whether a queue is empty and its deletion nobody publishes to it, and
// what is being published counts.
func TestDeleteIfEmptyShutsTheDoor(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q := b.running("q", QueueConfig{})
	mustDo(t, q.info.admission.admit(1)) // somebody is about to append a message
	if err := q.Delete(b.ctx, QueueDelete{IfEmpty: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("deleted: %v", err)
	}
	q.info.admission.abandon(1)
	b.send("q", "one") // it is open again
	b.get(q, 1)
	reopens := q.info.admission.shuts()
	if err := q.info.admission.admit(1); !errors.Is(err, errBehind) {
		t.Errorf("a message is admitted meanwhile: %v", err)
	}
	reopens()
	mustDo(t, q.info.admission.admit(1))
}
