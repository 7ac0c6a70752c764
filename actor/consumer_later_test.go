package actor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// when notes when its handler was called, since the test began.
func (n *diary) when(began time.Time, h Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		again := *d
		again.Value = fmt.Appendf(nil, "%s@%v", d.Value, time.Since(began).Round(time.Second))
		_ = n.handle(ctx, &again)
		return h(ctx, d)
	}
}

func TestRetryLater(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2")
		bad, n := newSick("k:1"), diary{}
		o := ConsumerOptions{OnFailure: RetryLater([]time.Duration{10 * time.Second, time.Minute}, DeadLetter("lost-letters"))}
		c := startConsumer(t, s, o, n.when(time.Now(), bad.handle))
		time.Sleep(time.Hour)
		n.expect(t, "k:1@0s k:2@0s k:1@10s k:1@1m10s")
		if got := n.causes(); got != "0 first 1, 1 first 1, 0 nack 2, 0 nack 3" {
			t.Errorf("it was told %s", got)
		}
		d := bad.seen[3]
		if d.Topic != "orders" || d.Via != "retry-mailers-1m" || d.LastError != "out of stamps" || len(d.Headers) != 0 || d.AppendTime != bad.seen[0].AppendTime || string(d.Key) != "k" {
			t.Errorf("it comes out of the last delay as %+v", d)
		}
		closeConsumerOK(t, c)
		l := allOf(t, s, "lost-letters")
		if len(l) != 1 || header(&l[0], HeaderOrigin) != "topic orders, partition 0, offset 0" || header(&l[0], HeaderAttempts) != "3" || header(&l[0], HeaderRetry) != "" {
			t.Errorf("the letters are %+v", l)
		}
		if n := c.Stats(); n.RetriesLater != 2 || n.DeadLetters != 1 {
			t.Errorf("it counts %+v", n)
		}
	})
}

// In place, then later, then parked: each time with what was before.
func TestPoliciesCompose(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1")
		n := newSick("k:1")
		o := ConsumerOptions{OnFailure: RetryInPlace(Backoff{Attempts: 2}, RetryLater([]time.Duration{time.Minute}, ParkKey()))}
		c := startConsumer(t, s, o, n.handle)
		time.Sleep(time.Hour)
		if got := n.causes(); got != "0 first 1, 0 nack 2, 0 nack 3, 0 nack 4" {
			t.Errorf("it was told %s", got)
		}
		expectParked(t, s, "k: 0 (failed: out of stamps, 4)")
		n.set(false, "k:1")
		g, k := theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if d := n.seen[4]; d.Topic != "orders" || d.Via != "retry-mailers-1m" || d.Attempt != 5 || d.Cause != Released {
			t.Errorf("it comes out of the parking as %+v", d)
		}
		closeConsumerOK(t, c)
	})
}

// What waits is due when it was, whoever is there: not earlier after a restart, and
// also when the policy does not know the delay any more.
func TestDelaysOutliveTheirConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1")
		bad, n, began := newSick("k:1"), diary{}, time.Now()
		c := startConsumer(t, s, ConsumerOptions{OnFailure: RetryLater([]time.Duration{time.Hour}, Skip())}, n.when(began, bad.handle))
		time.Sleep(time.Minute)
		closeConsumerOK(t, c)
		c = startConsumer(t, s, ConsumerOptions{OnFailure: RetryLater([]time.Duration{time.Second}, Skip())}, n.when(began, bad.handle))
		time.Sleep(2 * time.Hour)
		n.expect(t, "k:1@0s k:1@1h0m0s")
		closeConsumerOK(t, c)
		if err := s.DeleteGroup(context.Background(), "mailers"); err != nil {
			t.Fatal(err)
		}
		all, err := s.Topics(context.Background())
		if err != nil || len(all) != 1 {
			t.Errorf("there is left %v, %v", all, err)
		}
	})
}

func TestNamesOfDelays(t *testing.T) {
	for d, name := range map[time.Duration]string{10 * time.Second: "10s", 90 * time.Second: "90s", time.Minute: "1m", 48 * time.Hour: "48h", 1500 * time.Millisecond: "1500ms"} {
		topic := laterTopic("cooks", d)
		if topic != "retry-cooks-"+name {
			t.Errorf("the topic of %v is %s", d, topic)
		}
		if back, ok := delayOf("cooks", topic); !ok || back != d {
			t.Errorf("%s is a delay of %v, %v", topic, back, ok)
		}
	}
	for _, topic := range []string{"orders", "retry-cooks", "retry-cooks-", "retry-cooks-10s-1m", "retry-cooks-60s", "retry-cooks--1s", "retry-waiters-1s"} {
		if d, ok := delayOf("cooks", topic); ok {
			t.Errorf("%s counts as a delay of %v", topic, d)
		}
	}
	s := logSystem(t, storagefake.New())
	declare(t, s, "orders", TopicConfig{})
	for says, o := range map[string]ConsumerOptions{
		"names no delays":    {Group: "mailers", OnFailure: RetryLater(nil, Skip())},
		"whole milliseconds": {Group: "mailers", OnFailure: RetryLater([]time.Duration{time.Microsecond}, Skip())},
		"too long":           {Group: strings.Repeat("m", 60), OnFailure: RetryLater([]time.Duration{time.Second}, Skip())},
	} {
		o.Topics = []string{"orders"}
		if _, err := s.NewConsumer(testContext(t), o, new(diary).handle); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
}

// A header that only looks like one of a delay topic changes nothing.
func FuzzComesFrom(f *testing.F) {
	f.Add([]byte("orders 0 17 1700000000000 3 1 out of stamps"))
	f.Add([]byte("a b c d e f g"))
	f.Add([]byte("orders -1 -1 -1 -1 -1 "))
	f.Fuzz(func(t *testing.T, value []byte) {
		d := &Delivery{Record: Record{Headers: []Header{{Key: "h"}, {Key: HeaderRetry, Value: value}}}, TopicPartition: TopicPartition{"retry-cooks-1s", 0}, Offset: 5, Attempt: 1}
		d.comesFrom()
		if d.Via == "" {
			if len(d.Headers) != 2 || d.Offset != 5 || d.Attempt != 1 {
				t.Errorf("%q is none, and changed it to %+v", value, d)
			}
			return
		}
		again := *d
		again.Attempt--
		if h := again.origin(); len(d.Headers) != 1 || d.Partition < 0 || d.Attempt < 1 || h.Key != HeaderRetry {
			t.Errorf("%q became %+v", value, d)
		}
	})
}
