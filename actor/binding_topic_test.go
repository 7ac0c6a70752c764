package actor

import (
	"context"
	"fmt"
	"testing"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// What a topic had when a queue was unbound from it is in the queue, also after restarts
// in which it is read again; what came then is not, until it is bound once more.
func TestWhatAQueueHadOfATopicStaysWhenItIsUnbound(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	q := openTopicQueue(t, s, QueueConfig{})
	q.put("a", "b")
	ctx := testContext(t)
	mustDo(t, s.UnbindTopic(ctx, "tasks", "work"))
	q.put("c")
	mustDo(t, s.BindTopic(ctx, "tasks", "work", FromEnd()))
	q.put("d")
	mustDo(t, s.UnbindTopic(ctx, "tasks", "work"))
	q.put("e")
	q.awaitStats("what it was bound for", func(s QueueStats) bool { return s.Live == 3 })
	mustDo(t, q.feed.Close(context.Background()), s.Close(context.Background()))

	s = logSystem(t, store.Restart())
	work := must[*Queue](t)(s.Queue(ctx, "work"))
	c := must[*QueueConsumer](t)(work.Subscribe(ctx, ConsumeOptions{}))
	got := ""
	for range 3 {
		d := must[*QueueDelivery](t)(c.Next(ctx))
		got += string(d.Body())
		mustDo(t, d.Ack())
	}
	if got != "abd" {
		t.Errorf("it has %s", got)
	}
	again := &topicQueue{Queue: work, t: t, sys: s}
	if n := again.awaitStats("all to be settled", func(s QueueStats) bool { return s.Live == 0 }); n.Lost != 0 || n.Taken != 3 {
		t.Errorf("its counts are %+v", n.QueueCounts)
	}
	// With the next snapshot nothing of the topic is followed for it any more.
	d := mustDirectory(t, s)
	s.Send(must[*pactor.PID](t)(s.queueActor(ctx, work.info)), snapshotQueue{})
	eventually(t, "the topic to be followed no more", func() bool { return len(d.feedsOf(work.info.shard)) == 0 })
	if got := fmt.Sprint(must[Bounds](t)(must[*Topic](t)(s.Topic(ctx, "tasks")).Trim(ctx, 0, 5))); got != "{5 5}" {
		t.Errorf("the topic holds %s", got)
	}
}
