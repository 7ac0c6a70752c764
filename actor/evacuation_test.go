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
	t := q.copyAway(topic, before)
	eventually(q.t, "the log to be trimmed", func() bool {
		b, err := t.Trim(ctx, 0, before)
		if err != nil {
			q.t.Fatal(err)
		}
		return b.First == before
	})
}

func (q *topicQueue) copyAway(topic string, before uint64) *Topic {
	q.t.Helper()
	ctx := testContext(q.t)
	d, t := must[*queueDirectory](q.t)(q.sys.directory(ctx)), must[*Topic](q.t)(q.sys.Topic(ctx, topic))
	log := must[*logInfo](q.t)(d.logOf(ctx, t, 0))
	e := evacuation{d: d, log: log.id, before: before}
	if err := e.run(ctx); err != nil {
		q.t.Fatal(err)
	}
	return t
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
	if got := peeked(t, q.Queue); !slices.Equal(got, []string{"k-7", "k-555"}) {
		t.Errorf("it looks as if it has %v", got)
	}
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

func peeked(t *testing.T, q *Queue) (bodies []string) {
	t.Helper()
	for _, m := range must[[]*QueueMessage](t)(q.Peek(testContext(t), 10)) {
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

// What was copied away from its log is moved as all else, and seen once when its log still
// has it.
func TestWhatWasCopiedAwayIsMoved(t *testing.T) {
	s := logSystem(t, storagefake.New())
	q := openTopicQueue(t, s, QueueConfig{})
	ctx := testContext(t)
	other := must[*Queue](t)(s.DeclareQueue(ctx, "other", QueueConfig{}))
	q.put("k-0", "k-1", "k-2")
	c := stuck(t, q, 3, "k-1")
	q.copyAway("tasks", 3) // and its log is not trimmed yet
	q.put("k-3")
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	q.awaitStats("both to be ready", func(s QueueStats) bool { return s.Ready == 2 })
	if got := peeked(t, q.Queue); !slices.Equal(got, []string{"k-1", "k-3"}) {
		t.Errorf("it looks as if it has %v", got)
	}
	if got := must[QueueMoved](t)(q.Move(ctx, "other", QueueMove{})); got != (QueueMoved{2, 2}) {
		t.Errorf("moved: %+v", got)
	}
	if err := other.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	if got := peeked(t, other); !slices.Equal(got, []string{"k-1", "k-3"}) {
		t.Errorf("moved were %v", got)
	}
}

func TestABacklogStaysWhereItIs(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{})
	ctx := testContext(t)
	producer := newProducer(t, must[*Topic](t)(q.sys.Topic(ctx, "tasks")), ProducerOptions{})
	for range 11 {
		mustAppend(t, producer, 0, make([]string, EvacuateMessages/10)...)
	}
	q.awaitStats("all to be there", func(s QueueStats) bool { return s.Live == EvacuateMessages/10*11 })
	q.copyAway("tasks", EvacuateMessages/10*11)
	if _, err := q.sys.Topic(ctx, ownTopic(shardPrefix, q.info.shard, false)); err == nil {
		t.Error("it was copied")
	}
}
