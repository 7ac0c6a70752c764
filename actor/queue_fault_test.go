package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// timelessBed is a bed in virtual time. Whoever closes it waits until Proto.Actor, which
// counts dead letters by the second, is done with that.
func timelessBed(t *testing.T, store storage.Store) *bed {
	return &bed{t, NewSystem(store), t.Context()}
}

func (b *bed) end() {
	b.Helper()
	mustDo(b, b.Close(b.ctx))
	time.Sleep(time.Minute)
}

// sendNow is send that leaves nothing behind.
func (b *bed) sendNow(queue string, bodies ...string) {
	b.Helper()
	p := must[*ExchangePublisher](b)(must[*Exchange](b)(b.Exchange(b.ctx, "")).NewPublisher(b.ctx, ExchangePublisherOptions{}))
	for _, body := range bodies {
		b.publish(p, &Message{RoutingKey: queue, Body: []byte(body)})
	}
	mustDo(b, p.Close(b.ctx))
}

// Dead letters whose exchange does not exist are kept, whatever else the queue does, and
// go as soon as it does.
func TestDeadLettersWaitForAnExchangeThatIsMissing(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := timelessBed(t, storagefake.New())
		defer b.end()
		main, dead := b.running("main", QueueConfig{DeadLetterExchange: "nowhere"}), b.running("dead", QueueConfig{})
		b.sendNow("main", "one", "two", "three")
		for _, d := range b.get(main, 2) {
			mustDo(t, d.Reject())
		}
		time.Sleep(time.Hour)
		mustDo(t, b.get(main, 1)[0].AckSync(b.ctx))
		if s := must[QueueStats](t)(main.Stats(b.ctx)); s.Dying != 2 || s.Acked != 1 || s.Live != 2 || s.Dead != 0 {
			t.Errorf("%+v", s.QueueCounts)
		}
		b.exchange("nowhere", ExchangeConfig{Type: Fanout})
		b.bind(Binding{Exchange: "nowhere", Queue: "dead"})
		time.Sleep(letterRetryMax)
		mustDo(t, dead.CatchUp(b.ctx))
		for _, letter := range b.get(dead, 2) {
			if d := letter.Deaths()[0]; d.Queue != "main" || d.Reason != "rejected" {
				t.Errorf("%q: %+v", letter.Body(), d)
			}
			mustDo(t, letter.AckSync(b.ctx))
		}
		if s := must[QueueStats](t)(main.Stats(b.ctx)); s.Dead != 2 || s.Live != 0 {
			t.Errorf("%+v", s.QueueCounts)
		}
	})
}

// Where very many cannot be dead-lettered, those who publish wait: what dies is no part of
// a queue's length, and would have no bound. Dead letters that come back pass.
func TestDyingMessagesSlowTheirPublishers(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := timelessBed(t, storagefake.New())
		defer b.end()
		b.shards.dyingMost = 10
		main, dead := b.running("main", QueueConfig{MaxLength: 2, DeadLetterExchange: "nowhere"}), b.running("dead", QueueConfig{})
		p := must[*ExchangePublisher](b)(must[*Exchange](b)(b.Exchange(b.ctx, "")).NewPublisher(b.ctx, ExchangePublisherOptions{FailFast: true}))
		defer func() { mustDo(t, p.Close(b.ctx)) }()
		published := 0
		for ; published < 100; published++ {
			mustDo(t, main.CatchUp(b.ctx))
			if _, err := p.PublishSync(b.ctx, &Message{RoutingKey: "main"}); err != nil {
				if !errors.Is(err, ErrBackpressure) || !strings.Contains(err.Error(), "10 of its messages wait for their dead-letter exchange") {
					t.Error(err)
				}
				break
			}
		}
		if published != 12 {
			t.Errorf("%d are published before one has to wait", published)
		}
		waits := must[*ExchangePublisher](b)(must[*Exchange](b)(b.Exchange(b.ctx, "")).NewPublisher(b.ctx, ExchangePublisherOptions{}))
		defer func() { mustDo(t, waits.Close(b.ctx)) }()
		waited := make(chan error, 1)
		go func() {
			_, err := waits.PublishSync(b.ctx, &Message{RoutingKey: "main"})
			waited <- err
		}()
		b.exchange("nowhere", ExchangeConfig{Type: Fanout})
		b.bind(Binding{Exchange: "nowhere", Queue: "main"}, Binding{Exchange: "nowhere", Queue: "dead"})
		if err := <-waited; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if s := must[QueueStats](t)(main.Stats(b.ctx)); s.Dying != 0 || s.Ready != 2 {
			t.Errorf("%+v", s.QueueCounts)
		}
		if s := must[QueueStats](t)(dead.Stats(b.ctx)); s.Ready < 11 {
			t.Errorf("%+v", s.QueueCounts)
		}
	})
}

// A queue of dead letters that is full and refuses them holds them up, and loses none.
func TestDeadLettersWaitForAQueueThatIsFull(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := timelessBed(t, storagefake.New())
		defer b.end()
		main := b.running("main", QueueConfig{DeadLetterRoutingKey: "dead"})
		dead := b.running("dead", QueueConfig{MaxLength: 1, Overflow: RejectPublish})
		b.sendNow("main", "one", "two", "three", "four")
		for _, d := range b.get(main, 3) {
			mustDo(t, d.Reject())
		}
		time.Sleep(time.Hour)
		if s := must[QueueStats](t)(main.Stats(b.ctx)); s.Dying != 2 || s.Dead != 1 {
			t.Errorf("%+v", s.QueueCounts)
		}
		mustDo(t, b.get(main, 1)[0].AckSync(b.ctx)) // it goes on meanwhile
		letters := map[string]bool{}
		for range 3 {
			letter := b.get(dead, 1)[0]
			letters[string(letter.Body())] = true
			mustDo(t, letter.AckSync(b.ctx))
			time.Sleep(2 * letterRetryMax)
		}
		if s := must[QueueStats](t)(main.Stats(b.ctx)); len(letters) != 3 || s.Dead != 3 || s.Acked != 1 || s.Live != 0 {
			t.Errorf("the letters are %v; %+v", letters, s.QueueCounts)
		}
	})
}

// Messages that fail every minute of a day leave no more on the disk than a snapshot and
// what a shard writes until it rewrites its journal, however long it goes on.
func TestADayOfNacksTakesLittleOfTheDisk(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		const messages = 25
		store := storagefake.New()
		b := timelessBed(t, store)
		defer b.end()
		b.shards.roundBytes = 32 << 10
		main := b.running("main", QueueConfig{DeliveryLimit: Unlimited, Retry: QueueRetry{First: time.Minute, Factor: 1}})
		var attempts atomic.Int64
		c := must[*QueueConsumer](t)(main.Consume(b.ctx, ConsumeOptions{}, func(context.Context, *QueueDelivery) error {
			attempts.Add(1)
			return errors.New("on purpose")
		}))
		b.sendNow("main", numbers(0, messages)...)
		var most [2]uint64 // bytes, in each half of the day
		for hour := range 24 {
			time.Sleep(time.Hour)
			synctest.Wait()
			most[hour/12] = max(most[hour/12], bytesStored(t, store, ""))
		}
		mustDo(t, c.Close(b.ctx))
		n := attempts.Load()
		t.Logf("%d attempts: at most %d bytes", n, most)
		if n < messages*24*60*9/10 {
			t.Errorf("there were %d attempts in a day", n)
		}
		if most[1] > 128<<10 || most[1] > most[0]*3/2 {
			t.Errorf("%d attempts take %d bytes: at most %d in the first half", n, most[1], most[0])
		}
	})
}

// When what all handlers need is down, the attempts stay within what the waits between them
// allow: that is few, and nothing is given up in an outage of some minutes.
func TestARetryStormStaysWithinItsBudget(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		const messages, outage = 500, 8 // minutes
		b := timelessBed(t, storagefake.New())
		defer b.end()
		main := b.running("main", QueueConfig{DeadLetterRoutingKey: "dead"})
		b.running("dead", QueueConfig{})
		var attempts atomic.Int64
		var up atomic.Bool
		c := must[*QueueConsumer](t)(main.Consume(b.ctx, ConsumeOptions{Concurrency: 50}, func(context.Context, *QueueDelivery) error {
			if attempts.Add(1); up.Load() {
				return nil
			}
			return errors.New("it is down")
		}))
		b.sendNow("main", numbers(0, messages)...)
		for minute := range outage {
			time.Sleep(time.Minute)
			synctest.Wait()
			budget := int64(2 * messages) // a minute between two, less a fifth
			if minute == 0 {
				budget = 11 * messages // 0.1 s, doubled from one to the next, less a fifth
			}
			if n := attempts.Swap(0); n > budget || n < messages/2 {
				t.Errorf("minute %d: %d attempts at %d messages, want at most %d", minute, n, messages, budget)
			}
		}
		up.Store(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := must[QueueStats](t)(main.Stats(b.ctx)); n.Acked != messages || n.Dead+n.Dropped > 0 {
			t.Errorf("after the outage: %+v", n.QueueCounts)
		}
		mustDo(t, c.Close(b.ctx))
	})
}

// Messages that are delayed, or expire, do so at their time, though the process was away
// at it, or before: none too early.
func TestDelayAndExpiryAcrossRestarts(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store, start := storagefake.New(), time.Now()
		config := QueueConfig{DeadLetterRoutingKey: "dead"}
		open := func() (*bed, *Queue, *Queue) {
			b := timelessBed(t, store)
			return b, b.running("main", config), b.running("dead", QueueConfig{})
		}
		b, main, _ := open()
		p := must[*ExchangePublisher](t)(must[*Exchange](t)(b.Exchange(b.ctx, "")).NewPublisher(b.ctx, ExchangePublisherOptions{}))
		for i := range 6 {
			at := time.Duration(i+1) * time.Hour
			b.publish(p, &Message{RoutingKey: "main", Body: fmt.Appendf(nil, "delayed-%d", i+1), Delay: at})
			b.publish(p, &Message{RoutingKey: "main", Body: fmt.Appendf(nil, "expiring-%d", i+1), TTL: at + time.Minute})
		}
		mustDo(t, p.Close(b.ctx))
		for hour := 1; hour <= 6; hour += 2 {
			mustDo(t, main.CatchUp(b.ctx))
			mustDo(t, b.Close(b.ctx))
			store = store.Restart()
			time.Sleep(time.Duration(hour)*time.Hour - time.Since(start) - time.Second)
			b, main, _ = open() // a second before an hour
			checkDue(t, b, main, hour-1)
			mustDo(t, b.Close(b.ctx))
			store = store.Restart()
			time.Sleep(time.Duration(hour+1)*time.Hour - time.Since(start) + 2*time.Minute) // through two hours
			b, main, _ = open()
			time.Sleep(time.Second)
			checkDue(t, b, main, hour+1)
		}
		dead := must[*Queue](t)(b.Queue(b.ctx, "dead"))
		if s := must[QueueStats](t)(dead.Stats(b.ctx)); s.Ready != 6 {
			t.Errorf("dead letters: %+v", s.QueueCounts)
		}
		b.end()
	})
}

// checkDue looks at the queue when so many of the six delayed messages are due, and as many
// others have expired.
func checkDue(t *testing.T, b *bed, q *Queue, due int) {
	t.Helper()
	mustDo(t, q.CatchUp(b.ctx))
	synctest.Wait()
	s := must[QueueStats](t)(q.Stats(b.ctx))
	if want := (queue.Counts{Taken: 12, Ready: 6, Delayed: 6 - due, Live: 12 - due, Dead: uint64(due)}); s.QueueCounts != want {
		t.Errorf("with %d due: %+v, want %+v", due, s.QueueCounts, want)
	}
}

// A worker that has left has lost its message to another one. What it says of the message
// then is refused, and changes nothing for the other.
func TestSettlingAfterRedeliveryIsRefused(t *testing.T) {
	settle := map[string]func(*QueueDelivery) error{"ack": (*QueueDelivery).Ack, "nack": (*QueueDelivery).Nack,
		"reject": (*QueueDelivery).Reject, "requeue": (*QueueDelivery).Requeue}
	for name, late := range settle {
		t.Run(name, func(t *testing.T) {
			b := runningBed(t, storagefake.New())
			main := b.running("main", QueueConfig{})
			b.sendNow("main", "task")
			slow := must[*QueueConsumer](t)(main.Subscribe(b.ctx, ConsumeOptions{}))
			first := must[*QueueDelivery](t)(slow.Next(b.ctx))
			mustDo(t, slow.Close(b.ctx))
			second := b.get(main, 1)[0]
			if first.Position() != second.Position() || !second.Redelivered() {
				t.Errorf("%s comes again as %s", describeDelivery(first), describeDelivery(second))
			}
			if err := late(first); !errors.Is(err, ErrSettled) {
				t.Errorf("the late %s: %v", name, err)
			}
			if s := must[QueueStats](t)(main.Stats(b.ctx)); s.InFlight != 1 || s.Live != 1 {
				t.Errorf("after the late %s: %+v", name, s.QueueCounts)
			}
			mustDo(t, second.AckSync(b.ctx))
			b.settles(main, "empty", func(s QueueStats) bool { return s.Acked == 1 && s.Live == 0 })
		})
	}
}
