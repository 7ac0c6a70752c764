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

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/partitioner"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func newPublisher(t testing.TB, topic *Topic, o PublisherOptions) *Publisher {
	t.Helper()
	p, err := topic.NewPublisher(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what a test has left under way is given up
		_ = p.Close(ctx)
	})
	return p
}

func record(text string) *Record { return &records(text)[0] }

func TestPublishSaysWhereARecordWent(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{Partitions: 2})
	p := newPublisher(t, topic, PublisherOptions{Keyless: new(partitioner.RoundRobin)})
	ctx := testContext(t)
	for i, want := range []Published{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
		got, err := p.PublishSync(ctx, AnyPartition, record(fmt.Sprint("r", i)))
		if err != nil || got != want {
			t.Errorf("record %d went to %+v (%v), want %+v", i, got, err, want)
		}
	}
	keyed := record("k")
	keyed.Key = []byte("ord_123") // Kafka's hash puts it into partition 1 of 2
	if got, err := p.PublishSync(ctx, AnyPartition, keyed); err != nil || got != (Published{1, 2}) {
		t.Errorf("the record with a key went to %+v, %v", got, err)
	}
	if got, err := p.PublishSync(ctx, 0, keyed); err != nil || got != (Published{0, 2}) {
		t.Errorf("the record for partition 0 went to %+v, %v", got, err)
	}
	if _, err := p.PublishSync(ctx, 2, keyed); !errors.Is(err, partitioner.ErrPartition) {
		t.Errorf("a partition that there is not: %v", err)
	}
	called := make(chan Published, 1)
	if err := p.PublishFunc(ctx, 1, record("f"), func(at Published, err error) {
		if err != nil {
			t.Error(err)
		}
		called <- at
	}); err != nil {
		t.Fatal(err)
	}
	if at := await(t, called, "the callback"); at != (Published{1, 3}) {
		t.Errorf("the callback was told %+v", at)
	}
	large := &Record{Value: make([]byte, 2<<20)}
	if _, err := p.Publish(ctx, 0, large); err == nil || !strings.Contains(err.Error(), "RecordBytes") {
		t.Errorf("a record that is too large: %v", err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(ctx, 0, keyed); !errors.Is(err, ErrClosed) {
		t.Errorf("published after Close: %v", err)
	}
}

// What comes while something is under way goes together.
// TestPublishToPartitionsThatWereAdded: by publishers that began before, under a name
// of their own or not. One that was here before with the name goes on in each of them.
func TestPublishToPartitionsThatWereAdded(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic, ctx := declare(t, s, "orders", TopicConfig{Partitions: 1}), testContext(t)
	plain := newPublisher(t, topic, PublisherOptions{})
	named := newPublisher(t, topic, PublisherOptions{ID: "shop"})
	publish := func(p *Publisher, partition int, want Published) {
		t.Helper()
		if got, err := p.PublishSync(ctx, partition, record("r")); err != nil || got != want {
			t.Errorf("it went to %+v (%v), want %+v", got, err, want)
		}
	}
	publish(plain, AnyPartition, Published{0, 0})
	publish(named, 0, Published{0, 1})
	if _, err := plain.PublishSync(ctx, 2, record("r")); !errors.Is(err, partitioner.ErrPartition) {
		t.Errorf("a partition that there is not yet: %v", err)
	}
	if _, err := s.AlterTopic(ctx, "orders", func(c *TopicConfig) { c.Partitions = 3 }); err != nil {
		t.Fatal(err)
	}
	publish(plain, 2, Published{2, 0})
	publish(named, 2, Published{2, 1})
	publish(named, 2, Published{2, 2})
	keyed := record("k")
	keyed.Key = []byte("ord_123")
	want := partitioner.Keyed(keyed.Key, 3)
	if got, err := plain.PublishSync(ctx, AnyPartition, keyed); err != nil || got.Partition != want {
		t.Errorf("the record with a key went to %+v (%v), want partition %d of 3", got, err, want)
	}

	again := newPublisher(t, topic, PublisherOptions{ID: "shop"}) // by the handle on one partition
	publish(again, 2, Published{2, 3})
	if _, err := named.PublishSync(ctx, 2, record("r")); !errors.Is(err, ErrProducerFenced) {
		t.Errorf("the publisher that was taken over: %v", err)
	}
	if err := plain.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AlterTopic(ctx, "orders", func(c *TopicConfig) { c.Partitions = 4 }); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.PublishSync(ctx, 3, record("r")); err == nil {
		t.Error("a closed publisher published to a new partition")
	}
}

func TestPublishMakesBatchesOfWhatComesMeanwhile(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newPublisher(t, topic, PublisherOptions{})
	hold := make(chan struct{})
	held := plan.expect(storage.Data, storagefake.Fault{Hold: hold})
	ctx := testContext(t)
	first, err := p.Publish(ctx, 0, record("first"))
	if err != nil {
		t.Fatal(err)
	}
	await(t, held, "the append")
	var rest []Future
	for i := range 1000 {
		f, err := p.Publish(ctx, 0, record(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, f)
	}
	if rest[0].batch != rest[999].batch || first.batch == rest[0].batch {
		t.Error("the records that came meanwhile are not in one batch")
	}
	close(hold)
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for i, f := range rest {
		select {
		case <-f.Done():
		default:
			t.Fatalf("Flush returned before record %d was settled", i)
		}
		if at, err := f.Wait(ctx); err != nil || at.Offset != uint64(i+1) {
			t.Fatalf("record %d is at %+v, %v", i, at, err)
		}
	}
}

// TestPublishUnderFaults: whatever is lost on the way, each record is stored once
// and in order, and where the publisher says.
func TestPublishUnderFaults(t *testing.T) {
	kinds := []storagefake.Fault{{}, {}, {}, {LoseReply: true}, {LoseRequest: true}, {Err: storage.ErrFull}}
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		store := storagefake.New()
		var mu sync.Mutex
		left := 15
		store.OnAppend(func(a storagefake.Append) (f storagefake.Fault) {
			mu.Lock()
			defer mu.Unlock()
			if left > 0 && a.Kind == storage.Data && strings.HasPrefix(a.Log, "topic_orders") {
				left--
				f = kinds[random.IntN(len(kinds))]
			}
			return f
		})
		s := NewSystem(store)
		topic := declare(t, s, "orders", TopicConfig{Partitions: 2})
		ctx := testContext(t)
		p, err := topic.NewPublisher(ctx, PublisherOptions{BatchBytes: 40, RetryBackoff: time.Microsecond})
		if err != nil {
			t.Fatal(err)
		}
		var futures []Future
		for i := range 60 {
			f, err := p.Publish(ctx, i%2, record(fmt.Sprint("r", i)))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
			if i%10 == 0 {
				if _, err := f.Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		for partition := range 2 {
			var want []string
			for i := partition; i < len(futures); i += 2 {
				at, err := futures[i].Wait(ctx)
				if offset := uint64(i / 2); err != nil || at != (Published{partition, offset}) {
					t.Fatalf("seed %d: record %d is at %+v, %v", seed, i, at, err)
				}
				want = append(want, fmt.Sprintf("%d:r%d", i/2, i))
			}
			if got := readAll(t, openReader(t, topic, partition, FromBeginning())); !slices.Equal(got, want) {
				t.Fatalf("seed %d: got %v, want %v", seed, got, want)
			}
		}
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// A record that was tried for long enough is given up, and those that follow are
// not taken for it.
func TestPublishGivesUpAfterItsTime(t *testing.T) {
	for _, fault := range []storagefake.Fault{{Err: storage.ErrFull}, {LoseReply: true}} {
		store, plan := storagefake.New(), &script{}
		store.OnAppend(plan.onAppend)
		s := NewSystem(store)
		topic := declare(t, s, "orders", TopicConfig{})
		ctx := testContext(t)
		p, err := topic.NewPublisher(ctx, PublisherOptions{DeliveryTimeout: time.Nanosecond, RetryBackoff: time.Microsecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.PublishSync(ctx, 0, record("a")); err != nil {
			t.Fatal(err)
		}
		plan.expect(storage.Data, fault)
		_, err = p.PublishSync(ctx, 0, record("b"))
		switch {
		case fault.LoseReply && err == nil: // the partition found out by itself
		case fault.LoseReply && !errors.Is(err, ErrUnknown), fault.Err != nil && !errors.Is(err, ErrFull):
			t.Errorf("given up: %v", err)
		}
		if _, err := p.PublishSync(ctx, 0, record("c")); err != nil {
			t.Fatal(err)
		}
		want := []string{"0:a", "1:c"}
		if fault.LoseReply {
			want = []string{"0:a", "1:b", "2:c"}
		}
		expect(t, "the log", readAll(t, openReader(t, topic, 0, FromBeginning())), want...)
		if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPublishWaitsForRoomOrFailsAtOnce(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	ctx := testContext(t)
	text := strings.Repeat("x", 100)
	for _, failFast := range []bool{true, false} {
		p := newPublisher(t, topic, PublisherOptions{BufferBytes: 300, FailFast: failFast})
		hold := make(chan struct{})
		held := plan.expect(storage.Data, storagefake.Fault{Hold: hold})
		for range 2 {
			if _, err := p.Publish(ctx, 0, record(text)); err != nil {
				t.Fatal(err)
			}
		}
		await(t, held, "the append")
		brief, cancel := context.WithCancel(ctx)
		if failFast {
			if _, err := p.Publish(brief, 0, record(text)); !errors.Is(err, ErrBackpressure) {
				t.Errorf("a publisher that does not wait: %v", err)
			}
		} else {
			cancel()
			if _, err := p.Publish(brief, 0, record(text)); !errors.Is(err, context.Canceled) {
				t.Errorf("a publisher whose context ended: %v", err)
			}
		}
		cancel()
		close(hold)
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := p.PublishSync(ctx, 0, record(text)); err != nil {
			t.Error(err)
		}
	}
}

// Whoever publishes under a name goes on where the one before ended, and shuts
// it out, even if that one has appended since.
func TestPublisherTakesOver(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	topic := declare(t, s, "orders", TopicConfig{})
	ctx := testContext(t)
	old := newPublisher(t, topic, PublisherOptions{ID: "importer"})
	for _, text := range []string{"a", "b"} {
		if _, err := old.PublishSync(ctx, 0, record(text)); err != nil {
			t.Fatal(err)
		}
	}
	heir := newPublisher(t, topic, PublisherOptions{ID: "importer", RetryBackoff: time.Microsecond})
	if _, err := old.PublishSync(ctx, 0, record("c")); err != nil {
		t.Fatal(err)
	}
	if at, err := heir.PublishSync(ctx, 0, record("d")); err != nil || at.Offset != 3 {
		t.Fatalf("the heir's first record is at %+v, %v", at, err)
	}
	if _, err := old.PublishSync(ctx, 0, record("e")); !errors.Is(err, ErrProducerFenced) {
		t.Errorf("the one before: %v", err)
	}
	expect(t, "the log", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a", "1:b", "2:c", "3:d")
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	s = logSystem(t, store.Restart())
	topic = declare(t, s, "orders", TopicConfig{})
	again := newPublisher(t, topic, PublisherOptions{ID: "importer"})
	if at, err := again.PublishSync(ctx, 0, record("f")); err != nil || at.Offset != 4 {
		t.Errorf("after a restart: %+v, %v", at, err)
	}
}

// Close gives up what it cannot wait for, and nobody is left waiting.
func TestPublisherCloseLeavesNobodyWaiting(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newPublisher(t, topic, PublisherOptions{BatchBytes: 10})
	hold := make(chan struct{})
	held := plan.expect(storage.Data, storagefake.Fault{Hold: hold})
	defer close(hold)
	ctx, cancel := context.WithCancel(testContext(t))
	var futures []Future
	for i := range 20 {
		f, err := p.Publish(ctx, 0, record(fmt.Sprint("record ", i)))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	await(t, held, "the append")
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	unknown, closed := 0, 0
	for _, f := range futures {
		switch _, err := f.Wait(testContext(t)); {
		case errors.Is(err, ErrUnknown):
			unknown++
		case errors.Is(err, ErrClosed):
			closed++
		default:
			t.Errorf("got %v", err)
		}
	}
	if unknown == 0 || closed == 0 {
		t.Errorf("%d may be stored, %d are not", unknown, closed)
	}
}

func BenchmarkPublish(b *testing.B) {
	s := logSystem(b, storagefake.New())
	topic := declare(b, s, "orders", TopicConfig{})
	p := newPublisher(b, topic, PublisherOptions{})
	r, ctx := &Record{Value: make([]byte, 100), Time: NoTime}, testContext(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Publish(ctx, 0, r); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		b.Fatal(err)
	}
}

// Two that take a name over at the same time do not have the same identity: one of
// them is shut out, and no record of either is taken for one of the other's.
func TestTwoPublishersOfOneName(t *testing.T) {
	for round := range 20 {
		s := logSystem(t, storagefake.New())
		topic := declare(t, s, "orders", TopicConfig{})
		ctx := testContext(t)
		if round%2 == 1 {
			if _, err := newPublisher(t, topic, PublisherOptions{ID: "importer"}).PublishSync(ctx, 0, record("before")); err != nil {
				t.Fatal(err)
			}
		}
		a, b := newPublisher(t, topic, PublisherOptions{ID: "importer"}), newPublisher(t, topic, PublisherOptions{ID: "importer"})
		said, fenced := map[string]uint64{}, 0
		for i, p := range []*Publisher{a, b, a, b} {
			text := fmt.Sprint("r", i)
			at, err := p.PublishSync(ctx, 0, record(text))
			if errors.Is(err, ErrProducerFenced) {
				fenced++
			} else if err != nil {
				t.Fatal(err)
			} else {
				said[fmt.Sprintf("%d:%s", at.Offset, text)] = at.Offset
			}
		}
		if fenced == 0 || fenced == 4 {
			t.Errorf("%d of 4 records were refused", fenced)
		}
		got := readAll(t, openReader(t, topic, 0, FromBeginning()))
		for text := range said {
			if !slices.Contains(got, text) {
				t.Fatalf("round %d: %s was acknowledged, and the log holds %v", round, text, got)
			}
		}
	}
}

// A partition that does not say what it has is asked again, and records that wait
// for that are given up in their time.
func TestPublisherAsksAgain(t *testing.T) {
	for wait := range 6 {
		inVirtualTime(t, func(t *testing.T) {
			ctx, store := context.Background(), storagefake.New()
			s := NewSystem(store)
			topic := declare(t, s, "orders", TopicConfig{})
			p, err := topic.NewPublisher(ctx, PublisherOptions{DeliveryTimeout: 400 * time.Millisecond, RetryBackoffMax: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.PublishSync(ctx, 0, record("a")); err != nil {
				t.Fatal(err)
			}
			store.SetFull(true)
			b, err := p.Publish(ctx, 0, record("b"))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(60+wait*40) * time.Millisecond)
			c, err := p.Publish(ctx, 0, record("c"))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(330-wait*40) * time.Millisecond)
			// It is busy for longer than it is given to answer.
			busy := codec.Section{Producer: "z", First: 7, Count: 1, Records: []byte{1}}
			s.Send(topic.partitions[0].pid.Load(), &order{section: busy, done: func(Ack, error) { time.Sleep(askPatience + time.Second) }})
			time.Sleep(3 * time.Second)
			store.SetFull(false)
			for name, f := range map[string]Future{"b": b, "c": c} {
				select {
				case <-f.Done():
				case <-time.After(time.Minute):
					t.Fatalf("%s waits for ever", name)
				}
			}
			at, err := p.PublishSync(ctx, 0, record("d"))
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, openReader(t, topic, 0, FromOffset(at.Offset))); len(got) != 1 || !strings.HasSuffix(got[0], ":d") {
				t.Errorf("at %d there is %v", at.Offset, got)
			}
			if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
				t.Fatal(err)
			}
		})
	}
}
