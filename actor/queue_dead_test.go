package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/codec"
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
			b.Fatalf("queue %s never is %s: it has %+v", q.Name(), what, s.QueueCounts)
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
			return fmt.Errorf("on purpose, at attempt %d", d.Attempt())
		}
		return nil
	}))
	letter := b.get(dead, 1)[0]
	if d := letter.said().Deaths[0]; queue.Reason(d.Reason) != queue.ReasonDeliveryLimit || d.Attempts != 3 || d.Error != "on purpose, at attempt 3" {
		t.Errorf("its death is %+v", d)
	}
	b.settles(main, "empty", func(s QueueStats) bool { return s.Live == 0 && s.Dead == 1 && s.Acked == 1 })
	mustDo(t, c.Close(b.ctx))
}

type panics struct{}

func (panics) Error() string { panic("it says nothing") }

// What a handler returned is in the dead letter, whatever it is.
func TestDeadLettersSayWhatWasWrong(t *testing.T) {
	b := runningBed(t, storagefake.New())
	main := b.running("main", QueueConfig{DeliveryLimit: 1, DeadLetterRoutingKey: "dead"})
	dead := b.running("dead", QueueConfig{})
	results := map[string]error{
		"rejected": fmt.Errorf("no address: %w", ErrReject), "late": RetryIn(time.Hour, errors.New("busy")),
		"long": errors.New(strings.Repeat("é", DeathErrorBytes)), "odd": panics{},
	}
	c := must[*QueueConsumer](t)(main.Consume(b.ctx, ConsumeOptions{ManualAck: true}, func(_ context.Context, d *QueueDelivery) error {
		switch text := string(d.Body()); text {
		case "panic":
			panic("on purpose")
		case "by hand":
			return d.Reject()
		default:
			return results[text]
		}
	}))
	b.send("main", "rejected", "late", "long", "odd", "panic", "by hand")
	b.waits(dead, 6)
	said := map[string]string{}
	for _, m := range must[[]*QueueMessage](t)(dead.Peek(b.ctx, 10)) {
		said[string(m.Body)] = m.Error
	}
	for _, d := range b.get(dead, 6) {
		if got, body := d.Deaths()[0].Error, string(d.Body()); got != said[body] {
			t.Errorf("the death of %s says %q, and to look at %q", body, got, said[body])
		}
		mustDo(t, d.Ack())
	}
	for body, want := range map[string]string{"rejected": "no address: " + ErrReject.Error(), "late": "busy (again in 1h0m0s)",
		"long": strings.Repeat("é", DeathErrorBytes/2), "by hand": ""} {
		if said[body] != want {
			t.Errorf("of %s it says %q, want %q", body, said[body], want)
		}
	}
	if !strings.Contains(said["panic"], "on purpose") || !strings.Contains(said["odd"], "does not say") {
		t.Errorf("%q, %q", said["panic"], said["odd"])
	}
	mustDo(t, c.Close(b.ctx))
}

// A message that has no room for anything more has an error when it is a dead letter, too.
func TestALongMessageDiesWithItsError(t *testing.T) {
	b := runningBed(t, storagefake.New())
	main := b.running("main", QueueConfig{DeliveryLimit: 1, DeadLetterRoutingKey: "dead"})
	dead := b.running("dead", QueueConfig{})
	b.publish(b.publisher("", ExchangePublisherOptions{}), &Message{RoutingKey: "main", Body: make([]byte, codec.DefaultLimits().RecordBytes-60)})
	c := must[*QueueConsumer](t)(main.Consume(b.ctx, ConsumeOptions{}, func(context.Context, *QueueDelivery) error {
		return errors.New(strings.Repeat("no", DeathErrorBytes/2))
	}))
	d := b.get(dead, 1)[0]
	if death := d.Deaths()[0]; death.Reason != "delivery-limit" || len(death.Error) != DeathErrorBytes {
		t.Errorf("its death is %+v", death)
	}
	mustDo(t, d.Ack())
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
		t.Errorf("%+v", s.QueueCounts)
	}
}
