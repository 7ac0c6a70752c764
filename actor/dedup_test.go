package actor

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// dedupBed is an exchange that remembers ids, with one queue.
func dedupBed(t testing.TB, store *storagefake.Store, d Dedup) (*bed, *Exchange) {
	b := idleBed(t, store)
	d.Enabled = true
	x := b.exchange("orders", ExchangeConfig{Type: Fanout, Dedup: d})
	b.queue("q", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "q"})
	return b, x
}

func TestAMessageOfAnIDIsPublishedOnce(t *testing.T) {
	b, x := dedupBed(t, storagefake.New(), Dedup{})
	p, other := b.publisher("orders", ExchangePublisherOptions{}), b.publisher("orders", ExchangePublisherOptions{})
	if got := b.publish(p, &Message{MessageID: "m"}); got != (Confirmation{Queues: 1}) {
		t.Errorf("%+v", got)
	}
	if got := b.publish(other, &Message{MessageID: "m"}); got != (Confirmation{Queues: 1, Duplicate: true}) {
		t.Errorf("%+v", got)
	}
	b.publish(p, &Message{MessageID: "n"})
	b.publish(p, &Message{})
	b.publish(p, &Message{})
	if n := len(b.log(x)); n != 4 || other.Stats().Duplicates != 1 {
		t.Errorf("%d messages are in the log, %+v", n, other.Stats())
	}
}

func TestIDsAreNotRememberedUnlessAskedFor(t *testing.T) {
	b := idleBed(t, storagefake.New())
	b.queue("q", QueueConfig{})
	p := b.publisher("", ExchangePublisherOptions{})
	b.publish(p, &Message{RoutingKey: "q", MessageID: "m"})
	if got := b.publish(p, &Message{RoutingKey: "q", MessageID: "m"}); got.Duplicate {
		t.Error("it is a duplicate")
	}
}

func TestIDsOutlastARestart(t *testing.T) {
	store := storagefake.New()
	b, _ := dedupBed(t, store, Dedup{Messages: 10})
	p := b.publisher("orders", ExchangePublisherOptions{})
	for i := range 15 {
		b.publish(p, &Message{MessageID: fmt.Sprint(i), Transient: i%2 == 1})
	}
	mustDo(t, p.Close(b.ctx), b.Close(b.ctx))
	b, x := dedupBed(t, store, Dedup{Messages: 10})
	p = b.publisher("orders", ExchangePublisherOptions{})
	if got := b.publish(p, &Message{MessageID: "14"}); got != (Confirmation{Queues: 1, Duplicate: true}) {
		t.Errorf("%+v", got)
	}
	if got := b.publish(p, &Message{MessageID: "13"}); !got.Duplicate {
		t.Errorf("%+v", got)
	}
	if n := len(b.log(x)); n != 8 {
		t.Errorf("%d persistent messages are in the log", n)
	}
}

// What was published to no queue, but to topics, is in their logs, and in none of the
// exchange.
func TestIDsInTopicsOutlastARestart(t *testing.T) {
	store := storagefake.New()
	open := func() *bed {
		b := &bed{t, NewSystem(store), testContext(t)}
		must[*Topic](t)(b.Declare(b.ctx, "events", TopicConfig{}))
		for _, name := range []string{"x", "y"} {
			b.exchange(name, ExchangeConfig{Type: Fanout, Dedup: Dedup{Enabled: true}})
			b.bind(Binding{Exchange: name, Topic: "events"})
		}
		return b
	}
	publish := func(b *bed, exchange string) Confirmation {
		p := must[*ExchangePublisher](t)(must[*Exchange](t)(b.Exchange(b.ctx, exchange)).NewPublisher(b.ctx, ExchangePublisherOptions{}))
		defer func() { mustDo(t, p.Close(b.ctx)) }()
		return b.publish(p, &Message{MessageID: "1"})
	}
	b := open()
	if publish(b, "x").Duplicate || !publish(b, "x").Duplicate {
		t.Error("before the restart it is published more or less than once")
	}
	mustDo(t, b.Close(b.ctx))
	b = open()
	defer func() { mustDo(t, b.Close(b.ctx)) }()
	if !publish(b, "x").Duplicate {
		t.Error("after the restart it is published again")
	}
	if publish(b, "y").Duplicate {
		t.Error("it is taken for what another exchange has published")
	}
}

// A duplicate of a message under way is confirmed with it, and fails with it.
func TestDuplicatesOfWhatIsUnderWay(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("fails %v", fails), func(t *testing.T) {
			store := storagefake.New()
			b, x := dedupBed(t, store, Dedup{})
			p := b.publisher("orders", ExchangePublisherOptions{DeliveryTimeout: time.Millisecond})
			b.publish(p, &Message{})
			hold := make(chan struct{})
			onAppends(store, x, func(n int) storagefake.Fault {
				if fails {
					return storagefake.Fault{Hold: hold, Err: ErrFull}
				}
				return storagefake.Fault{Hold: hold}
			})
			first := must[Receipt](t)(p.Publish(b.ctx, &Message{MessageID: "m"}))
			second := must[Receipt](t)(p.Publish(b.ctx, &Message{MessageID: "m"}))
			told := make(chan Confirmation, 1)
			mustDo(t, p.PublishFunc(b.ctx, &Message{MessageID: "m"}, func(c Confirmation, err error) {
				if (err != nil) != fails {
					t.Errorf("told %v", err)
				}
				told <- c
			}))
			close(hold)
			one, err := first.Wait(b.ctx)
			two, again := second.Wait(b.ctx)
			three := await(t, told, "the function of the duplicate")
			if (err != nil) != fails || (again != nil) != fails {
				t.Errorf("the first: %v, the second: %v", err, again)
			}
			if !fails && (one.Duplicate || !two.Duplicate || two.Queues != 1 || three != two) {
				t.Errorf("%+v, %+v, %+v", one, two, three)
			}
			store.OnAppend(nil)
			if got := b.publish(p, &Message{MessageID: "m"}); got.Duplicate == fails {
				t.Errorf("afterwards: %+v", got)
			}
		})
	}
}

func TestIDsAreForgottenAfterTheWindow(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b, _ := dedupBed(t, storagefake.New(), Dedup{Window: time.Minute})
		b.ctx = context.Background() // for time passes
		p := b.publisher("orders", ExchangePublisherOptions{})
		b.publish(p, &Message{MessageID: "m"})
		time.Sleep(59 * time.Second) // virtual
		if got := b.publish(p, &Message{MessageID: "m"}); !got.Duplicate {
			t.Error("it is forgotten too early")
		}
		time.Sleep(2 * time.Second)
		if got := b.publish(p, &Message{MessageID: "m"}); got.Duplicate {
			t.Error("it is remembered too long")
		}
	})
}

// The table of ids agrees with a list of all that was ever published.
func TestRememberedIDsAgreeWithAList(t *testing.T) {
	type entry struct {
		id string
		at int64
	}
	rapid.Check(t, func(t *rapid.T) {
		c := Dedup{Enabled: true, Window: 20 * time.Millisecond, Messages: 5}
		m := newRememberedIDs(c)
		var list []entry
		underWay := map[string]bool{}
		for now := int64(1); now < 200; now += rapid.Int64Range(0, 8).Draw(t, "pass") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "id")
			if underWay[id] {
				delete(underWay, id)
				if rapid.Bool().Draw(t, "fails") {
					m.settle(m.key(id), Confirmation{}, ErrFull, now)
				} else {
					m.settle(m.key(id), Confirmation{}, nil, now)
					list = append(list, entry{id, now})
				}
				continue
			}
			known := false
			for _, e := range list[max(len(list)-c.Messages, 0):] {
				known = known || e.id == id && e.at > now-c.Window.Milliseconds()
			}
			if _, _, found := m.find(m.key(id), now, nil); found != known {
				t.Fatalf("at %d: %s is known: %v, want %v", now, id, found, known)
			}
			if !known {
				underWay[id] = true
			}
			if len(m.known) > c.Messages+len(underWay) || len(m.order) > 2*c.Messages+2 {
				t.Fatalf("it holds %d ids, and the order of %d", len(m.known), len(m.order))
			}
			now++
		}
	})
}
