package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// PublishIf goes through if the key is as expected, and only then; a conflict does not
// concern what is published before and behind it, which keeps its order.
func TestPublishIf(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{KeyIndex: true})
	p, ctx := newPublisher(t, topic, PublisherOptions{}), testContext(t)
	at, err := p.PublishIf(ctx, AnyPartition, expecting("a", NoOffset), pairs("a=1", "b=1", "a=2"))
	if err != nil || at != (Published{0, 0}) {
		t.Fatalf("a new key: %+v, %v", at, err)
	}
	var others []Future
	plain := func(text string) {
		f, err := p.Publish(ctx, 0, &pairs(text)[0])
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, f)
	}
	plain("c=1")
	_, err = p.PublishIf(ctx, 0, expecting("a", 0), pairs("a=x", "b=x"))
	wantConflict(t, "an older one", err, 2)
	plain("c=2")
	if at, err := p.PublishIf(ctx, 0, expecting("a", 2), pairs("a=3")); err != nil || at.Offset != 5 {
		t.Errorf("the newest: %+v, %v", at, err)
	}
	plain("c=3")
	_, err = p.PublishIf(ctx, 0, expecting("c", 4), pairs("c=x"))
	wantConflict(t, "behind what is under way", err, 6)
	for i, want := range []uint64{3, 4, 6} {
		if at, err := others[i].Wait(ctx); err != nil || at.Offset != want {
			t.Errorf("c=%d is at %+v, %v; want %d", i+1, at, err, want)
		}
	}
	want := []string{"0:a=1", "1:b=1", "2:a=2", "3:c=1", "4:c=2", "5:a=3", "6:c=3"}
	if got := readTexts(t, topic, FromBeginning()); !slices.Equal(got, want) {
		t.Errorf("it holds %v", got)
	}
}

func TestPublishIfIsRefused(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{KeyIndex: true, Compaction: Compaction{Enabled: true}})
	p, ctx := newPublisher(t, topic, PublisherOptions{}), testContext(t)
	large := Record{Key: []byte("a"), Value: make([]byte, 900<<10)}
	for says, c := range map[string]struct {
		partition int
		e         Expected
		records   []Record
	}{
		"needs a key":              {0, Expected{Offset: NoOffset}, pairs("a=1")},
		"at least one record":      {0, expecting("a", NoOffset), nil},
		"no such partition: 1":     {1, expecting("a", NoOffset), pairs("a=1")},
		"record 1: the topic is c": {0, expecting("a", NoOffset), append(pairs("a=1"), *record("x"))},
		"SectionBytes":             {0, expecting("a", NoOffset), slices.Repeat([]Record{large}, 10)},
		"RecordBytes":              {0, expecting("a", NoOffset), []Record{{Key: []byte("a"), Value: make([]byte, 2<<20)}}},
	} {
		if at, err := p.PublishIf(ctx, c.partition, c.e, c.records); err == nil || !strings.Contains(err.Error(), says) || at.Offset != NoOffset {
			t.Errorf("%+v, %v; want that it says %q", at, err, says)
		}
	}
	plain := newPublisher(t, declare(t, s, "plain", TopicConfig{}), PublisherOptions{})
	if _, err := plain.PublishIf(ctx, 0, expecting("a", NoOffset), pairs("a=1")); !errors.Is(err, ErrNoKeyIndex) {
		t.Errorf("a topic without an index: %v", err)
	}
	if at, err := plain.PublishSync(ctx, 0, record("x")); err != nil || at.Offset != 0 {
		t.Errorf("behind it: %+v, %v", at, err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.PublishIf(ctx, 0, expecting("a", NoOffset), pairs("a=1")); !errors.Is(err, ErrClosed) {
		t.Errorf("a publisher that is closed: %v", err)
	}
}

// lossy stands between a publisher and its partition. It loses the next answer, or the
// next order.
type lossy struct {
	mu            sync.Mutex
	answer, order bool
}

func (l *lossy) lose(answer, order bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer, l.order = answer, order
}

func (l *lossy) between(t *testing.T, s *System, p *Publisher) {
	lane := (*p.lanes.Load())[0]
	partition := lane.ref
	pid := spawn(t, s, "lossy-"+p.ID(), func(ctx pactor.Context) {
		o, ok := ctx.Message().(*order)
		if !ok {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		switch done := o.done; {
		case l.order:
			o.Refused(fmt.Errorf("%w: lost", ErrUnknown))
		case l.answer:
			o.done = func(Ack, error) { done(Ack{Offset: NoOffset}, fmt.Errorf("%w: lost", ErrUnknown)) }
			fallthrough
		default:
			s.Send(partition.pid.Load(), o)
		}
		l.answer, l.order = false, false
	})
	lane.ref = &partitionRef{gate: partition.gate}
	lane.ref.pid.Store(pid)
}

// What is tried again does not conflict with itself, and what somebody else was faster
// with is a conflict all the same.
func TestPublishIfAndLostAnswers(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{KeyIndex: true})
	p, ctx := newPublisher(t, topic, PublisherOptions{RetryBackoff: 1}), testContext(t)
	var way lossy
	way.between(t, s, p)
	other := newPublisher(t, topic, PublisherOptions{})
	at := NoOffset
	for i, c := range []struct{ answer, order bool }{{false, false}, {true, false}, {false, true}, {true, false}, {false, false}} {
		way.lose(c.answer, c.order)
		got, err := p.PublishIf(ctx, 0, expecting("a", at), pairs(fmt.Sprint("a=", i)))
		if err != nil || got.Offset != uint64(i) {
			t.Fatalf("publish %d: %+v, %v", i, got, err)
		}
		at = got.Offset
	}
	if _, err := other.PublishIf(ctx, 0, expecting("a", 4), pairs("a=other")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ answer, order bool }{{false, true}, {true, false}} {
		way.lose(c.answer, c.order)
		_, err := p.PublishIf(ctx, 0, expecting("a", 4), pairs("a=x"))
		wantConflict(t, "after another", err, 5)
		if errors.Is(err, ErrUnknown) {
			t.Errorf("it is known that it was not stored, and it says %v", err)
		}
	}
	if got, want := readTexts(t, topic, FromBeginning()), []string{"0:a=0", "1:a=1", "2:a=2", "3:a=3", "4:a=4", "5:a=other"}; !slices.Equal(got, want) {
		t.Errorf("it holds %v, want %v", got, want)
	}
}

// When the partition has forgotten the producer, nobody can tell whether what it
// conflicts with is its own: it says so.
func TestPublishIfOfAProducerThatIsForgotten(t *testing.T) {
	l := DefaultPartitionLimits()
	l.Producers = 1
	s := logSystem(t, storagefake.New(), WithPartitionLimits(l))
	topic := declare(t, s, "orders", TopicConfig{KeyIndex: true})
	p, ctx := newPublisher(t, topic, PublisherOptions{RetryBackoff: 1}), testContext(t)
	lane := (*p.lanes.Load())[0]
	partition, another := lane.ref, newProducer(t, topic, ProducerOptions{ID: "another"})
	lost := false
	pid := spawn(t, s, "forgetful", func(c pactor.Context) {
		o, ok := c.Message().(*order)
		if !ok {
			return
		}
		if done := o.done; !lost {
			lost = true
			o.done = func(Ack, error) {
				err := another.AppendAsync(ctx, 0, pairs("b=1"), func(Ack, error) { done(Ack{Offset: NoOffset}, ErrUnknown) })
				if err != nil {
					t.Error(err)
				}
			}
		}
		s.Send(partition.pid.Load(), o)
	})
	lane.ref = &partitionRef{gate: partition.gate}
	lane.ref.pid.Store(pid)
	_, err := p.PublishIf(ctx, 0, expecting("a", NoOffset), pairs("a=1"))
	wantConflict(t, "forgotten", err, 0)
	if !errors.Is(err, ErrUnknown) {
		t.Errorf("it may be its own, and it says %v", err)
	}
}

// Another process takes a name over: the one before can publish nothing more, on
// whatever condition, and the heir meets what it has stored.
func TestPublishIfAndATakeover(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	ctx := testContext(t)
	topic := declare(t, s, "orders", indexedTopic)
	old := newPublisher(t, topic, PublisherOptions{ID: "till"})
	if _, err := old.PublishIf(ctx, 0, expecting("a", NoOffset), pairs("a=1")); err != nil {
		t.Fatal(err)
	}
	heir := newPublisher(t, topic, PublisherOptions{ID: "till", RetryBackoff: 1})
	if at, err := old.PublishIf(ctx, 0, expecting("a", 0), pairs("a=2")); err != nil || at.Offset != 1 {
		t.Fatalf("before the heir says anything: %+v, %v", at, err)
	}
	_, err := heir.PublishIf(ctx, 0, expecting("a", 0), pairs("a=x"))
	wantConflict(t, "the heir, at what it believes", err, 1)
	if at, err := heir.PublishIf(ctx, 0, expecting("a", 1), pairs("a=3")); err != nil || at.Offset != 2 {
		t.Errorf("the heir, at what there is: %+v, %v", at, err)
	}
	if _, err := old.PublishIf(ctx, 0, expecting("a", 2), pairs("a=x")); !errors.Is(err, ErrProducerFenced) {
		t.Errorf("the one before: %v", err)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	s = logSystem(t, store.Restart())
	topic = declare(t, s, "orders", indexedTopic)
	again := newPublisher(t, topic, PublisherOptions{ID: "till"})
	_, err = again.PublishIf(ctx, 0, expecting("a", 1), pairs("a=3")) // as the one before did
	wantConflict(t, "after a restart", err, 2)
	if at, err := again.PublishIf(ctx, 0, expecting("a", 2), pairs("a=4")); err != nil || at.Offset != 3 {
		t.Errorf("after a restart: %+v, %v", at, err)
	}
}

// Many count a key up, through one publisher and through their own, among records that
// expect nothing, and whatever the store loses: every number is there once, in order.
func TestPublishIfFromMany(t *testing.T) {
	const each = 12
	kinds := []storagefake.Fault{{}, {}, {LoseReply: true}, {LoseRequest: true}, {Err: storage.ErrFull}}
	for seed := range uint64(6) {
		store := storagefake.New()
		random := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		left := 20
		store.OnAppend(func(a storagefake.Append) (f storagefake.Fault) {
			mu.Lock()
			defer mu.Unlock()
			if left > 0 && a.Kind == storage.Data && a.Log == ordersLog {
				left--
				f = kinds[random.IntN(len(kinds))]
			}
			return f
		})
		s := logSystem(t, store)
		topic, ctx := declare(t, s, "orders", TopicConfig{KeyIndex: true}), testContext(t)
		shared := newPublisher(t, topic, PublisherOptions{RetryBackoff: 1})
		var all sync.WaitGroup
		for w := range 4 {
			p := shared
			if w%2 == 1 {
				p = newPublisher(t, topic, PublisherOptions{RetryBackoff: 1})
			}
			all.Go(func() {
				at := NoOffset
				for done := 0; done < each; {
					f, err := p.Publish(ctx, 0, &pairs(fmt.Sprintf("own%d=%d", w, done))[0])
					if err != nil {
						t.Error(err)
						return
					}
					got, err := p.PublishIf(ctx, 0, expecting("n", at), pairs("n=1"))
					var conflict *KeyConflictError
					switch {
					case err == nil:
						at = got.Offset
						done++
					case errors.As(err, &conflict):
						at = conflict.Actual
					default:
						t.Error(err)
						return
					}
					if _, err := f.Wait(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		n, before := 0, map[string]string{}
		for _, text := range readTexts(t, topic, FromBeginning()) {
			_, pair, _ := strings.Cut(text, ":")
			key, value, _ := strings.Cut(pair, "=")
			if key == "n" {
				n++
			} else if value < before[key] && len(value) == len(before[key]) {
				t.Errorf("seed %d: %s of %s is behind %s", seed, value, key, before[key])
			} else {
				before[key] = value
			}
		}
		if n != 4*each {
			t.Errorf("seed %d: %d were counted, want %d", seed, n, 4*each)
		}
	}
}

// Waiting for room is within ctx, and takes nothing of DeliveryTimeout.
func TestPublishIfThatWaitedForRoom(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		on(t, store, func(s *System) {
			topic := declare(t, s, "orders", TopicConfig{KeyIndex: true})
			p, ctx := newPublisher(t, topic, PublisherOptions{}), context.Background()
			if err := p.room.enter(ctx, DefaultBufferBytes); err != nil {
				t.Fatal(err)
			}
			var way lossy
			way.between(t, s, p)
			way.lose(false, true)
			time.AfterFunc(2*DefaultDeliveryTimeout, func() { p.room.leave(DefaultBufferBytes) })
			if at, err := p.PublishIf(ctx, 0, expecting("a", NoOffset), pairs("a=1")); err != nil || at.Offset != 0 {
				t.Errorf("%+v, %v", at, err)
			}
		})
	})
}
