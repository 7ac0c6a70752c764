package actor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/inflight"
)

// told is what a replay came to: "read 3, gone 1, ...", without what is 0.
func (c ReplayCounts) told() string {
	var all []string
	for _, one := range []struct {
		n    uint64
		what string
	}{{c.Read, "read"}, {c.Gone, "gone"}, {c.Parked, "parked"}, {c.Delivered, "delivered"}, {c.Handled, "handled"}, {c.Failed, "failed"}} {
		if one.n > 0 {
			all = append(all, fmt.Sprintf("%s %d", one.what, one.n))
		}
	}
	return strings.Join(all, ", ")
}

// spans are the ranges, and how far it came in each: "orders/0 2>10 at 10".
func (r Replayed) spans() string {
	var all []string
	for _, p := range r.Partitions {
		all = append(all, fmt.Sprintf("%s/%d %d>%d at %d", p.Topic, p.Partition, p.From, p.To, p.Next))
	}
	return strings.Join(all, ", ")
}

// A range is of offsets, of times or of a duration; it ends where the group stands,
// unless it is told otherwise, and only what matches is delivered.
func TestReplay(t *testing.T) {
	minute := func(n float64) time.Time {
		return time.Date(2000, 1, 1, 0, 0, int(60*n), 0, time.UTC)
	}
	for name, c := range map[string]struct {
		r      ReplayRange
		spans  string // of partition 0
		counts string
		causes string
	}{
		"all": {ReplayRange{}, "2>8 at 8", "read 6, delivered 6, handled 6",
			"2 replay 1, 3 replay 1, 4 replay 1, 5 replay 1, 6 replay 1, 7 replay 1"},
		"offsets": {ReplayRange{From: FromOffset(3), To: FromOffset(5)}, "3>5 at 5", "read 2, delivered 2, handled 2", "3 replay 1, 4 replay 1"},
		"times":   {ReplayRange{From: FromTime(minute(2.5)), To: FromTime(minute(4.5))}, "3>5 at 5", "read 2, delivered 2, handled 2", "3 replay 1, 4 replay 1"},
		"ago":     {ReplayRange{Ago: 330 * time.Second}, "5>8 at 8", "read 3, delivered 3, handled 3", "5 replay 1, 6 replay 1, 7 replay 1"},
		"trimmed": {ReplayRange{From: FromOffset(0), To: FromOffset(3)}, "0>3 at 3", "read 1, gone 2, delivered 1, handled 1", "2 replay 1"},
		"beyond where the group stands": {ReplayRange{From: FromOffset(7), To: FromEnd()}, "7>10 at 10", "read 3, delivered 3, handled 3",
			"7 replay 1, 8 replay 1, 9 replay 1"},
		"beyond the end":  {ReplayRange{From: FromOffset(90), To: FromOffset(99)}, "10>10 at 10", "", ""},
		"nothing":         {ReplayRange{From: FromOffset(9)}, "9>9 at 9", "", ""},
		"keys":            {ReplayRange{Match: MatchKeys([]byte("k1"), []byte("k2"))}, "2>8 at 8", "read 6, delivered 4, handled 4", "2 replay 1, 4 replay 1, 5 replay 1, 7 replay 1"},
		"no such key":     {ReplayRange{Match: MatchKeys(nil, []byte(""))}, "2>8 at 8", "read 6", ""},
		"a header":        {ReplayRange{Match: MatchHeader("n", []byte("4"))}, "2>8 at 8", "read 6, delivered 1, handled 1", "4 replay 1"},
		"a function":      {ReplayRange{Match: func(r *Record) bool { return string(r.Value) > "6" }}, "2>8 at 8", "read 6, delivered 1, handled 1", "7 replay 1"},
		"a topic by name": {ReplayRange{Topics: []string{"orders"}, Partitions: []TopicPartition{orders0}, From: FromOffset(7)}, "7>8 at 8", "read 1, delivered 1, handled 1", "7 replay 1"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				ctx := context.Background()
				topic := declare(t, s, "orders", TopicConfig{})
				p := newProducer(t, topic, ProducerOptions{})
				for i := range 10 {
					r := Record{Key: fmt.Append(nil, "k", i%3), Value: fmt.Append(nil, i), Time: NoTime, Headers: []Header{{Key: "n", Value: fmt.Append(nil, i)}}}
					if _, err := p.Append(ctx, 0, []Record{r}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
				}
				if _, err := topic.Trim(ctx, 0, 2); err != nil {
					t.Fatal(err)
				}
				var n diary
				release := make(chan struct{})
				consumer := startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
					if d.Offset >= 8 && d.Cause != Replay {
						<-release // the group stands at 8
						return nil
					}
					return n.handle(ctx, d)
				})
				synctest.Wait()
				n.forget()
				got, err := consumer.Replay(ctx, c.r)
				if err != nil || got.told() != c.counts || got.spans() != "orders/0 "+c.spans || len(got.Failures) > 0 {
					t.Errorf("it came to %s, %s, %v", got.told(), got.spans(), err)
				}
				if got := n.causes(); got != c.causes {
					t.Errorf("it was told %s, want %s", got, c.causes)
				}
				if got, want := consumer.Stats().Replayed, int64(got.Handled); got != want {
					t.Errorf("%d count as replayed, want %d", got, want)
				}
				close(release)
				synctest.Wait()
				closeConsumerOK(t, consumer)
				committedAt(t, s, 10)
			})
		})
	}
}

func TestReplayIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		declare(t, s, "refunds", TopicConfig{})
		var n diary
		c := startConsumer(t, s, ConsumerOptions{OnFailure: RetryLater([]time.Duration{time.Second}, Skip())}, n.handle)
		for says, r := range map[string]ReplayRange{
			"which lies ahead":                  {Ago: -1},
			"both From and Ago":                 {Ago: 1, From: FromEnd()},
			"ends at offset 1 and begins at 2":  {From: FromOffset(2), To: FromOffset(1)},
			"To must not be before From":        {From: FromTime(time.Now()), To: FromTime(time.Now().Add(-1))},
			"topic refunds is none":             {Topics: []string{"refunds"}},
			"topic retry-mailers-1s is none":    {Partitions: []TopicPartition{{"retry-mailers-1s", 0}}},
			"topic orders has no partition 1":   {Partitions: []TopicPartition{{"orders", 1}}},
			"topic orders has no partition -1:": {Partitions: []TopicPartition{{"orders", -1}}},
		} {
			if _, err := c.Replay(context.Background(), r); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "group mailers") {
				t.Errorf("%+v: %v, want that it says %q", r, err, says)
			}
		}
		closeConsumerOK(t, c)
		if _, err := c.Replay(context.Background(), ReplayRange{}); !errors.Is(err, ErrStopped) {
			t.Errorf("by a consumer that is closed: %v", err)
		}
	})
}

// One member replays both partitions, its own and another's, while records come. The
// group, the other member and what is delivered live do not notice.
func TestReplayDisturbsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		for p := range 2 {
			publish(t, s, p, "a", "b", "c")
		}
		var live, again, other diary
		c1 := startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
			if d.Cause == Replay {
				publish(t, s, d.Partition, "meanwhile")
				return again.handle(ctx, d)
			}
			return live.handle(ctx, d)
		})
		c2 := startConsumer(t, s, ConsumerOptions{}, other.handle)
		time.Sleep(2 * DefaultCommitInterval)
		before, err := testGroup(t, s).Describe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		live.forget()
		other.forget()
		got, err := c1.Replay(ctx, ReplayRange{})
		if want := "orders/0 0>3 at 3, orders/1 0>3 at 3"; err != nil || got.told() != "read 6, delivered 6, handled 6" || got.spans() != want {
			t.Errorf("it came to %s, %s, %v", got.told(), got.spans(), err)
		}
		synctest.Wait()
		for who, n := range map[string]*diary{"live": &live, "other": &other} {
			if want := "3 first 1, 4 first 1, 5 first 1"; n.causes() != want {
				t.Errorf("%s was told %s, want %s", who, n.causes(), want)
			}
		}
		after, err := testGroup(t, s).Describe(ctx)
		if err != nil || after.Generation != before.Generation || len(after.Members) != 2 {
			t.Errorf("the group was %+v and is %+v, %v", before, after, err)
		}
		for i, p := range after.Partitions {
			if was := before.Partitions[i]; p.Owner != was.Owner || p.Epoch != was.Epoch || p.Next != 3 && p.Next != 6 {
				t.Errorf("partition %d was %+v and is %+v", i, was, p)
			}
		}
		closeConsumerOK(t, c1)
		closeConsumerOK(t, c2)
		committedAt(t, s, 6)
	})
}

// A replay goes on when its partitions move to another member, and when its consumer
// is shut out and joins anew.
func TestReplayOfWhatMovesAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		for p := range 2 {
			publish(t, s, p, "a", "b", "c")
		}
		var again, other diary
		var c2 *Consumer
		moved := make(chan struct{})
		c1 := startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
			if d.Cause != Replay {
				return nil
			}
			if d.TopicPartition == orders0 && d.Offset == 0 {
				c2 = startConsumer(t, s, ConsumerOptions{}, other.handle)
				time.Sleep(time.Minute)
				close(moved)
			}
			<-moved
			return again.handle(ctx, d)
		})
		synctest.Wait()
		got, err := c1.Replay(ctx, ReplayRange{})
		if err != nil || got.told() != "read 6, delivered 6, handled 6" {
			t.Errorf("it came to %s, %v", got.told(), err)
		}
		if p, err := c2.Assigned(ctx); err != nil || len(p) != 1 {
			t.Errorf("the other has %v, %v", p, err)
		}
		if other.causes() != "" {
			t.Errorf("the other was told %s", other.causes())
		}
		closeConsumerOK(t, c1)
		closeConsumerOK(t, c2)
	})
}

// A replay that is cut short says where to go on, and that completes it.
func TestReplayIsCutShort(t *testing.T) {
	for name, c := range map[string]struct {
		cut func(cancel func(), c *Consumer)
		err error
	}{
		"by its context":   {func(cancel func(), _ *Consumer) { cancel() }, context.Canceled},
		"by Close":         {func(_ func(), c *Consumer) { go c.Close(context.Background()) }, ErrStopped},
		"by a crash":       {func(_ func(), c *Consumer) { c.sys.Stop(c.pid) }, ErrStopped},
		"by StopOnFailure": {func(func(), *Consumer) {}, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				declare(t, s, "orders", TopicConfig{})
				publish(t, s, 0, "a", "b", "c", "d", "e")
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var first diary
				var consumer *Consumer
				consumer = startConsumer(t, s, ConsumerOptions{}, func(inside context.Context, d *Delivery) error {
					if d.Cause != Replay {
						return nil
					}
					if d.Offset == 2 {
						c.cut(cancel, consumer)
						if c.err != errBroken {
							<-inside.Done()
						}
						return errBroken
					}
					return first.handle(ctx, d)
				})
				synctest.Wait()
				got, err := consumer.Replay(ctx, ReplayRange{})
				if !errors.Is(err, c.err) || got.told() != "read 5, delivered 3, handled 2" || got.spans() != "orders/0 0>5 at 2" {
					t.Errorf("it came to %s, %s, %v", got.told(), got.spans(), err)
				}
				var at *ReplayError
				if c.err == errBroken && (!errors.As(err, &at) || at.Offset != 2 || consumer.Err() != nil) {
					t.Errorf("it failed with %v, and the partition with %v", err, consumer.Err())
				}
				first.expect(t, "a b")
				_ = consumer.Close(context.Background())

				var rest diary
				next := startConsumer(t, s, ConsumerOptions{Start: StartFrom(FromEnd())}, rest.handle)
				synctest.Wait()
				rest.forget()
				p := got.Partitions[0]
				got, err = next.Replay(context.Background(), ReplayRange{From: FromOffset(p.Next), To: FromOffset(p.To)})
				if err != nil || got.Handled != 3 {
					t.Errorf("then it came to %s, %v", got.told(), err)
				}
				rest.expect(t, "c d e")
				closeConsumerOK(t, next)
			})
		})
	}
}

var errBroken = errors.New("the toaster is broken")

// A handler that does not heed its context is not waited for longer than DrainTimeout,
// and what it comes to then does not count.
func TestReplayDoesNotWaitForEver(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b")
		stubborn := make(chan struct{})
		c := startConsumer(t, s, ConsumerOptions{DrainTimeout: 3 * time.Second}, func(_ context.Context, d *Delivery) error {
			if d.Cause == Replay {
				<-stubborn
			}
			return nil
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		got, err := c.Replay(ctx, ReplayRange{})
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 63*time.Second || got.spans() != "orders/0 0>2 at 0" {
			t.Errorf("after %v it came to %s, %v", took, got.spans(), err)
		}
		close(stubborn)
		synctest.Wait()
		if n := c.Stats().Replayed; n != 0 {
			t.Errorf("%d count as replayed", n)
		}
		closeConsumerOK(t, c)
	})
}

// What a policy says applies to a replay as far as it does not concern the group.
func TestReplayOfWhatFails(t *testing.T) {
	for name, c := range map[string]struct {
		policy FailurePolicy
		counts string
		causes string
		failed string
		stats  ConsumerStats
	}{
		"in place": {RetryInPlace(Backoff{Attempts: 3}, Skip()), "read 3, delivered 3, handled 2, failed 1",
			"0 replay 1, 1 replay 1, 1 replay 2, 1 replay 3, 2 replay 1", "1 at attempt 3", ConsumerStats{Retries: 2, Skipped: 1, Replayed: 3}},
		"dead letter": {DeadLetter("leftovers"), "read 3, delivered 3, handled 2, failed 1",
			"0 replay 1, 1 replay 1, 2 replay 1", "1 at attempt 1", ConsumerStats{DeadLetters: 1, Replayed: 3}},
		"later": {RetryLater([]time.Duration{time.Second}, DeadLetter("leftovers")), "read 3, delivered 3, handled 2, failed 1",
			"0 replay 1, 1 replay 1, 2 replay 1", "1 at attempt 1", ConsumerStats{DeadLetters: 1, Replayed: 3}},
		"parked": {ParkKey(), "read 3, delivered 3, handled 2, failed 1",
			"0 replay 1, 1 replay 1, 2 replay 1", "1 at attempt 1", ConsumerStats{Replayed: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				ctx := context.Background()
				declare(t, s, "orders", TopicConfig{})
				publishKeyed(t, s, "k:a", "k:b", "k:c")
				var n diary
				consumer := startConsumer(t, s, ConsumerOptions{OnFailure: c.policy}, func(ctx context.Context, d *Delivery) error {
					if d.Cause != Replay {
						return nil
					}
					_ = n.handle(ctx, d)
					if d.Offset == 1 {
						return errBroken
					}
					return nil
				})
				synctest.Wait()
				got, err := consumer.Replay(ctx, ReplayRange{})
				if err != nil || got.told() != c.counts || n.causes() != c.causes {
					t.Errorf("it came to %s, %v; it was told %s", got.told(), err, n.causes())
				}
				var failed []string
				for _, f := range got.Failures {
					failed = append(failed, fmt.Sprintf("%d at attempt %d", f.Offset, f.Attempt))
					if !errors.Is(f, errBroken) {
						t.Errorf("it failed because %v", f)
					}
				}
				if strings.Join(failed, ", ") != c.failed || consumer.Stats() != c.stats {
					t.Errorf("failures %q, %+v", failed, consumer.Stats())
				}
				expectParked(t, s, "")
				closeConsumerOK(t, consumer)
			})
		})
	}
}

// What is parked waits for those who release it: a replay does not deliver it.
func TestReplayLeavesOutWhatIsParked(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "bad:a", "good:b", "bad:c", "good:d")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{OnFailure: ParkKey(), Concurrency: 2}, func(ctx context.Context, d *Delivery) error {
			if string(d.Key) == "bad" {
				return errBroken
			}
			return n.handle(ctx, d)
		})
		synctest.Wait()
		n.forget()
		got, err := c.Replay(context.Background(), ReplayRange{})
		if err != nil || got.told() != "read 4, parked 2, delivered 2, handled 2" {
			t.Errorf("it came to %s, %v", got.told(), err)
		}
		n.expect(t, "good:b good:d")
		closeConsumerOK(t, c)
	})
}

func TestReplayWithManualAck(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		c := startConsumer(t, s, ConsumerOptions{ManualAck: true, Concurrency: 3}, func(ctx context.Context, d *Delivery) error {
			if d.Cause == Replay {
				d.Progress()
				time.AfterFunc(time.Hour, func() {
					if !d.Ack() || d.Ack() {
						t.Errorf("offset %d is not acknowledged exactly once", d.Offset)
					}
				})
				return nil
			}
			d.Ack()
			return nil
		})
		synctest.Wait()
		began := time.Now()
		got, err := c.Replay(context.Background(), ReplayRange{})
		if took := time.Since(began); err != nil || got.told() != "read 3, delivered 3, handled 3" || took != time.Hour {
			t.Errorf("after %v it came to %s, %v", took, got.told(), err)
		}
		closeConsumerOK(t, c)
	})
}

func TestReplayWithAMatchThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		got, err := c.Replay(context.Background(), ReplayRange{Match: func(r *Record) bool {
			if string(r.Value) == "b" {
				panic("b?")
			}
			return false
		}})
		if err == nil || !strings.Contains(err.Error(), "offset 1: Match: ") || got.spans() != "orders/0 0>3 at 1" {
			t.Errorf("it came to %s, %v", got.spans(), err)
		}
		closeConsumerOK(t, c)
	})
}

// What was chosen holds nothing of the batch that it was chosen from: of each batch one
// record may match, and the limits count the record.
func TestWhatMatchesHoldsNoBatch(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		topic := declare(t, s, "orders", TopicConfig{})
		r := Record{Key: []byte("key"), Value: []byte("value"), Headers: []Header{{Key: "h", Value: []byte("header")}}, Time: NoTime}
		if _, err := newProducer(t, topic, ProducerOptions{}).Append(context.Background(), 0, []Record{r}); err != nil {
			t.Fatal(err)
		}
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		n.forget()
		var of []*byte
		got, err := c.Replay(context.Background(), ReplayRange{Match: func(r *Record) bool {
			of = append(of, &r.Key[0], &r.Value[0], &r.Headers[0].Value[0])
			return true
		}})
		if err != nil || got.Handled != 1 {
			t.Fatalf("it came to %s, %v", got.told(), err)
		}
		d := n.seen[0]
		if slices.Contains(of, &d.Key[0]) || slices.Contains(of, &d.Value[0]) || slices.Contains(of, &d.Headers[0].Value[0]) {
			t.Error("it refers to its batch")
		}
		if string(d.Key) != "key" || string(d.Value) != "value" || string(d.Headers[0].Value) != "header" {
			t.Errorf("it is %+v", d.Record)
		}
		closeConsumerOK(t, c)
	})
}

// A live delivery that is stuck is reported, however much goes on in a replay.
func TestAReplayHidesNoStuckHandler(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b")
		free := make(chan struct{})
		config := GroupConfig{ProgressTimeout: time.Minute}
		c := startConsumer(t, s, ConsumerOptions{GroupConfig: config}, func(_ context.Context, d *Delivery) error {
			for d.Cause == Replay {
				d.Progress()
				select {
				case <-free:
					return nil
				case <-time.After(time.Second):
				}
			}
			if d.Offset == 1 {
				<-free
			}
			return nil
		})
		synctest.Wait()
		var replay sync.WaitGroup
		replay.Go(func() {
			if got, err := c.Replay(context.Background(), ReplayRange{}); err != nil || got.Handled != 1 {
				t.Errorf("it came to %s, %v", got.told(), err)
			}
		})
		time.Sleep(3 * time.Minute)
		d, err := testGroup(t, s).Describe(context.Background())
		if err != nil || len(d.Members) != 1 || !d.Members[0].Stuck {
			t.Errorf("the group has %+v, %v", d.Members, err)
		}
		close(free)
		replay.Wait()
		closeConsumerOK(t, c)
	})
}

// Retention takes what a replay has yet to read: that is counted, and the replay ends.
func TestReplayAndRetention(t *testing.T) {
	const n, size = 100, 128 << 10 // more than a reader reads ahead
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		topic := declare(t, s, "orders", TopicConfig{})
		p := newProducer(t, topic, ProducerOptions{})
		for range n {
			mustAppend(t, p, 0, strings.Repeat("x", size))
		}
		begun, trimmed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		var most, now int
		var mu sync.Mutex
		held := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			now += by
			most = max(most, now)
		}
		c := startConsumer(t, s, ConsumerOptions{Limits: inflight.Limits{Span: 4}, Concurrency: 4}, func(_ context.Context, d *Delivery) error {
			if d.Cause == Replay {
				held(1)
				defer held(-1)
				once.Do(func() { close(begun) })
				<-trimmed
			}
			return nil
		})
		synctest.Wait()
		go func() {
			<-begun
			synctest.Wait()
			if _, err := topic.Trim(ctx, 0, n-2); err != nil {
				t.Error(err)
			}
			close(trimmed)
		}()
		got, err := c.Replay(ctx, ReplayRange{})
		if err != nil || got.Read+got.Gone != n || got.Gone == 0 || got.Read < 6 || got.Handled != got.Read || got.Partitions[0].Next != n {
			t.Errorf("it came to %s, %s, %v", got.told(), got.spans(), err)
		}
		if most != 4 {
			t.Errorf("%d were at work at a time, want 4", most)
		}
		closeConsumerOK(t, c)
	})
}

// The end of a range is not waited for if its topic is deleted and made anew: that has
// other records.
func TestReplayOfATopicMadeAnew(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		big := strings.Repeat("x", 512<<10)
		topic := declare(t, s, "orders", TopicConfig{})
		p := newProducer(t, topic, ProducerOptions{})
		for range 24 { // more than a reader reads ahead
			mustAppend(t, p, 0, big)
		}
		deleted := false
		c := startConsumer(t, s, ConsumerOptions{Limits: inflight.Limits{Span: 1}}, func(ctx context.Context, d *Delivery) error {
			if d.Cause == Replay && !deleted {
				deleted = true
				if err := s.DeleteTopic(ctx, "orders"); err != nil {
					t.Error(err)
				}
				declare(t, s, "orders", TopicConfig{})
				publish(t, s, 0, "another")
			}
			return nil
		})
		synctest.Wait()
		got, err := c.Replay(ctx, ReplayRange{})
		if err == nil || got.Partitions[0].To != 24 || got.Partitions[0].Next == 24 || got.Gone > 0 {
			t.Errorf("it came to %s, %s, %v", got.told(), got.spans(), err)
		}
		_ = c.Close(ctx)
	})
}

// Whatever the range, the filter and the concurrency, and however often handlers fail:
// each record of the range that matches is handled once in the end, in the order of its
// key, and the counts say so.
func TestReplayAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		total := rapid.IntRange(0, 60).Draw(rt, "records")
		keys := rapid.IntRange(1, 6).Draw(rt, "keys")
		workers := rapid.IntRange(1, 5).Draw(rt, "concurrency")
		span := rapid.IntRange(1, 20).Draw(rt, "span")
		from := rapid.IntRange(0, total).Draw(rt, "from")
		to := rapid.IntRange(max(from, 1), max(total, 1)).Draw(rt, "to") // 0 is the default
		trim := rapid.IntRange(0, total).Draw(rt, "trim")
		modulus := rapid.IntRange(1, 3).Draw(rt, "modulus")
		var fault string
		bubble(t, func(t *testing.T, s *System) {
			fault = replayModel(t, s, seed, total, keys, workers, span, from, min(to, total), trim, modulus)
		})
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

func replayModel(t *testing.T, s *System, seed uint64, total, keys, workers, span, from, to, trim, modulus int) string {
	ctx := context.Background()
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	for i := range total {
		r := Record{Key: fmt.Append(nil, i%keys), Value: fmt.Append(nil, i), Time: NoTime}
		if _, err := p.Append(ctx, 0, []Record{r}); err != nil {
			return err.Error()
		}
	}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	handled := map[string][]uint64{}
	c := startConsumer(t, s, ConsumerOptions{Concurrency: workers, Limits: inflight.Limits{Span: span}, RetryBudget: RetryBudget{Off: true},
		OnFailure: RetryInPlace(Backoff{Attempts: Forever}, StopOnFailure{})}, func(_ context.Context, d *Delivery) error {
		if d.Cause != Replay {
			return nil
		}
		mu.Lock()
		wait, fails := random.IntN(50), random.IntN(4) == 0
		mu.Unlock()
		time.Sleep(time.Duration(wait) * time.Millisecond)
		if fails {
			return errBroken
		}
		mu.Lock()
		defer mu.Unlock()
		handled[string(d.Key)] = append(handled[string(d.Key)], d.Offset)
		return nil
	})
	synctest.Wait()
	bounds, err := topic.Trim(ctx, 0, uint64(trim))
	if err != nil {
		return err.Error()
	}
	matches := func(i int) bool { return i%modulus == 0 }
	want, n := map[string][]uint64{}, ReplayCounts{Gone: uint64(max(0, min(int(bounds.First), to)-from))}
	for i := max(from, int(bounds.First)); i < to; i++ {
		if n.Read++; matches(i) {
			n.Delivered++
			n.Handled++
			want[fmt.Sprint(i%keys)] = append(want[fmt.Sprint(i%keys)], uint64(i))
		}
	}
	r := ReplayRange{From: FromOffset(uint64(from)), To: FromOffset(uint64(to)), Match: func(r *Record) bool {
		var i int
		_, err := fmt.Sscan(string(r.Value), &i)
		return err == nil && matches(i)
	}}
	got, err := c.Replay(ctx, r)
	if err != nil || got.ReplayCounts != n || !maps.EqualFunc(handled, want, slices.Equal[[]uint64]) || got.Partitions[0].Next != uint64(to) {
		return fmt.Sprintf("%+v, %v: it handled %v, want %+v, %v", got, err, handled, n, want)
	}
	closeConsumerOK(t, c)
	return ""
}
