package actor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// bubble runs a test in virtual time, on a system over a store of its own. What
// the test waits for comes about before time passes, so nothing needs a deadline.
func bubble(t *testing.T, f func(t *testing.T, s *System)) {
	inVirtualTime(t, func(t *testing.T) {
		on(t, storagefake.New(), func(s *System) { f(t, s) })
	})
}

// on runs f on a system of its own.
func on(t *testing.T, store storage.Store, f func(s *System)) {
	t.Helper()
	s := NewSystem(store)
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	f(s)
}

func startConsumer(t testing.TB, s *System, o ConsumerOptions, h Handler) *Consumer {
	t.Helper()
	if o.Group == "" {
		o.Group = "mailers"
	}
	if o.Topics == nil {
		o.Topics = []string{"orders"}
	}
	c, err := s.NewConsumer(context.Background(), o, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func closeConsumerOK(t testing.TB, c *Consumer) {
	t.Helper()
	if err := c.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// diary is a handler that notes what it gets.
type diary struct {
	mu   sync.Mutex
	seen []*Delivery
}

func (n *diary) handle(_ context.Context, d *Delivery) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, d)
	return nil
}

func (n *diary) texts() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, d := range n.seen {
		all = append(all, string(d.Value))
	}
	return strings.Join(all, " ")
}

// causes tells why it got them: "0 first 1, ...", by offset, cause and attempt.
func (n *diary) causes() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, d := range n.seen {
		all = append(all, fmt.Sprintf("%d %v %d", d.Offset, d.Cause, d.Attempt))
	}
	return strings.Join(all, ", ")
}

func (n *diary) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = nil
}

func (n *diary) expect(t testing.TB, want string) {
	t.Helper()
	if got := n.texts(); got != want {
		t.Errorf("it handled %q, want %q", got, want)
	}
}

// append publishes texts to partition 0 of orders.
func publish(t testing.TB, s *System, partition int, texts ...string) {
	t.Helper()
	ctx := context.Background()
	topic, err := s.Topic(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	p, err := topic.NewProducer(ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, p, partition, texts...)
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// committedAt is what the group has of partition 0 of orders.
func committedAt(t testing.TB, s *System, want uint64) {
	t.Helper()
	g, err := s.Group("mailers", group.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := g.Describe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if p := d.Partitions[0]; !p.Committed || p.Next != want {
		t.Errorf("committed is %d (%v), want %d", p.Next, p.Committed, want)
	}
}

func TestConsumerHandlesInOrderAndCommits(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		n.expect(t, "a b c")
		committedAt(t, s, 0)
		time.Sleep(DefaultCommitInterval)
		synctest.Wait()
		committedAt(t, s, 3)
		publish(t, s, 0, "d")
		synctest.Wait()
		n.expect(t, "a b c d")
		closeConsumerOK(t, c)
		committedAt(t, s, 4)
		if got := n.causes(); got != "0 first 1, 1 first 1, 2 first 1, 3 first 1" {
			t.Errorf("it was told: %s", got)
		}
		if err := c.Commit(context.Background()); !errors.Is(err, ErrStopped) {
			t.Errorf("a commit after the end: %v", err)
		}
		closeConsumerOK(t, c)
	})
}

func TestDeliveryHasAllOfTheRecord(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		topic := declare(t, s, "orders", TopicConfig{})
		p := newProducer(t, topic, ProducerOptions{})
		now := time.Now()
		in := []Record{
			{Key: []byte("k"), Value: []byte("v"), Time: now.Add(-time.Hour).UnixMilli(), Headers: []Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}}},
			{Value: []byte("w"), Time: NoTime, Headers: []Header{{Key: "i", Value: []byte("3")}}},
			{Key: []byte{}, Time: NoTime},
		}
		if _, err := p.Append(context.Background(), 0, in); err != nil {
			t.Fatal(err)
		}
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		closeConsumerOK(t, c)
		if err := p.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, d := range n.seen {
			if got, want := fmt.Sprintf("%+v", d.Record), fmt.Sprintf("%+v", in[i]); got != want || (d.Key == nil) != (in[i].Key == nil) {
				t.Errorf("record %d is %s, want %s", i, got, want)
			}
			if d.TopicPartition != (TopicPartition{"orders", 0}) || d.Offset != uint64(i) || d.AppendTime != now.UnixMilli() {
				t.Errorf("record %d is at %+v, offset %d, since %d", i, d.TopicPartition, d.Offset, d.AppendTime)
			}
		}
		if at, ok := n.seen[0].EventTime(); !ok || !at.Equal(now.Add(-time.Hour).Truncate(time.Millisecond)) {
			t.Errorf("it is of %v (%v)", at, ok)
		}
		if _, ok := n.seen[1].EventTime(); ok {
			t.Error("it has a time, and was given none")
		}
	})
}

func TestManualCommit(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var n diary
		o := ConsumerOptions{ManualCommit: true}
		c := startConsumer(t, s, o, n.handle)
		time.Sleep(time.Minute)
		synctest.Wait()
		committedAt(t, s, 0) // where it began
		if err := c.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		committedAt(t, s, 3)
		publish(t, s, 0, "d", "e")
		synctest.Wait()
		done := make(chan error, 1)
		c.CommitAsync(func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		committedAt(t, s, 5)
		publish(t, s, 0, "f")
		synctest.Wait()
		closeConsumerOK(t, c)
		committedAt(t, s, 5)
		c.CommitAsync(func(err error) { done <- err })
		if err := <-done; !errors.Is(err, ErrStopped) {
			t.Errorf("a commit after the end: %v", err)
		}
		c = startConsumer(t, s, o, n.handle)
		synctest.Wait()
		n.expect(t, "a b c d e f f")
		closeConsumerOK(t, c)
	})
}

// A record is done when it was acknowledged, whenever and in whatever order that
// happens; the commit stays before the first that was not.
func TestManualAck(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{ManualAck: true}, n.handle)
		synctest.Wait()
		n.expect(t, "a b c")
		if !n.seen[1].Ack() || n.seen[1].Ack() {
			t.Error("it can be acknowledged once")
		}
		if err := c.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		committedAt(t, s, 0)
		n.seen[0].Ack()
		if err := c.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		committedAt(t, s, 2)
		began := time.Now()
		closeConsumerOK(t, c)
		if waited := time.Since(began); waited != DefaultDrainTimeout {
			t.Errorf("it waited %v for the record that nobody acknowledges", waited)
		}
		if n.seen[2].Ack() {
			t.Error("it was acknowledged after the end")
		}
		committedAt(t, s, 2)
		n.forget()
		c = startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		if got := n.causes(); got != "2 rebalance 2" {
			t.Errorf("the next one is told: %s", got)
		}
		closeConsumerOK(t, c)
	})
}

// A failing record stops its partition and no other, and says where and why.
// What has arrived within no time at all is what is yet to come.
func TestStartAgoZero(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "old")
		time.Sleep(time.Millisecond) // of the bubble
		var n diary
		c := startConsumer(t, s, ConsumerOptions{Start: StartAgo(0)}, n.handle)
		synctest.Wait()
		publish(t, s, 0, "new")
		synctest.Wait()
		n.expect(t, "new")
		closeConsumerOK(t, c)
	})
}

// A heartbeat that crosses the farewell is not news: nobody was shut out.
func TestClosingAtOnceIsNoAlarm(t *testing.T) {
	var log strings.Builder
	var mu sync.Mutex
	store := storagefake.New()
	s := NewSystem(store, WithLogger(slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))))
	declare(t, s, "orders", TopicConfig{})
	for range 20 {
		c, err := s.NewConsumer(testContext(t), ConsumerOptions{Group: "mailers", Topics: []string{"orders"}}, func(context.Context, *Delivery) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		closeConsumerOK(t, c)
		if err := c.Commit(testContext(t)); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "consumer of group mailers: it is closed") {
			t.Errorf("to commit then: %v", err)
		}
		if _, err := c.Assigned(testContext(t)); !errors.Is(err, ErrClosed) {
			t.Errorf("what it is assigned then: %v", err)
		}
	}
	if err := errors.Join(s.Close(testContext(t)), store.Close()); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if log.Len() > 0 {
		t.Errorf("it logged %s", &log)
	}
}

// locked is a writer of several.
type locked struct {
	mu *sync.Mutex
	to *strings.Builder
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

func TestAFailureStopsThePartition(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		publish(t, s, 0, "a", "bad", "c")
		publish(t, s, 1, "x", "y")
		wrong := errors.New("out of stamps")
		var n diary
		var stopped []TopicPartition
		c := startConsumer(t, s, ConsumerOptions{Listener: Listener{
			Stopped: func(p TopicPartition, _ error) { stopped = append(stopped, p) },
		}}, func(ctx context.Context, d *Delivery) error {
			if string(d.Value) == "bad" {
				return wrong
			}
			return n.handle(ctx, d)
		})
		synctest.Wait()
		publish(t, s, 1, "z")
		synctest.Wait()
		if len(n.seen) != 4 || strings.Contains(n.texts(), "c") {
			t.Errorf("it handled %s", n.texts())
		}
		if len(stopped) != 1 || stopped[0] != (TopicPartition{"orders", 0}) {
			t.Errorf("%v have stopped", stopped)
		}
		var where *HandlerError
		err := c.Close(context.Background())
		if !errors.Is(err, wrong) || !errors.As(err, &where) || where.Offset != 1 || where.Attempt != 1 {
			t.Errorf("it ended with: %v", err)
		}
		committedAt(t, s, 1)
	})
}

func TestAPanicIsAnErrorWithItsStack(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		c := startConsumer(t, s, ConsumerOptions{}, func(context.Context, *Delivery) error { panic("no stamps") })
		synctest.Wait()
		err := c.Close(context.Background())
		if err == nil || !strings.Contains(err.Error(), "no stamps") || !strings.Contains(dataflow.StackOf(err), "consumer_test.go") {
			t.Errorf("it ended with: %v, stack %q", err, dataflow.StackOf(err))
		}
	})
}

func TestConsumerOptionsAreChecked(t *testing.T) {
	s := logSystem(t, storagefake.New())
	declare(t, s, "orders", TopicConfig{})
	good := ConsumerOptions{Group: "mailers", Topics: []string{"orders"}}
	for says, spoil := range map[string]func(*ConsumerOptions){
		"StartAgo is -1h0m0s": func(o *ConsumerOptions) { o.Start = StartAgo(-time.Hour) },
		"and can have 56": func(o *ConsumerOptions) {
			o.Group, o.OnFailure = strings.Repeat("g", 57), RetryInPlace(Backoff{}, ParkKey())
		},
		"names no topics":           func(o *ConsumerOptions) { o.Topics = nil },
		"there is no such topic":    func(o *ConsumerOptions) { o.Topics = []string{"bills"} },
		`group "No": a name`:        func(o *ConsumerOptions) { o.Group, o.OnFailure = "No", DeadLetter("dead-No") },
		"its parking topic is":      func(o *ConsumerOptions) { o.Group, o.OnFailure = strings.Repeat("g", 60), ParkKey() },
		"they cannot be negative":   func(o *ConsumerOptions) { o.Limits.Bytes = -1 },
		"Concurrency is 2000":       func(o *ConsumerOptions) { o.Concurrency = 2000 },
		"HeartbeatInterval is 1m":   func(o *ConsumerOptions) { o.HeartbeatInterval = time.Minute },
		"CommitInterval is -1s":     func(o *ConsumerOptions) { o.CommitInterval = -time.Second },
		"DrainTimeout is -1s":       func(o *ConsumerOptions) { o.DrainTimeout = -time.Second },
		"MaxSessionTimeout":         func(o *ConsumerOptions) { o.SessionTimeout = time.Hour },
		"assignor 9 does not exist": func(o *ConsumerOptions) { o.Assignor = 9 },
	} {
		o := good
		spoil(&o)
		c, err := s.NewConsumer(testContext(t), o, func(context.Context, *Delivery) error { return nil })
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, %v; want an error that says %q", c, err, says)
		}
	}
	if _, err := s.NewConsumer(testContext(t), good, nil); err == nil {
		t.Error("a consumer without a handler")
	}
}
