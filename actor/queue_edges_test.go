package actor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// The longest times there are stand for: never.
func TestTheLongestTimesDoNotOverflow(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q, p := b.running("q", QueueConfig{}), b.publisher("", ExchangePublisherOptions{})
	b.publish(p, &Message{RoutingKey: "q", Body: []byte("lives"), TTL: math.MaxInt64})
	b.publish(p, &Message{RoutingKey: "q", Delay: math.MaxInt64})
	b.publish(p, &Message{RoutingKey: "q", Delay: math.MaxInt64, TTL: math.MaxInt64})
	if d := b.get(q, 1)[0]; string(d.Body()) != "lives" {
		t.Errorf("got %q", d.Body())
	}
	if s := must[QueueStats](t)(q.Stats(b.ctx)); s.Delayed != 2 || s.Expired != 0 {
		t.Errorf("%+v", s.QueueCounts)
	}
}

// A queue that cannot be stored, since a part of it is no number, must not be what the
// directory ends with.
func TestQueuesAreNotDeclaredWithNonsense(t *testing.T) {
	b := runningBed(t, storagefake.New())
	for name, c := range map[string]QueueConfig{
		"no number":       {Retry: QueueRetry{First: 1, Factor: math.NaN()}},
		"infinite":        {Retry: QueueRetry{First: 1, Factor: math.Inf(1)}},
		"no jitter":       {Retry: QueueRetry{First: 1, Jitter: math.NaN()}},
		"negative first":  {Retry: QueueRetry{First: -2}},
		"negative max":    {Retry: QueueRetry{First: 1, Max: -1}},
		"negative weight": {Weights: []int{1, -1}},
		"long exchange":   {DeadLetterExchange: strings.Repeat("x", 256)},
		"long key":        {DeadLetterRoutingKey: strings.Repeat("x", 256)},
		"no text":         {DeadLetterExchange: "\xff"},
	} {
		if _, err := b.DeclareQueue(b.ctx, "q", c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.running("q", QueueConfig{})
}

// What is as large as it can be, and has as many keys and headers as it can, is
// dead-lettered all the same, and says then what it is.
func TestTheLargestMessagesAreDeadLettered(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q, dead := b.running("q", QueueConfig{DeadLetterRoutingKey: "dead"}), b.running("dead", QueueConfig{})
	var headers []MessageHeader
	for i := range recordLimits.HeaderCount - 1 {
		headers = append(headers, HeaderInt(fmt.Sprint("header-", i), 1))
	}
	var keys []string
	for i := range 256 {
		keys = append(keys, fmt.Sprintf("%0200d", i))
	}
	p := b.publisher("", ExchangePublisherOptions{})
	fits := func(bytes int) bool {
		m := &Message{RoutingKey: "q", Headers: headers, CC: keys[:200], MessageID: "large", Body: make([]byte, bytes)}
		_, err := p.PublishSync(b.ctx, m)
		return err == nil
	}
	most := sort.Search(recordLimits.RecordBytes, func(n int) bool { return !fits(n) }) - 1
	b.publish(p, &Message{RoutingKey: "q", CC: keys, MessageID: "many keys"})
	large := 0
	for {
		all := must[[]*QueueDelivery](t)(q.Get(b.ctx, 100, 0))
		for _, d := range all {
			large = max(large, len(d.Body()))
			mustDo(t, d.Reject())
		}
		if len(all) == 0 {
			break
		}
	}
	if large != most || most < recordLimits.RecordBytes-recordLimits.HeaderBytes {
		t.Fatalf("the largest message has %d bytes, the largest that was taken %d", large, most)
	}
	b.settles(q, "rid of all", func(s QueueStats) bool { return s.Live == 0 })
	for {
		all := must[[]*QueueDelivery](t)(dead.Get(b.ctx, 100, 0))
		for _, d := range all {
			if len(d.Deaths()) != 1 || d.MessageID() == "" || d.Message().RoutingKey != "dead" {
				t.Fatalf("a letter says %q and %+v", d.MessageID(), d.Deaths())
			}
			mustDo(t, d.AckSync(b.ctx))
		}
		if len(all) == 0 {
			break
		}
	}
}

// A queue that nobody has ever used ends, too, also after a restart; and to declare it
// again, or to get from it, is a use.
func TestUnusedQueuesEnd(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		b := timelessBed(t, store)
		unused, used, got := b.running("unused", QueueConfig{Expires: time.Hour}), b.running("used", QueueConfig{Expires: time.Hour}), b.running("got", QueueConfig{Expires: time.Hour})
		b.running("later", QueueConfig{Expires: 3 * time.Hour})
		for range 4 {
			time.Sleep(30 * time.Minute)
			b.running("used", QueueConfig{Expires: time.Hour})
			must[[]*QueueDelivery](t)(got.Get(b.ctx, 1, 0))
		}
		if _, err := unused.Stats(b.ctx); !errors.Is(err, ErrNoQueue) {
			t.Errorf("a queue that is not used: %v", err)
		}
		must[QueueStats](t)(used.Stats(b.ctx))
		must[QueueStats](t)(got.Stats(b.ctx))
		b.end()
		b = timelessBed(t, store)
		defer b.end()
		must[*Queue](t)(b.Queue(b.ctx, "later"))
		time.Sleep(4 * time.Hour)
		if all := must[[]QueueInfo](t)(b.Queues(b.ctx)); len(all) != 0 {
			t.Errorf("there are %+v", all)
		}
	})
}

// Whoever asks a queue for what was confirmed before has it, however quickly it asks.
func TestAQueueHasWhatWasConfirmed(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q, p := b.running("q", QueueConfig{}), b.publisher("", ExchangePublisherOptions{})
	for i := range 60 {
		b.publish(p, &Message{RoutingKey: "q"})
		switch i % 4 {
		case 0:
			if err := q.Delete(b.ctx, QueueDelete{IfEmpty: true}); !errors.Is(err, ErrInUse) {
				t.Fatalf("deleted with a message: %v", err)
			}
			mustDo(t, must[[]*QueueDelivery](t)(q.Get(b.ctx, 1, 0))[0].AckSync(b.ctx))
		case 1:
			if all := must[[]*QueueMessage](t)(q.Peek(b.ctx, 1)); len(all) != 1 {
				t.Fatal("there is nothing to look at")
			}
			must[int](t)(q.Purge(b.ctx))
		case 2:
			all := must[[]*QueueDelivery](t)(q.Get(b.ctx, 1, 0))
			if len(all) != 1 {
				t.Fatal("there is nothing to get")
			}
			mustDo(t, all[0].AckSync(b.ctx))
		case 3:
			if n := must[int](t)(q.Purge(b.ctx)); n != 1 {
				t.Fatalf("%d are purged", n)
			}
		}
	}
}

// None of several alterations at once is lost, and who alters a configuration has one of
// its own.
func TestAlteringAtTheSameTime(t *testing.T) {
	b := runningBed(t, storagefake.New())
	weights := []int{1, 2}
	q := b.running("q", QueueConfig{Weights: weights})
	weights[0] = 7
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			mustDo(t, q.Alter(b.ctx, func(c *QueueConfig) {
				if i%2 == 0 {
					c.MaxHops++
				} else {
					c.PublishAhead++
				}
			}))
		})
	}
	all.Wait()
	was := q.Config()
	if was.MaxHops != DefaultQueueMaxHops+8 || was.PublishAhead != DefaultQueuePublishAhead+8 {
		t.Errorf("it has %+v", was)
	}
	err := q.Alter(b.ctx, func(c *QueueConfig) { c.Weights[0], c.MaxHops = 9, -1 })
	if !errors.Is(err, ErrInvalid) || !slices.Equal(q.Config().Weights, []int{1, 2}) {
		t.Errorf("%v, and it has the weights %v", err, q.Config().Weights)
	}
	mustDo(t, q.Delete(b.ctx, QueueDelete{}))
	b.running("q", QueueConfig{})
	if err := q.Alter(b.ctx, func(*QueueConfig) {}); !errors.Is(err, ErrNoQueue) {
		t.Errorf("another queue of that name is altered: %v", err)
	}
}

// Of a queue with a single active consumer that one alone is told so, and the one before
// that it is it no longer.
func TestOneConsumerIsActive(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q := b.running("q", QueueConfig{SingleActive: true})
	subscribe := func(priority int) (c *QueueConsumer, told chan bool) {
		told = make(chan bool, 10)
		c = must[*QueueConsumer](t)(q.Subscribe(b.ctx, ConsumeOptions{Priority: priority, Listener: ConsumeListener{Active: func(is bool) { told <- is }}}))
		return c, told
	}
	first, heard := subscribe(0)
	if !await(t, heard, "the first") {
		t.Fatal("the only consumer is not active")
	}
	second, also := subscribe(1)
	if !await(t, also, "the second") || await(t, heard, "the first") {
		t.Fatal("the second one does not take over")
	}
	if first.Stats().Active || !second.Stats().Active {
		t.Errorf("the first: %v, the second: %v", first.Stats().Active, second.Stats().Active)
	}
	mustDo(t, second.Close(b.ctx))
	if !await(t, heard, "the first") {
		t.Error("the first one does not take over again")
	}
}

// Letters of a queue that is no more do not keep the others from coming back.
func TestRedriveLeavesLettersOfQueuesThatAreGone(t *testing.T) {
	b := runningBed(t, storagefake.New())
	dead := b.running("dead", QueueConfig{})
	gone, here := b.running("gone", QueueConfig{DeadLetterRoutingKey: "dead"}), b.running("here", QueueConfig{DeadLetterRoutingKey: "dead"})
	for _, q := range []*Queue{gone, here} {
		b.send(q.Name(), numbers(0, moveTurn)...)
		for _, d := range b.get(q, moveTurn) {
			mustDo(t, d.Reject())
		}
		b.settles(q, "rid of all", func(s QueueStats) bool { return s.Dead == moveTurn })
	}
	mustDo(t, gone.Delete(b.ctx, QueueDelete{}))
	moved, err := dead.Redrive(b.ctx, QueueMove{})
	if moved.Moved != moveTurn || !errors.Is(err, ErrNoQueue) || !strings.Contains(err.Error(), `"gone"`) {
		t.Errorf("%+v, %v", moved, err)
	}
	b.waits(here, moveTurn)
	b.waits(dead, moveTurn)
}

// A publisher whose system is closed says so, and does not try for its DeliveryTimeout.
func TestPublishingAfterTheEndOfTheSystem(t *testing.T) {
	b := &bed{t, NewSystem(storagefake.New()), testContext(t)}
	b.running("q", QueueConfig{})
	p := must[*ExchangePublisher](t)(must[*Exchange](t)(b.Exchange(b.ctx, "")).NewPublisher(b.ctx, ExchangePublisherOptions{}))
	b.publish(p, &Message{RoutingKey: "q"})
	mustDo(t, b.Close(b.ctx))
	if _, err := b.System.Queue(b.ctx, "q"); !errors.Is(err, ErrClosed) {
		t.Errorf("the queue, after the end: %v", err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
		_, err := p.PublishSync(ctx, &Message{RoutingKey: "q"})
		if !errors.Is(err, ErrClosed) || ctx.Err() != nil {
			t.Errorf("after the end: %v", err)
		}
		cancel()
	}
	mustDo(t, p.Close(b.ctx))
}
