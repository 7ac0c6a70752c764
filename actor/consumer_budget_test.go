package actor

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// When everything fails, retries are as many as the budget allows, and each key keeps
// its order; when things are well again, all is done.
func TestRetryBudget(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		const keys, seconds = 100, 100
		var texts, bad []string
		for i := range keys {
			texts = append(texts, fmt.Sprintf("%d:a", i), fmt.Sprintf("%d:b", i))
			bad = append(bad, fmt.Sprintf("%d:a", i))
		}
		n := newSick(bad...)
		c := startConsumer(t, s, ConsumerOptions{Concurrency: keys, RetryBudget: RetryBudget{Share: 0.5, Floor: 2},
			OnFailure: RetryInPlace(Backoff{Attempts: Forever, Base: time.Millisecond, Cap: time.Millisecond}, Skip())}, n.handle)
		publishKeyed(t, s, texts...)
		time.Sleep(seconds * time.Second)
		synctest.Wait()
		// One second of the floor at first, half of the first deliveries, and the floor.
		if got, want := len(n.seen)-keys, 2+keys/2+2*seconds; got < want-2 || got > want+2 {
			t.Errorf("there were %d retries, the budget allows %d", got, want)
		}
		if got := c.Stats().RetriesWaiting; got < keys-10 {
			t.Errorf("%d retries wait", got)
		}
		n.set(false, bad...)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		done := map[string]bool{}
		for _, d := range n.seen {
			if key := string(d.Key); string(d.Value) == key+":b" && !done[key] {
				t.Errorf("%s before its predecessor", d.Value)
			} else if !n.bad[string(d.Value)] {
				done[key] = true
			}
		}
		if len(done) != keys || c.Stats().RetriesWaiting != 0 {
			t.Errorf("%d keys were handled, %+v", len(done), c.Stats())
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 2*keys)
	})
}

// What comes out of delay topics is a retry, too.
func TestRetryBudgetOfDelays(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		var texts []string
		for i := range 50 {
			texts = append(texts, fmt.Sprintf("%d:a", i))
		}
		publishKeyed(t, s, texts...)
		n := newSick(texts...)
		c := startConsumer(t, s, ConsumerOptions{RetryBudget: RetryBudget{Share: 0.01, Floor: 0.1},
			OnFailure: RetryLater([]time.Duration{time.Minute}, Skip())}, n.handle)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if got := len(n.seen) - 50; got < 5 || got > 9 { // 1 at first, 6 of the floor, half a one of the traffic
			t.Errorf("there were %d retries", got)
		}
		closeConsumerOK(t, c)
	})
}

func TestRetryBudgetIsChecked(t *testing.T) {
	for _, b := range []RetryBudget{{Share: -1}, {Floor: -1}} {
		o := ConsumerOptions{Group: "mailers", Topics: []string{"orders"}, RetryBudget: b}
		o.withDefaults()
		if o.check(func(context.Context, *Delivery) error { return nil }) == nil {
			t.Errorf("%+v is accepted", b)
		}
	}
}
