package actor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// runningBed is a bed whose queues run.
func runningBed(t testing.TB, store storage.Store) *bed {
	return &bed{t, logSystem(t, store), testContext(t)}
}

func (b *bed) running(name string, c QueueConfig) *Queue {
	b.Helper()
	return must[*Queue](b)(b.DeclareQueue(b.ctx, name, c))
}

func (b *bed) send(queue string, bodies ...string) {
	b.Helper()
	p := b.publisher("", ExchangePublisherOptions{})
	for _, body := range bodies {
		b.publish(p, &Message{RoutingKey: queue, Body: []byte(body)})
	}
}

// get returns n messages, which are to be settled.
func (b *bed) get(q *Queue, n int) []*QueueDelivery {
	b.Helper()
	all := must[[]*QueueDelivery](b)(q.Get(b.ctx, n, deadline))
	if len(all) != n {
		b.Fatalf("queue %s gives %d messages, want %d", q.Name(), len(all), n)
	}
	return all
}

// settles waits until the counts of a queue are as they should be.
func (b *bed) settles(q *Queue, what string, is func(QueueStats) bool) QueueStats {
	b.Helper()
	for {
		s := must[QueueStats](b)(q.Stats(b.ctx))
		if s.Err != nil {
			b.Fatal(s.Err)
		}
		if is(s) {
			return s
		}
		if sleep(b.ctx, time.Millisecond) != nil {
			b.Fatalf("queue %s never is %s: it has %+v", q.Name(), what, s.Counts)
		}
	}
}

func TestDeadLettersAreDurableBeforeTheQueueLetsGo(t *testing.T) {
	b := runningBed(t, storagefake.New())
	b.exchange("dead", ExchangeConfig{})
	main := b.running("main", QueueConfig{DeadLetterExchange: "dead", DeadLetterRoutingKey: "late"})
	dead := b.running("dead", QueueConfig{})
	b.send("main", "one", "two")
	all := b.get(main, 2)
	mustDo(t, all[0].Reject())
	mustDo(t, all[1].AckSync(b.ctx))
	// Nothing is bound to the exchange yet: the message stays where it was.
	b.settles(main, "dying", func(s QueueStats) bool { return s.Dying == 1 && s.Acked == 1 })
	b.bind(Binding{Exchange: "dead", Queue: "dead", RoutingKey: "late"})
	letter := b.get(dead, 1)[0]
	if string(letter.Body()) != "one" {
		t.Errorf("the dead letter is %q", letter.Body())
	}
	e := letter.said()
	if e.Hops != 1 || e.Origin.Queue != "main" || e.RoutingKey != "late" || len(e.Deaths) != 1 {
		t.Fatalf("it says %+v", e)
	}
	if d := e.Deaths[0]; d.Queue != "main" || queue.Reason(d.Reason) != queue.ReasonRejected || d.RoutingKeys[0] != "main" {
		t.Errorf("its death is %+v", d)
	}
	mustDo(t, letter.AckSync(b.ctx))
	b.settles(main, "empty", func(s QueueStats) bool { return s.Live == 0 && s.Dead == 1 })
}

func TestMessagesThatFailTooOftenAreDeadLettered(t *testing.T) {
	b := runningBed(t, storagefake.New())
	main := b.running("main", QueueConfig{DeliveryLimit: 3, DeadLetterRoutingKey: "dead"})
	dead := b.running("dead", QueueConfig{})
	b.send("main", "poison", "good")
	c := must[*QueueConsumer](t)(main.Consume(b.ctx, ConsumeOptions{}, func(_ context.Context, d *QueueDelivery) error {
		if string(d.Body()) == "poison" {
			return errors.New("on purpose")
		}
		return nil
	}))
	letter := b.get(dead, 1)[0]
	if d := letter.said().Deaths[0]; queue.Reason(d.Reason) != queue.ReasonDeliveryLimit || d.Attempts != 3 {
		t.Errorf("its death is %+v", d)
	}
	b.settles(main, "empty", func(s QueueStats) bool { return s.Live == 0 && s.Dead == 1 && s.Acked == 1 })
	mustDo(t, c.Close(b.ctx))
}

// Two queues that dead-letter into each other let a message go after some rounds.
func TestDeadLettersDoNotGoInCirclesForEver(t *testing.T) {
	b := runningBed(t, storagefake.New())
	reject := func(_ context.Context, d *QueueDelivery) error { return ErrReject }
	var all []*Queue
	for name, other := range map[string]string{"ping": "pong", "pong": "ping"} {
		q := b.running(name, QueueConfig{DeadLetterRoutingKey: other, MaxHops: 5})
		c := must[*QueueConsumer](t)(q.Consume(b.ctx, ConsumeOptions{}, reject))
		defer func() { mustDo(t, c.Close(b.ctx)) }()
		all = append(all, q)
	}
	b.send("ping", "ball")
	died := func() (n uint64) {
		for _, q := range all {
			n += b.settles(q, "there", func(QueueStats) bool { return true }).Dead
		}
		return n
	}
	b.settles(all[0], "through", func(QueueStats) bool { return died() == 6 })
}

func TestExpiredMessagesAreDeadLettered(t *testing.T) {
	b := runningBed(t, storagefake.New())
	main := b.running("main", QueueConfig{DeadLetterRoutingKey: "dead"})
	dead := b.running("dead", QueueConfig{})
	p := b.publisher("", ExchangePublisherOptions{})
	b.publish(p, &Message{RoutingKey: "main", Body: []byte("stays")})
	b.publish(p, &Message{RoutingKey: "main", Body: []byte("goes"), TTL: time.Millisecond})
	letter := b.get(dead, 1)[0]
	if string(letter.Body()) != "goes" || queue.Reason(letter.said().Deaths[0].Reason) != queue.ReasonExpired {
		t.Errorf("%q has died: %+v", letter.Body(), letter.said().Deaths)
	}
	if s := b.settles(main, "left with one", func(s QueueStats) bool { return s.Live == 1 }); s.Ready != 1 {
		t.Errorf("%+v", s.Counts)
	}
}
