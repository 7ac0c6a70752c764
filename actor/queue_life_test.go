package actor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func TestConsumersHearThatTheirQueueIsDeleted(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q, other := b.running("q", QueueConfig{}), b.running("other", QueueConfig{})
	b.send("q", "one")
	told := make(chan error, 1)
	c := must[*QueueConsumer](t)(q.Subscribe(b.ctx, ConsumeOptions{Listener: ConsumeListener{
		Cancelled:   func(err error) { told <- err },
		Interrupted: func(err error) { t.Errorf("it is told to wait for its queue: %v", err) }}}))
	d := must[*QueueDelivery](t)(c.Next(b.ctx))
	mustDo(t, q.Delete(b.ctx, QueueDelete{}))
	if err := await(t, told, "the cancellation"); !errors.Is(err, ErrNoQueue) {
		t.Errorf("the consumer is told %v", err)
	}
	if err := d.AckSync(b.ctx); !errors.Is(err, ErrSettled) {
		t.Errorf("a delivery of a queue that is gone is acknowledged: %v", err)
	}
	if _, err := q.Stats(b.ctx); !errors.Is(err, ErrNoQueue) {
		t.Errorf("its handle: %v", err)
	}
	b.send("other", "two")
	mustDo(t, b.get(other, 1)[0].AckSync(b.ctx))
}

// What is altered counts at once, also for what waits.
func TestAnAlteredQueueGoesOn(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q := b.running("q", QueueConfig{})
	b.send("q", numbers(0, 10)...)
	b.waits(q, 10)
	for name, alter := range map[string]func(*QueueConfig){"GroupBy": func(c *QueueConfig) { c.GroupBy = "key" }, "Transient": func(c *QueueConfig) { c.Transient = true }} {
		if err := q.Alter(b.ctx, alter); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustDo(t, q.Alter(b.ctx, func(c *QueueConfig) { c.MaxLength = 3 }))
	s := b.settles(q, "shortened", func(s QueueStats) bool { return s.Dropped == 7 })
	if s.Ready != 3 {
		t.Errorf("%+v", s.QueueCounts)
	}
	if d := b.get(q, 1)[0]; string(d.Body()) != "7" {
		t.Errorf("the oldest that is left is %q", d.Body())
	}
}

// A queue warns when it gets full, be it in an instant, and whoever else looks at it; and
// again when it was less full for a while.
func TestQueueWarnsBeforeItIsFull(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		var warnings []QueueWarning
		b := &bed{t, NewSystem(storagefake.New(), WithOnQueueWarning(func(w QueueWarning) { warnings = append(warnings, w) })), t.Context()}
		defer b.end()
		q := b.running("q", QueueConfig{MaxLength: 10, Overflow: RejectPublish})
		for round := 1; round <= 2; round++ {
			for i := range 10 {
				must[QueueStats](t)(q.Stats(b.ctx))
				b.sendNow("q", strconv.Itoa(i))
			}
			synctest.Wait()
			if len(warnings) != round {
				t.Fatalf("round %d: %+v", round, warnings)
			}
			if w := warnings[round-1]; w.Queue != "q" || w.MaxLength != 10 || w.Messages < 1 {
				t.Errorf("%+v", w)
			}
			for _, d := range b.get(q, 10) {
				mustDo(t, d.AckSync(b.ctx))
				time.Sleep(queueWindow)
			}
			synctest.Wait()
		}
	})
}

// lives is a bed in virtual time: f lets some of it pass.
func lives(t *testing.T, c QueueConfig, f func(b *bed, q *Queue, pass func(time.Duration))) {
	inVirtualTime(t, func(t *testing.T) {
		b := &bed{t, NewSystem(storagefake.New()), context.Background()}
		f(b, b.running("q", c), func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		})
		mustDo(t, b.Close(b.ctx))
	})
}

func (b *bed) isThere(what string, is bool) {
	b.Helper()
	if _, err := b.Queue(b.ctx, "q"); (err == nil) != is {
		b.Fatalf("%s: there is a queue: %v, want %v", what, err == nil, is)
	}
}

// A queue that expires without use does not if it is declared again, or asked for messages.
func TestDeclaringAgainIsUse(t *testing.T) {
	c := QueueConfig{Expires: time.Minute}
	lives(t, c, func(b *bed, q *Queue, pass func(time.Duration)) {
		for range 3 {
			pass(40 * time.Second)
			b.isThere("declared", true)
			b.running("q", c)
		}
		for range 3 {
			pass(40 * time.Second)
			b.isThere("asked", true)
			must[[]*QueueDelivery](t)(q.Get(b.ctx, 1, 0))
		}
		pass(59 * time.Second)
		b.isThere("not long ago", true)
		pass(2 * time.Second)
		b.isThere("nobody used it", false)
		b.running("q", c)
		b.isThere("declared anew", true)
	})
}

func TestGetIsNoConsumerThatLeaves(t *testing.T) {
	lives(t, QueueConfig{AutoDelete: true}, func(b *bed, q *Queue, pass func(time.Duration)) {
		b.send("q", "one", "two")
		mustDo(t, b.get(q, 1)[0].AckSync(b.ctx))
		pass(time.Minute)
		b.isThere("after Get", true)
		c := must[*QueueConsumer](t)(q.Subscribe(b.ctx, ConsumeOptions{}))
		mustDo(t, must[*QueueDelivery](t)(c.Next(b.ctx)).AckSync(b.ctx))
		mustDo(t, c.Close(b.ctx))
		pass(time.Second)
		b.isThere("its last consumer has left", false)
	})
}

// The queue of a consumer that leaves may be deleted, for that reason or another, before
// all is said.
func TestCloseOfAConsumerWhoseQueueIsDeleted(t *testing.T) {
	t.Run("by its leaving", func(t *testing.T) {
		b := idleBed(t, storagefake.New())
		b.ctx = context.Background()
		for i := range 500 {
			c := must[*QueueConsumer](t)(b.running(fmt.Sprint(i), QueueConfig{AutoDelete: true}).Subscribe(b.ctx, ConsumeOptions{}))
			mustDo(t, c.Close(b.ctx))
		}
	})
	t.Run("by others", func(t *testing.T) {
		lives(t, QueueConfig{}, func(b *bed, q *Queue, pass func(time.Duration)) {
			goOn := make(chan struct{})
			c := must[*QueueConsumer](t)(q.Consume(b.ctx, ConsumeOptions{}, func(context.Context, *QueueDelivery) error {
				<-goOn
				return nil
			}))
			b.send("q", "one")
			pass(time.Second)
			closed := make(chan error)
			go func() { closed <- c.Close(b.ctx) }()
			pass(time.Second)
			mustDo(t, q.Delete(b.ctx, QueueDelete{}))
			pass(time.Second)
			close(goOn)
			mustDo(t, <-closed)
		})
	})
}

// A time to live that is unlimited is none, and not the contrary.
func TestTimesToLive(t *testing.T) {
	for _, c := range []struct {
		queue, message time.Duration
		stays          bool
	}{{0, 0, true}, {Unlimited, Unlimited, true}, {Unlimited, 0, true}, {ExpireAtOnce, Unlimited, false}, {Unlimited, ExpireAtOnce, false}} {
		lives(t, QueueConfig{TTL: c.queue}, func(b *bed, q *Queue, pass func(time.Duration)) {
			p := b.publisher("", ExchangePublisherOptions{})
			must[Confirmation](t)(p.PublishSync(b.ctx, &Message{RoutingKey: "q", TTL: c.message}))
			mustDo(t, p.Close(b.ctx))
			pass(100 * 24 * time.Hour)
			if s := must[QueueStats](t)(q.Stats(b.ctx)); (s.Ready == 1) != c.stays {
				t.Errorf("with %v of the queue and %v of the message: %+v", c.queue, c.message, s.QueueCounts)
			}
			b.running("q", QueueConfig{TTL: q.Config().TTL})
		})
	}
}
