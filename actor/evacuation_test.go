package actor

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// stuck consumes a queue of n messages, and settles all but some.
func stuck(t *testing.T, q *topicQueue, n int, left ...string) *QueueConsumer {
	t.Helper()
	c, err := q.Subscribe(testContext(t), ConsumeOptions{Prefetch: n})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		d, err := c.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(left, string(d.Body())) {
			if err := d.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	q.awaitStats("the rest to be settled", func(s QueueStats) bool { return s.Live == len(left) })
	return c
}

// evacuate has what keeps the topic from being trimmed copied away.
func (q *topicQueue) evacuate(topic string, before uint64) {
	q.t.Helper()
	ctx := testContext(q.t)
	d, t := must[*queueDirectory](q.t)(q.sys.directory(ctx)), must[*Topic](q.t)(q.sys.Topic(ctx, topic))
	log := must[*logInfo](q.t)(d.logOf(ctx, t, 0))
	e := evacuation{d: d, log: log.id, before: before}
	if err := e.run(ctx); err != nil {
		q.t.Fatal(err)
	}
	eventually(q.t, "the log to be trimmed", func() bool {
		b, err := t.Trim(ctx, 0, before)
		if err != nil {
			q.t.Fatal(err)
		}
		return b.First == before
	})
}

func TestAFewStuckMessagesDoNotKeepALog(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	q := openTopicQueue(t, s, QueueConfig{})
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf("k-%d", i))
	}
	q.put(all...)
	stuck(t, q, 1000, "k-7", "k-555")
	topic := must[*Topic](t)(s.Topic(testContext(t), "tasks"))
	if b := must[Bounds](t)(topic.Trim(testContext(t), 0, 1000)); b.First != 0 {
		t.Fatalf("it was trimmed to %d, and is needed", b.First)
	}
	q.evacuate("tasks", 1000)
	shard := ownTopic(shardPrefix, q.info.shard, false)
	q.evacuate(shard, 2) // and once more, from the log of the shard to its end

	if err := q.feed.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	q = openTopicQueue(t, logSystem(t, store.Restart()), QueueConfig{})
	c := must[*QueueConsumer](t)(q.Subscribe(testContext(t), ConsumeOptions{Prefetch: 10}))
	for _, want := range []string{"k-7", "k-555"} {
		d := must[*QueueDelivery](t)(c.Next(testContext(t)))
		if string(d.Body()) != want || string(d.Key()) != "k" || !d.Redelivered() {
			t.Errorf("it got %s, key %s, redelivered %v; want %s", d.Body(), d.Key(), d.Redelivered(), want)
		}
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	q.awaitStats("all to be settled", func(s QueueStats) bool { return s.Live == 0 && s.Lost == 0 && s.Acked == 1000 })
	q.evacuate(shard, 4) // nothing is left to copy: a snapshot says that nothing is needed
}

func TestABacklogStaysWhereItIs(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{})
	ctx := testContext(t)
	producer := newProducer(t, must[*Topic](t)(q.sys.Topic(ctx, "tasks")), ProducerOptions{})
	for range 11 {
		mustAppend(t, producer, 0, make([]string, EvacuateMessages/10)...)
	}
	q.awaitStats("all to be there", func(s QueueStats) bool { return s.Live == EvacuateMessages/10*11 })
	d := must[*queueDirectory](t)(q.sys.directory(ctx))
	topic := must[*Topic](t)(q.sys.Topic(ctx, "tasks"))
	log := must[*logInfo](t)(d.logOf(ctx, topic, 0))
	e := evacuation{d: d, log: log.id, before: EvacuateMessages / 10 * 11}
	if err := e.run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := q.sys.Topic(ctx, ownTopic(shardPrefix, q.info.shard, false)); err == nil {
		t.Error("it was copied")
	}
}
