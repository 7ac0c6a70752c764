package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// TestRetention: what exceeds a limit is dropped from the beginning, and what
// does not stays. The clock is virtual.
func TestRetention(t *testing.T) {
	text := strings.Repeat("x", 200)
	for name, c := range map[string]struct {
		keep Retention
		low  uint64 // after 20 records, a minute apart
	}{
		"age":             {Retention{Age: 5*time.Minute + 30*time.Second}, 15},
		"records":         {Retention{Records: 7}, 13},
		"bytes":           {Retention{Bytes: 3000}, 0}, // checked below: it depends on the store
		"whichever first": {Retention{Age: time.Hour, Records: 4}, 16},
		"forever":         {Retention{Forever: true}, 0},
		"the default":     {Retention{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T) {
				store := storagefake.New()
				s := NewSystem(store)
				topic := declare(t, s, "orders", TopicConfig{Retention: c.keep})
				p := newProducer(t, topic, ProducerOptions{})
				for range 20 {
					mustAppend(t, p, 0, text)
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				info, err := topic.Describe(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				got := info[0]
				if got.Next != 20 || (got.First != c.low && c.keep.Bytes == 0) {
					t.Errorf("it holds %+v, want offsets from %d", got, c.low)
				}
				if most := uint64(c.keep.Bytes); most > 0 && (got.Bytes > most || got.First == 0 || got.First > 12) {
					t.Errorf("it holds %+v, and was told to hold %d bytes", got, most)
				}
				at, err := topic.Trim(context.Background(), 0, got.First)
				if err != nil || at.First != got.First {
					t.Errorf("a trim to where it begins: %+v, %v", at, err)
				}
				r, err := topic.OpenReader(context.Background(), 0, FromBeginning())
				if err != nil {
					t.Fatal(err)
				}
				if batch, err := r.Next(context.Background()); err != nil || batch.Offset() != got.First {
					t.Errorf("reading begins at %+v, %v", batch, err)
				}
				r.Close()
				if err := errors.Join(p.Close(context.Background()), s.Close(context.Background())); err != nil {
					t.Fatal(err)
				}
				// It is dropped for good: the successor begins there.
				s = NewSystem(store.Restart())
				b, err := declare(t, s, "orders", TopicConfig{Retention: c.keep}).Bounds(context.Background(), 0)
				if err != nil || b != got.Bounds {
					t.Errorf("after a restart it holds %+v, %v; it was %+v", b, err, got.Bounds)
				}
				if err := s.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// The newest batch stays, however large it is, and nothing else does.
func TestRetentionOfLargeBatches(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx := context.Background()
		s := NewSystem(storagefake.New())
		topic := declare(t, s, "orders", TopicConfig{Retention: Retention{Bytes: 500_000}})
		p := newProducer(t, topic, ProducerOptions{})
		for range 5 {
			mustAppend(t, p, 0, strings.Repeat("x", 600_000))
		}
		time.Sleep(2 * DefaultRetentionEvery)
		synctest.Wait()
		if b, err := topic.Bounds(ctx, 0); err != nil || b != (Bounds{4, 5}) {
			t.Errorf("it holds %+v, %v", b, err)
		}
		if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	})
}

// A topic that nobody touches loses what is too old all the same, and one that is
// full drops what it may.
func TestRetentionOfAnIdleTopic(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx, store := context.Background(), storagefake.New()
		s := NewSystem(store)
		p := newProducer(t, declare(t, s, "orders", TopicConfig{Retention: Retention{Age: time.Hour}}), ProducerOptions{})
		mustAppend(t, p, 0, "a", "b")
		if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		s = NewSystem(store.Restart())
		topic := declare(t, s, "orders", TopicConfig{Retention: Retention{Age: time.Hour}})
		time.Sleep(3 * DefaultRetentionEvery)
		synctest.Wait()
		if b, err := topic.Bounds(ctx, 0); err != nil || b != (Bounds{2, 2}) {
			t.Errorf("it holds %+v, %v", b, err)
		}
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAlterTopic(t *testing.T) {
	store := storagefake.New()
	s := logSystem(t, store)
	ctx := testContext(t)
	before := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, before, ProducerOptions{})
	mustAppend(t, p, 0, strings.Repeat("a", 1000))
	after, err := s.AlterTopic(ctx, "orders", func(c *TopicConfig) {
		c.Partitions, c.Compression, c.Retention = 3, S2, Retention{Records: 5}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := TopicConfig{Partitions: 3, Compression: S2, Retention: Retention{Records: 5}}
	if got := after.Config(); got != want {
		t.Errorf("it is %+v, want %+v", got, want)
	}
	if got := before.Config(); got.Partitions != 1 || got.Retention != want.Retention {
		t.Errorf("the handle from before says %+v", got)
	}
	mustAppend(t, p, 0, strings.Repeat("b", 1000))
	mustAppend(t, newProducer(t, after, ProducerOptions{}), 2, "c")
	r := openReader(t, after, 0, FromOffset(1))
	if batch, err := r.Next(ctx); err != nil || batch.Info.Compression != S2 {
		t.Errorf("what came after the change: %+v, %v", batch, err)
	}
	for says, f := range map[string]func(*TopicConfig){
		"3 partitions, and can have more but not 2": func(c *TopicConfig) { c.Partitions = 2 },
		"durability fsync for life":                 func(c *TopicConfig) { c.Durability = Memory },
		"cannot be negative":                        func(c *TopicConfig) { c.Retention.Bytes = -1 },
		"leave Forever out":                         func(c *TopicConfig) { c.Retention.Forever = true },
	} {
		if _, err := s.AlterTopic(ctx, "orders", f); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
	if _, err := s.AlterTopic(ctx, "bills", func(*TopicConfig) {}); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a topic that there is not: %v", err)
	}
	_, err = s.Declare(ctx, "orders", TopicConfig{Partitions: 3, Compression: S2})
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "retention 5 records, not 168h0m0s") {
		t.Errorf("declared as it was not: %v", err)
	}
	if err := after.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	info, err := after.Describe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, next := range []uint64{2, 0, 1} {
		if info[i].Bounds != (Bounds{next, next}) {
			t.Errorf("partition %d holds %+v after the purge", i, info[i])
		}
	}
}

// A partition that fails while it drops records tries again.
func TestRetentionTriesAgain(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx, store, plan := context.Background(), storagefake.New(), &script{}
		store.OnAppend(plan.onAppend)
		s := NewSystem(store)
		topic := declare(t, s, "orders", TopicConfig{Retention: Retention{Records: 1}})
		p := newProducer(t, topic, ProducerOptions{})
		for i := range 5 {
			mustAppend(t, p, 0, fmt.Sprint(i))
		}
		plan.expect(storage.State, storagefake.Fault{Err: storage.ErrFull})
		plan.expect(storage.State, storagefake.Fault{LoseReply: true})
		time.Sleep(5 * DefaultRetentionEvery)
		synctest.Wait()
		if b, err := topic.Bounds(ctx, 0); err != nil || b != (Bounds{4, 5}) {
			t.Errorf("it holds %+v, %v", b, err)
		}
		if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	})
}
