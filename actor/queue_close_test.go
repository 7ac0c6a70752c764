package actor

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// What was acknowledged before the system is closed does not come again, though nobody has
// closed the consumers.
func TestCloseLosesNoAcknowledgement(t *testing.T) {
	const n = 200
	for name, work := range map[string]func(b *bed, q *Queue){
		"Get": func(b *bed, q *Queue) {
			for left := n; left > 0; left -= 20 {
				for _, d := range b.get(q, 20) {
					mustDo(b, d.Ack())
				}
			}
		},
		"Subscribe": func(b *bed, q *Queue) {
			c := must[*QueueConsumer](b)(q.Subscribe(b.ctx, ConsumeOptions{}))
			for range n {
				mustDo(b, must[*QueueDelivery](b)(c.Next(b.ctx)).Ack())
			}
		},
		"Consume": func(b *bed, q *Queue) {
			var all sync.WaitGroup
			all.Add(n)
			must[*QueueConsumer](b)(q.Consume(b.ctx, ConsumeOptions{}, func(context.Context, *QueueDelivery) error {
				all.Done()
				return nil
			}))
			all.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := storagefake.New()
			s := NewSystem(store)
			b := &bed{t, s, testContext(t)}
			q := b.running("work", QueueConfig{})
			for i := range n {
				b.send("work", fmt.Sprint(i))
			}
			work(b, q)
			mustDo(t, s.Close(b.ctx))

			b = runningBed(t, store.Restart())
			q = must[*Queue](t)(b.Queue(b.ctx, "work"))
			mustDo(t, q.CatchUp(b.ctx))
			if s := must[QueueStats](t)(q.Stats(b.ctx)); s.Acked != n || s.Live != 0 {
				t.Errorf("after a restart %+v", s.QueueCounts)
			}
		})
	}
}

// A delivery that is not settled when the system is closed is waiting again, and no attempt
// is charged; a consumer that waits for more does not hold Close up.
func TestCloseGivesBackWhatIsNotSettled(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	b := &bed{t, s, testContext(t)}
	q := b.running("work", QueueConfig{DeliveryLimit: 1})
	b.send("work", "a", "b", "c", "d")
	b.get(q, 2)
	c := must[*QueueConsumer](t)(q.Subscribe(b.ctx, ConsumeOptions{}))
	must[*QueueDelivery](t)(c.Next(b.ctx))
	mustDo(t, s.Close(b.ctx))

	b = runningBed(t, store.Restart())
	q = must[*Queue](t)(b.Queue(b.ctx, "work"))
	for i, d := range b.get(q, 4) {
		if want := string("abcd"[i]); string(d.Body()) != want || d.Attempt() != 1 || d.Probation {
			t.Errorf("%s comes, want %s at its first attempt", describeDelivery(d), want)
		}
	}
}

// Dead letters that are on their way when the system is closed are there once, and the
// queue lets go of their messages.
func TestCloseWaitsForDeadLetters(t *testing.T) {
	const n = 50
	store := storagefake.New()
	s := NewSystem(store)
	b := &bed{t, s, testContext(t)}
	b.running("letters", QueueConfig{})
	q := b.running("work", QueueConfig{DeadLetterRoutingKey: "letters"})
	for i := range n {
		b.send("work", fmt.Sprint(i))
	}
	for range 4 {
		for _, d := range b.get(q, n/5) {
			mustDo(t, d.Reject())
		}
		mustDo(t, s.Close(b.ctx))
		s = NewSystem(store)
		b = &bed{t, s, testContext(t)}
		q = must[*Queue](t)(b.Queue(b.ctx, "work"))
	}
	letters := must[*Queue](t)(b.Queue(b.ctx, "letters"))
	mustDo(t, q.CatchUp(b.ctx), letters.CatchUp(b.ctx))
	at, dead := must[QueueStats](t)(q.Stats(b.ctx)), must[QueueStats](t)(letters.Stats(b.ctx))
	if at.Dead != n/5*4 || at.Dying != 0 || dead.Taken != n/5*4 {
		t.Errorf("the queue has %+v, and of dead letters there are %+v", at.QueueCounts, dead.QueueCounts)
	}
	mustDo(t, s.Close(b.ctx))
}
