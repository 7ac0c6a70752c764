package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/inflight"
)

var orders0 = TopicPartition{"orders", 0}

func TestStartPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		start StartPolicy
		want  string
		err   error
	}{
		"default":        {StartPolicy{}, "2 3 4 new", nil},
		"latest":         {StartFrom(FromEnd()), "new", nil},
		"offset":         {StartFrom(FromOffset(3)), "3 4 new", nil},
		"trimmed offset": {StartFrom(FromOffset(1)), "2 3 4 new", nil},
		"ago":            {StartAgo(90 * time.Second), "4 new", nil},
		"fail":           {StartOrFail(), "", ErrNoOffset},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				topic := declare(t, s, "orders", TopicConfig{})
				for i := range 5 {
					publish(t, s, 0, fmt.Sprint(i))
					time.Sleep(time.Minute)
				}
				if _, err := topic.Trim(context.Background(), 0, 2); err != nil {
					t.Fatal(err)
				}
				var n diary
				o := ConsumerOptions{Start: c.start}
				one := startConsumer(t, s, o, n.handle)
				synctest.Wait()
				s.Stop(one.pid) // a crash, before anything was committed by time
				<-one.Ended()
				n.forget()
				publish(t, s, 0, "new")
				next := startConsumer(t, s, o, n.handle)
				time.Sleep(DefaultSessionTimeout)
				synctest.Wait()
				n.expect(t, c.want) // also "new", which came while nobody was there
				if err := next.Close(context.Background()); !errors.Is(err, c.err) {
					t.Errorf("it ended with %v, want %v", err, c.err)
				}
			})
		})
	}
}

// A policy is not for those who have an offset, unless that is gone: then loudly.
func TestStartPolicyAfterACommit(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		topic := declare(t, s, "orders", TopicConfig{})
		var n diary
		var missed string
		o := ConsumerOptions{Start: StartFrom(FromEnd()), Listener: Listener{
			Missed: func(p TopicPartition, wanted, at uint64) { missed = fmt.Sprint(p, wanted, at) },
		}}
		c := startConsumer(t, s, o, n.handle)
		synctest.Wait()
		publish(t, s, 0, "a")
		synctest.Wait()
		closeConsumerOK(t, c)
		publish(t, s, 0, "b")
		c = startConsumer(t, s, o, n.handle)
		synctest.Wait()
		n.expect(t, "a b")
		closeConsumerOK(t, c)
		if missed != "" {
			t.Errorf("it missed %s", missed)
		}
		publish(t, s, 0, "c")
		publish(t, s, 0, "d")
		if _, err := topic.Trim(context.Background(), 0, 3); err != nil {
			t.Fatal(err)
		}
		o.Start = StartPolicy{}
		c = startConsumer(t, s, o, n.handle)
		synctest.Wait()
		n.expect(t, "a b d")
		if missed != "{orders 0} 2 3" {
			t.Errorf("it missed %q", missed)
		}
		closeConsumerOK(t, c)
	})
}

// Retention that overtakes a reader is no gap in what is committed.
func TestRetentionOvertakesAConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		topic := declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		for i := range 9 {
			publish(t, s, 0, strings.Repeat(fmt.Sprint(i), 10))
		}
		var n diary
		hold := make(chan struct{})
		var missed []uint64
		c := startConsumer(t, s, ConsumerOptions{
			Limits: inflight.Limits{Span: 1},
			Listener: Listener{Missed: func(_ TopicPartition, wanted, at uint64) {
				missed = append(missed, wanted, at)
			}},
		}, func(ctx context.Context, d *Delivery) error {
			if d.Offset == 0 {
				<-hold
			}
			return n.handle(ctx, d)
		})
		synctest.Wait()
		if _, err := topic.Trim(context.Background(), 0, 9); err != nil {
			t.Fatal(err)
		}
		if err := c.Seek(context.Background(), orders0, FromOffset(5)); err != nil {
			t.Fatal(err)
		}
		close(hold)
		synctest.Wait()
		if last := n.seen[len(n.seen)-1]; last.Offset != 9 {
			t.Errorf("it came to offset %d", last.Offset)
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 10)
	})
}

func TestPauseAndResume(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		var n diary
		var told chronicle
		c := startConsumer(t, s, ConsumerOptions{Listener: told.listener()}, n.handle)
		synctest.Wait()
		if err := c.Pause(ctx, orders0); err != nil {
			t.Fatal(err)
		}
		publish(t, s, 0, "a")
		publish(t, s, 1, "b")
		time.Sleep(10 * time.Minute)
		n.expect(t, "b")
		if err := c.Resume(ctx, orders0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.expect(t, "b a")
		if err := c.Pause(ctx, TopicPartition{"orders", 7}); !errors.Is(err, ErrNotAssigned) {
			t.Errorf("pausing what it does not have: %v", err)
		}
		told.expect(t, "assigned 0,1")
		closeConsumerOK(t, c)
	})
}

func TestSeek(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c", "d")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		if err := c.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		n.forget()
		if err := c.Seek(ctx, orders0, FromOffset(2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := n.causes(); got != "2 replay 1, 3 replay 1" {
			t.Errorf("it was told %s", got)
		}
		if err := c.Commit(ctx); err != nil {
			t.Errorf("a commit behind what is committed: %v", err)
		}
		committedAt(t, s, 4)
		if err := c.Seek(ctx, orders0, FromEnd()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.forget()
		publish(t, s, 0, "e")
		synctest.Wait()
		n.expect(t, "e")
		if err := c.Seek(ctx, TopicPartition{"orders", 7}, FromEnd()); !errors.Is(err, ErrNotAssigned) {
			t.Errorf("seeking in what it does not have: %v", err)
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 5)
	})
}

// Offsets that are kept elsewhere: seek when a partition is assigned.
func TestSeekWhenAssigned(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c", "d")
		var n diary
		var c *Consumer
		ready := make(chan struct{})
		c = startConsumer(t, s, ConsumerOptions{ManualCommit: true, Listener: Listener{Assigned: func(ctx context.Context, p []TopicPartition) {
			<-ready
			if err := c.Seek(ctx, p[0], FromOffset(3)); err != nil {
				t.Error(err)
			}
		}}}, n.handle)
		close(ready)
		synctest.Wait()
		n.expect(t, "d")
		closeConsumerOK(t, c)
	})
}

// K workers per partition: order is kept per key, and the speed-up is what the keys
// allow. The degree changes while it runs.
func TestConcurrencyPerKey(t *testing.T) {
	const keys, rounds, work = 100, 5, 10 * time.Millisecond
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		topic := declare(t, s, "orders", TopicConfig{})
		p := newProducer(t, topic, ProducerOptions{})
		fill := func() {
			for i := range rounds {
				var all []Record
				for k := range keys {
					all = append(all, Record{Key: fmt.Append(nil, k), Value: fmt.Append(nil, i), Time: NoTime})
				}
				if _, err := p.Append(ctx, 0, all); err != nil {
					t.Fatal(err)
				}
			}
		}
		var mu sync.Mutex
		next, count := map[string]int{}, 0
		at := map[string]bool{}
		done := make(chan struct{}, 1)
		c := startConsumer(t, s, ConsumerOptions{Concurrency: keys}, func(_ context.Context, d *Delivery) error {
			key := string(d.Key)
			mu.Lock()
			if want := fmt.Sprint(next[key] % rounds); want != string(d.Value) || at[key] {
				t.Errorf("key %s: got %s, want %s (another at work: %v)", key, d.Value, want, at[key])
			}
			at[key] = true
			next[key]++
			mu.Unlock()
			time.Sleep(work)
			mu.Lock()
			defer mu.Unlock()
			at[key] = false
			if count++; count%(keys*rounds) == 0 {
				done <- struct{}{}
			}
			return nil
		})
		run := func(k int) time.Duration {
			if err := c.SetConcurrency(ctx, k); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			fill()
			<-done
			return time.Since(began)
		}
		parallel, serial, four := run(keys), run(1), run(4)
		if parallel*50 > serial || four*3 > serial || serial != keys*rounds*work {
			t.Errorf("serial %v, with 4 workers %v, with %d %v", serial, four, keys, parallel)
		}
		if err := c.SetConcurrency(ctx, 0); err == nil {
			t.Error("no workers at all")
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 3*keys*rounds)
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// What is committed never passes a record that is at work.
func TestCommitsStayBeforeWhatIsAtWork(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "slow", "c", "d")
		let := make(chan struct{})
		var n diary
		c := startConsumer(t, s, ConsumerOptions{Concurrency: 10}, func(ctx context.Context, d *Delivery) error {
			if string(d.Value) == "slow" {
				<-let
			}
			return n.handle(ctx, d)
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(n.seen) != 3 {
			t.Errorf("it handled %s", n.texts())
		}
		committedAt(t, s, 1)
		close(let)
		time.Sleep(DefaultCommitInterval)
		synctest.Wait()
		committedAt(t, s, 4)
		closeConsumerOK(t, c)
	})
}

// limited lets a lane hold little: it goes on as it is emptied.
func TestLimitsOfALane(t *testing.T) {
	for name, limits := range map[string]inflight.Limits{
		"span": {Span: 3}, "bytes": {Bytes: 1}, "in flight": {InFlight: 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				declare(t, s, "orders", TopicConfig{})
				var all []string
				for i := range 100 {
					all = append(all, fmt.Sprint(i))
				}
				publish(t, s, 0, all...)
				var mu sync.Mutex
				most, now := 0, 0
				c := startConsumer(t, s, ConsumerOptions{Concurrency: 50, Limits: limits}, func(context.Context, *Delivery) error {
					mu.Lock()
					now++
					most = max(most, now)
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					defer mu.Unlock()
					now--
					return nil
				})
				time.Sleep(100 * time.Second)
				closeConsumerOK(t, c)
				committedAt(t, s, 100)
				want := map[string]int{"span": 3, "bytes": 1, "in flight": 2}[name]
				if most != want {
					t.Errorf("%d were at work, want %d", most, want)
				}
			})
		})
	}
}

// retries is a policy that tries again, then gives the record up.
type retries struct {
	most  int
	after time.Duration
}

func (r retries) Failed(_ context.Context, d *Delivery, err error) Verdict {
	switch {
	case strings.Contains(err.Error(), "panic"):
		panic("so do I")
	case d.Attempt < r.most:
		return RetryAfter(r.after)
	}
	return Settled()
}

// A policy decides what becomes of a record that fails; meanwhile its own key
// waits, and with one worker all do.
func TestFailurePolicy(t *testing.T) {
	for concurrency, want := range map[int]string{
		1: "0 first 1, 0 nack 2, 0 timeout 3, 1 first 1, 2 first 1",
		2: "0 first 1, 2 first 1, 0 nack 2, 0 timeout 3, 1 first 1",
	} {
		bubble(t, func(t *testing.T, s *System) {
			declare(t, s, "orders", TopicConfig{})
			p := newProducer(t, declare(t, s, "orders", TopicConfig{}), ProducerOptions{})
			all := []Record{{Key: []byte("a"), Value: []byte("bad")}, {Key: []byte("a")}, {Key: []byte("b")}}
			if _, err := p.Append(context.Background(), 0, all); err != nil {
				t.Fatal(err)
			}
			var n diary
			c := startConsumer(t, s, ConsumerOptions{Concurrency: concurrency, OnFailure: retries{3, time.Minute}}, func(ctx context.Context, d *Delivery) error {
				if err := n.handle(ctx, d); err != nil || string(d.Value) != "bad" {
					return err
				}
				if d.Attempt == 2 {
					return context.DeadlineExceeded
				}
				return errors.New("bad")
			})
			time.Sleep(time.Hour)
			if got := n.causes(); got != want {
				t.Errorf("with %d workers it was told %s, want %s", concurrency, got, want)
			}
			if err := p.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			closeConsumerOK(t, c)
			committedAt(t, s, 3)
		})
	}
}

// Closing does not wait for the pause before another attempt.
func TestCloseDuringARetry(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		c := startConsumer(t, s, ConsumerOptions{OnFailure: retries{3, time.Hour}}, func(context.Context, *Delivery) error { return errors.New("bad") })
		synctest.Wait()
		began := time.Now()
		closeConsumerOK(t, c)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		committedAt(t, s, 0)
	})
}

func TestAPolicyThatPanicsStopsThePartition(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		c := startConsumer(t, s, ConsumerOptions{OnFailure: retries{}}, func(context.Context, *Delivery) error { return errors.New("panic") })
		synctest.Wait()
		if err := c.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "so do I") {
			t.Errorf("it ended with %v", err)
		}
	})
}

// A listener that panics is reported, and costs nothing else.
func TestAListenerThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{Listener: Listener{Assigned: func(context.Context, []TopicPartition) { panic("oh") }}}, n.handle)
		synctest.Wait()
		n.expect(t, "a")
		if err := c.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "oh") {
			t.Errorf("it ended with %v", err)
		}
		committedAt(t, s, 1)
	})
}

// Close within a context that ends does not wait for handlers.
func TestCloseWithinAContext(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b")
		c := startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
			if d.Offset == 1 {
				<-ctx.Done()
			}
			return nil
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		committedAt(t, s, 1)
		d, err := testGroup(t, s).Describe(context.Background())
		if err != nil || d.State != group.Empty {
			t.Errorf("afterwards the group is %v, %v", d.State, err)
		}
		<-c.Ended()
	})
}

// A partition that has stopped is told by Err until it goes on, and by Close.
func TestErrForgetsWhatGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx, broken := context.Background(), errors.New("broken")
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		publish(t, s, 0, "a")
		publish(t, s, 1, "b")
		var mended atomic.Bool
		c := startConsumer(t, s, ConsumerOptions{OnFailure: StopOnFailure{}}, func(_ context.Context, d *Delivery) error {
			if mended.Load() && d.Partition == 0 {
				return nil
			}
			return broken
		})
		synctest.Wait()
		if text := fmt.Sprint(c.Err()); strings.Count(text, "broken") != 2 {
			t.Errorf("both partitions have stopped: %s", text)
		}
		mended.Store(true)
		if err := c.Seek(ctx, orders0, FromBeginning()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for what, err := range map[string]error{"Err": c.Err(), "Close": c.Close(ctx)} {
			if text := fmt.Sprint(err); !errors.Is(err, broken) || !strings.Contains(text, "partition 1") || strings.Contains(text, "partition 0") {
				t.Errorf("%s after partition 0 has gone on: %s", what, text)
			}
		}
	})
}
