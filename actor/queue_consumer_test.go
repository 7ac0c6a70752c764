package actor

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// seen is what handlers were given, in order.
type seenMessages struct {
	mu  sync.Mutex
	all []string
	n   chan struct{}
}

func newSeen() *seenMessages { return &seenMessages{n: make(chan struct{}, 1<<16)} }

func (s *seenMessages) add(text string) {
	s.mu.Lock()
	s.all = append(s.all, text)
	s.mu.Unlock()
	s.n <- struct{}{}
}

func (s *seenMessages) wait(t testing.TB, n int) []string {
	t.Helper()
	for range n {
		await(t, s.n, "a message")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func describeDelivery(d *QueueDelivery) string {
	text := fmt.Sprintf("%s #%d", d.Body(), d.Attempt())
	if d.Redelivered() {
		text += " again: " + d.Cause().String()
	}
	return text
}

func requireTexts(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func drained(n int) (string, func(queue.Counts) bool) {
	return fmt.Sprintf("%d acknowledged messages", n), func(c queue.Counts) bool { return c.Acked == uint64(n) && c.Live == 0 }
}

func TestQueueConsumerConsumeInOrder(t *testing.T) {
	f := fakes(t, queue.Config{})
	seen := newSeen()
	c := f.consume(ConsumeOptions{Prefetch: 7}, func(_ context.Context, d *QueueDelivery) error {
		seen.add(string(d.Body()))
		return nil
	})
	want := numberedTexts(200)
	f.put(want[:150]...)
	f.put(want[150:]...)
	requireTexts(t, seen.wait(t, 200), want...)
	f.awaitCounts(drained(200))
	if s := c.Stats(); s.Delivered != 200 || s.Acked != 200 || s.InHand != 0 || s.Runs != 1 {
		t.Errorf("stats %+v", s)
	}
}

// What a handler returns, or does, decides what becomes of a message.
func TestQueueConsumerConsumeResults(t *testing.T) {
	boom := errors.New("boom")
	cases := map[string]struct {
		handler QueueHandler // for the first attempt; then the message is acknowledged
		want    []string
		counts  queue.Counts
	}{
		"an error": {func(context.Context, *QueueDelivery) error { return boom },
			[]string{"m #1", "m #2 again: failed"}, queue.Counts{Acked: 1}},
		"a panic": {func(context.Context, *QueueDelivery) error { panic(boom) },
			[]string{"m #1", "m #2 again: failed"}, queue.Counts{Acked: 1}},
		"the end of its goroutine": {func(context.Context, *QueueDelivery) error { goruntime.Goexit(); return nil },
			[]string{"m #1", "m #2 again: failed"}, queue.Counts{Acked: 1}},
		"ErrReject": {func(context.Context, *QueueDelivery) error { return fmt.Errorf("no: %w", ErrReject) },
			[]string{"m #1"}, queue.Counts{Dropped: 1}},
		"ErrReturn": {func(context.Context, *QueueDelivery) error { return ErrReturn },
			[]string{"m #1", "m #1 again: returned"}, queue.Counts{Acked: 1}},
		"RetryIn": {func(context.Context, *QueueDelivery) error { return RetryIn(time.Millisecond, boom) },
			[]string{"m #1", "m #2 again: failed"}, queue.Counts{Acked: 1}},
		"Ack and an error": {func(_ context.Context, d *QueueDelivery) error { return errors.Join(d.Ack(), boom) },
			[]string{"m #1"}, queue.Counts{Acked: 1}},
		"Nack and no error": {func(_ context.Context, d *QueueDelivery) error { return d.Nack() },
			[]string{"m #1", "m #2 again: failed"}, queue.Counts{Acked: 1}},
		"Reject": {func(_ context.Context, d *QueueDelivery) error { return d.Reject() },
			[]string{"m #1"}, queue.Counts{Dropped: 1}},
		"Requeue": {func(_ context.Context, d *QueueDelivery) error { return d.Requeue() },
			[]string{"m #1", "m #1 again: returned"}, queue.Counts{Acked: 1}},
		"Retry": {func(_ context.Context, d *QueueDelivery) error { return d.Retry(0) },
			[]string{"m #1", "m #2 again: failed"}, queue.Counts{Acked: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := fakes(t, queue.Config{Retry: queue.Retry{First: time.Millisecond}})
			seen, first := newSeen(), true
			f.consume(ConsumeOptions{}, func(ctx context.Context, d *QueueDelivery) error {
				seen.add(describeDelivery(d))
				if first {
					first = false
					return c.handler(ctx, d)
				}
				return nil
			})
			f.put("m")
			requireTexts(t, seen.wait(t, len(c.want)), c.want...)
			c.counts.Taken = 1
			got := f.awaitCounts("the end", func(c queue.Counts) bool { return c.Live == 0 })
			if got != c.counts {
				t.Errorf("counts %+v, want %+v", got, c.counts)
			}
		})
	}
}

// A second settlement is refused, whoever makes it, with an error that says so.
// TestQueueConsumerHandlesBeforeTheAnswer: a handler may end the context of Consume, and
// the queue's answer may come after the first message.
func TestQueueConsumerHandlesBeforeTheAnswer(t *testing.T) {
	f := fakes(t, queue.Config{})
	f.late = make(chan struct{})
	f.put("only")
	ctx, cancel := context.WithCancel(testContext(t))
	c, err := f.sys.newQueueConsumer(ctx, "fake", f, ConsumeOptions{}, func(context.Context, *QueueDelivery) error {
		cancel()
		return nil
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	close(f.late)
	if err := c.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	f.awaitCounts("the acknowledgement", func(n queue.Counts) bool { return n.Acked == 1 })
}

func TestQueueConsumerSettleTwice(t *testing.T) {
	f := fakes(t, queue.Config{})
	c := f.consume(ConsumeOptions{}, nil)
	f.put("m")
	d, err := c.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AckSync(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string]func() error{"Ack": d.Ack, "Nack": d.Nack, "Reject": d.Reject, "Requeue": d.Requeue,
		"AckAll": d.AckAll, "AckSync": func() error { return d.AckSync(testContext(t)) }} {
		var settled *queue.SettledError
		if err := again(); !errors.Is(err, queue.ErrSettled) || !errors.As(err, &settled) || settled.Tag != d.Tag {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := c.Stats(); s.Refused != 6 || s.Acked != 1 {
		t.Errorf("stats %+v", s)
	}
}

// Ack and Nack can settle all that was handed out before; what was not is untouched.
func TestQueueConsumerSettleMultiple(t *testing.T) {
	f := fakes(t, queue.Config{DeliveryLimit: 1})
	c := f.consume(ConsumeOptions{}, nil)
	f.put(numberedTexts(10)...)
	all := make([]*QueueDelivery, 8)
	for got := 0; got < 8; {
		n, err := c.NextBatch(testContext(t), all[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if err := errors.Join(all[1].Requeue(), all[3].AckAll(), all[6].NackAll()); err != nil {
		t.Fatal(err)
	}
	got := f.awaitCounts("settlements", func(c queue.Counts) bool { return c.Acked == 3 && c.Dropped == 3 })
	if got.Live != 4 {
		t.Errorf("counts %+v", got)
	}
	if err := all[3].Ack(); !errors.Is(err, queue.ErrSettled) {
		t.Errorf("again: %v", err)
	}
}

// While a settle is under way, others collect: no more go than are needed.
func TestQueueConsumerSettlementsCollect(t *testing.T) {
	f := fakes(t, queue.Config{})
	f.told = make(chan settle, 1000)
	c := f.consume(ConsumeOptions{Prefetch: 400}, nil)
	f.put(numberedTexts(400)...)
	all := make([]*QueueDelivery, 400)
	for got := 0; got < 400; {
		n, err := c.NextBatch(testContext(t), all[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	c.mu.Lock() // no answer comes through meanwhile
	for i, d := range all {
		c.close(d, fate{kind: fateAck})
		c.flush()
		if i < 100 && c.settling.seq != 1 {
			t.Fatalf("%d messages after %d acks", c.settling.seq, i+1)
		}
	}
	sent := c.settling.seq
	c.mu.Unlock()
	if sent != 4 { // the first, and three of a hundred
		t.Errorf("%d messages", sent)
	}
	f.awaitCounts(drained(400))
	tags := 0
	for tags < 400 {
		tags += len(await(t, f.told, "acks").acks)
	}
}

// A message that its queue takes back ends the context of its handler, whose result is
// of no interest then.
func TestQueueConsumerRecall(t *testing.T) {
	f := fakes(t, queue.Config{SettleTimeout: 40 * time.Millisecond})
	f.timeout = time.Hour // no sign of life comes in time
	ended, seen := make(chan error, 2), newSeen()
	var late *QueueDelivery
	c := f.consume(ConsumeOptions{}, func(ctx context.Context, d *QueueDelivery) error {
		seen.add(describeDelivery(d))
		if late != nil {
			return nil
		}
		late = d
		<-ctx.Done()
		ended <- d.Ack()
		return nil
	})
	f.put("m")
	err := await(t, ended, "the end of the handler")
	var settled *queue.SettledError
	if !errors.As(err, &settled) || settled.Cause == queue.CauseNone {
		t.Errorf("a late ack: %v", err)
	}
	requireTexts(t, seen.wait(t, 2), "m #1", "m #1 again: returned")
	f.awaitCounts(drained(1))
	if s := c.Stats(); s.Recalled != 1 {
		t.Errorf("stats %+v", s)
	}
}

// Signs of life keep the messages of a slow handler, and those that wait for it.
func TestQueueConsumerExtend(t *testing.T) {
	f := fakes(t, queue.Config{SettleTimeout: 300 * time.Millisecond})
	f.told = make(chan settle, 1000)
	goOn := make(chan struct{})
	c := f.consume(ConsumeOptions{}, func(context.Context, *QueueDelivery) error {
		<-goOn
		return nil
	})
	f.put("slow", "waiting")
	for range 6 { // two settle timeouts
		if m := await(t, f.told, "a sign of life"); !m.extend {
			t.Errorf("%+v", m)
		}
	}
	close(goOn)
	f.awaitCounts(drained(2))
	if s := c.Stats(); s.Recalled != 0 || s.Refused != 0 {
		t.Errorf("stats %+v", s)
	}
}

// After a crash of its queue a consumer subscribes anew; what it had comes again.
func TestQueueConsumerConsumerOutlivesItsQueue(t *testing.T) {
	f := fakes(t, queue.Config{})
	interrupted := make(chan error, 1)
	seen, release := newSeen(), make(chan struct{})
	held := make(chan *QueueDelivery, 1)
	c := f.consume(ConsumeOptions{Listener: ConsumeListener{Interrupted: func(err error) { interrupted <- err }}},
		func(ctx context.Context, d *QueueDelivery) error {
			if !d.Redelivered() {
				held <- d
				select {
				case <-ctx.Done():
				case <-release:
				}
				return errors.New("nobody listens")
			}
			seen.add(describeDelivery(d))
			return nil
		})
	f.put("a")
	old := await(t, held, "a delivery")
	f.crash(ErrQueueFailed)
	if err := await(t, interrupted, "the interruption"); !errors.Is(err, ErrQueueFailed) {
		t.Error(err)
	}
	// The crash may have been because of it: so the attempt is charged before.
	requireTexts(t, seen.wait(t, 1), "a #1 again: crash")
	if err := old.Ack(); !errors.Is(err, queue.ErrSettled) || !errors.Is(err, ErrQueueFailed) {
		t.Errorf("an old delivery: %v", err)
	}
	f.awaitCounts(drained(1))
	if s := c.Stats(); s.Runs != 2 || s.Acked != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A message that takes its queue down every time is found out: attempts are charged
// before the handler runs, and innocent messages beside it are not charged.
func TestQueueConsumerPoisonThatKillsTheQueue(t *testing.T) {
	const limit = 3
	f := fakes(t, queue.Config{DeliveryLimit: limit, DeadLetter: true})
	crash := make(chan struct{})
	var mu sync.Mutex
	attempts := map[string]int{}
	f.consume(ConsumeOptions{Prefetch: 10, Concurrency: 4}, func(ctx context.Context, d *QueueDelivery) error {
		if d.Probation || string(d.Body()) == "poison" {
			mu.Lock()
			attempts[string(d.Body())] = max(attempts[string(d.Body())], d.Attempt())
			mu.Unlock()
		}
		if string(d.Body()) != "poison" {
			return nil
		}
		crash <- struct{}{}
		<-ctx.Done()
		return nil
	})
	f.put("a", "poison", "b", "c")
	// The first delivery is not known to be bad; the following are charged.
	for range limit + 1 {
		await(t, crash, "the poison")
		f.crash(ErrQueueFailed)
	}
	got := f.awaitCounts("the end", func(c queue.Counts) bool { return c.Live == 0 })
	if got.Dead != 1 || got.Acked != 3 {
		t.Errorf("counts %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	for text, n := range attempts {
		if text != "poison" && n != 1 {
			t.Errorf("%s was charged: attempt %d", text, n)
		}
	}
	if attempts["poison"] != limit {
		t.Errorf("the poison had %d attempts", attempts["poison"])
	}
}

func TestQueueConsumerQueueDeletedWhileConsumed(t *testing.T) {
	f := fakes(t, queue.Config{})
	cancelled := make(chan error, 1)
	c, err := f.sys.newQueueConsumer(testContext(t), "fake", f, ConsumeOptions{Listener: ConsumeListener{
		Cancelled: func(err error) { cancelled <- err }}}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	f.put("m")
	d, err := c.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan error, 1)
	go func() {
		_, err := c.Next(testContext(t))
		next <- err
	}()
	f.crash(ErrNoQueue)
	for what, told := range map[string]<-chan error{"the notice": cancelled, "the end of Next": next} {
		if err := await(t, told, what); !errors.Is(err, ErrNoQueue) {
			t.Errorf("%s: %v", what, err)
		}
	}
	await(t, c.Ended(), "the end")
	if err := d.Ack(); !errors.Is(err, queue.ErrSettled) || !errors.Is(err, ErrNoQueue) {
		t.Errorf("ack: %v", err)
	}
	if err := c.Close(testContext(t)); !errors.Is(err, ErrNoQueue) {
		t.Errorf("close: %v", err)
	}
}

// Close lets handlers finish, and gives back the rest uncharged.
func TestQueueConsumerCloseGracefully(t *testing.T) {
	f := fakes(t, queue.Config{})
	started, release := make(chan struct{}), make(chan struct{})
	c, err := f.sys.newQueueConsumer(testContext(t), "fake", f, ConsumeOptions{}, func(context.Context, *QueueDelivery) error {
		close(started)
		<-release
		return nil
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	f.put("at work", "waiting", "waiting too")
	await(t, started, "the handler")
	closed := make(chan error, 1)
	go func() { closed <- c.Close(testContext(t)) }()
	f.awaitCounts("what waited", func(c queue.Counts) bool { return c.Ready == 2 && c.InFlight == 1 })
	close(release)
	if err := await(t, closed, "the end"); err != nil {
		t.Error(err)
	}
	f.awaitCounts("the ack", func(c queue.Counts) bool { return c.Acked == 1 && c.Ready == 2 && c.InFlight == 0 })
	seen := newSeen()
	f.consume(ConsumeOptions{}, func(_ context.Context, d *QueueDelivery) error {
		seen.add(describeDelivery(d))
		return nil
	})
	requireTexts(t, seen.wait(t, 2), "waiting #1 again: returned", "waiting too #1 again: returned")
}

// A handler that does not return is charged for, and its message goes to others.
func TestQueueConsumerCloseAbandonsHandlers(t *testing.T) {
	f := fakes(t, queue.Config{})
	started, ended := make(chan struct{}), make(chan struct{})
	c, err := f.sys.newQueueConsumer(testContext(t), "fake", f, ConsumeOptions{DrainTimeout: time.Millisecond},
		func(ctx context.Context, _ *QueueDelivery) error {
			close(started)
			<-ctx.Done()
			close(ended)
			return nil
		}, false)
	if err != nil {
		t.Fatal(err)
	}
	f.put("stuck", "waiting")
	await(t, started, "the handler")
	if err := c.Close(testContext(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	await(t, ended, "the context")
	seen := newSeen()
	f.consume(ConsumeOptions{}, func(_ context.Context, d *QueueDelivery) error {
		seen.add(describeDelivery(d))
		return nil
	})
	requireTexts(t, seen.wait(t, 2), "stuck #2 again: crash", "waiting #1 again: returned")
}

// Whoever stops the whole system leaves nothing charged either.
func TestQueueConsumerConsumerStopped(t *testing.T) {
	f := fakes(t, queue.Config{})
	c, err := f.sys.newQueueConsumer(testContext(t), "fake", f, ConsumeOptions{}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	f.put("m")
	if _, err := c.Next(testContext(t)); err != nil {
		t.Fatal(err)
	}
	f.sys.Stop(c.pid)
	await(t, c.Ended(), "the end")
	f.awaitCounts("the return", func(c queue.Counts) bool { return c.Ready == 1 })
}

func TestQueueConsumerGet(t *testing.T) {
	f := fakes(t, queue.Config{})
	get := func(n int, wait time.Duration) []*QueueDelivery {
		t.Helper()
		c, err := f.sys.newQueueConsumer(testContext(t), "fake", f, ConsumeOptions{Prefetch: n}, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		all, err := c.get(testContext(t), n, time.Now().Add(wait))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { await(t, c.Ended(), "the end of the consumer") })
		return all
	}
	if all := get(3, 0); len(all) != 0 {
		t.Errorf("%d messages of an empty queue", len(all))
	}
	f.put(numberedTexts(5)...)
	all := get(3, time.Minute)
	if len(all) != 3 || string(all[2].Body()) != "m002" {
		t.Fatalf("%d messages", len(all))
	}
	rest := get(10, time.Millisecond)
	if len(rest) != 2 {
		t.Fatalf("%d messages", len(rest))
	}
	for _, d := range append(all, rest...) {
		if err := d.AckSync(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	f.awaitCounts(drained(5))
}

// At most once: what was handed out does not come again.
func TestQueueConsumerAtMostOnce(t *testing.T) {
	f := fakes(t, queue.Config{})
	seen := newSeen()
	c := f.consume(ConsumeOptions{AtMostOnce: true}, func(_ context.Context, d *QueueDelivery) error {
		seen.add(describeDelivery(d))
		if err := d.Nack(); !errors.Is(err, queue.ErrSettled) {
			t.Errorf("nack: %v", err)
		}
		return errors.New("too bad")
	})
	f.put("a", "b")
	requireTexts(t, seen.wait(t, 2), "a #1", "b #1")
	f.awaitCounts(drained(2))
	if s := c.Stats(); s.Failed != 0 {
		t.Errorf("stats %+v", s)
	}
}

// With ManualAck a message is in hand until it is settled, whatever the handler returns.
func TestQueueConsumerManualAck(t *testing.T) {
	f := fakes(t, queue.Config{})
	handed := make(chan *QueueDelivery, 3)
	c := f.consume(ConsumeOptions{ManualAck: true}, func(_ context.Context, d *QueueDelivery) error {
		handed <- d
		return nil
	})
	f.put("a", "b")
	a, b := await(t, handed, "a"), await(t, handed, "b")
	if err := b.Ack(); err != nil {
		t.Error(err)
	}
	f.awaitCounts("one ack", func(c queue.Counts) bool { return c.Acked == 1 && c.InFlight == 1 })
	if s := c.Stats(); s.InHand != 1 || s.Working > 1 {
		t.Errorf("stats %+v", s)
	}
	if err := a.Ack(); err != nil {
		t.Error(err)
	}
	f.awaitCounts(drained(2))
}

func TestQueueConsumerHandlerTimeout(t *testing.T) {
	f := fakes(t, queue.Config{})
	seen := newSeen()
	f.consume(ConsumeOptions{HandlerTimeout: 5 * time.Millisecond}, func(ctx context.Context, d *QueueDelivery) error {
		seen.add(describeDelivery(d))
		if d.Attempt() == 2 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	f.put("a")
	requireTexts(t, seen.wait(t, 2), "a #1", "a #2 again: failed")
	f.awaitCounts(drained(1))
}

func TestQueueConsumerExclusiveConsumer(t *testing.T) {
	f := fakes(t, queue.Config{})
	f.consume(ConsumeOptions{Exclusive: true}, nil)
	_, err := f.sys.newQueueConsumer(testContext(t), "fake", f, ConsumeOptions{}, nil, false)
	if !errors.Is(err, ErrExclusive) {
		t.Error(err)
	}
}

func TestQueueConsumerConsumeOptionsAreChecked(t *testing.T) {
	f := fakes(t, queue.Config{})
	for name, o := range map[string]ConsumeOptions{
		"Prefetch":       {Prefetch: PrefetchMax + 1},
		"Concurrency":    {Concurrency: -1},
		"HandlerTimeout": {HandlerTimeout: -1},
		"DrainTimeout":   {DrainTimeout: -1},
		"ManualAck":      {ManualAck: true, AtMostOnce: true},
		"Name":           {Name: string(make([]byte, consumerNameMax+1))},
	} {
		_, err := f.sys.newQueueConsumer(testContext(t), "fake", f, o, nil, false)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of a queue with a single active consumer, one is told that it is it, and the next
// when that goes.
func TestQueueConsumerSingleActive(t *testing.T) {
	f := fakes(t, queue.Config{SingleActive: true})
	active := make(chan string, 10)
	listen := func(name string) ConsumeOptions {
		return ConsumeOptions{Name: name, Listener: ConsumeListener{Active: func(is bool) { active <- fmt.Sprint(name, is) }}}
	}
	first, err := f.sys.newQueueConsumer(testContext(t), "fake", f, listen("first"), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := await(t, active, "the first"); got != "firsttrue" {
		t.Error(got)
	}
	second := f.consume(listen("second"), nil)
	if err := first.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	for got := range active {
		if got == "secondtrue" {
			break
		}
	}
	if !second.Stats().Active {
		t.Error("the second does not say so")
	}
}

// What a message says of itself comes with it.
func TestQueueConsumerDeliverySaysWhatItIs(t *testing.T) {
	f := fakes(t, queue.Config{})
	c := f.consume(ConsumeOptions{}, nil)
	f.putEntries(fakeEntry{record: enveloped(envelope.Envelope{Exchange: "orders", RoutingKey: "orders.created", MessageID: "o1",
		CorrelationID: "c1", ReplyTo: "r1", ContentType: "text/plain", Type: "order"}, "body", Header{Key: "tenant", Value: []byte("t1")}), priority: 3})
	f.put("bare")
	d, err := c.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{string(d.Body()), d.Exchange(), d.RoutingKey(), d.MessageID(), d.ID(), d.CorrelationID(), d.ReplyTo(), d.ContentType(), d.Type(), fmt.Sprint(d.Priority())}
	requireTexts(t, got, "body", "orders", "orders.created", "o1", "o1", "c1", "r1", "text/plain", "order", "3")
	if tenant, found := d.Header("tenant"); !found || tenant != "t1" || len(d.Record().Headers) != 1 {
		t.Errorf("headers %v", d.Record().Headers)
	}
	if _, found := d.Header(envelope.Key); found {
		t.Error("the envelope shows")
	}
	bare, err := c.Next(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if bare.RoutingKey() != "" || bare.ID() != "1:1" {
		t.Errorf("a bare record says %q, %q", bare.RoutingKey(), bare.ID())
	}
}

// A slow consumer and a fast one that compete invert the order of messages; of messages
// of one group they do not.
func TestQueueConsumerSlowAndFast(t *testing.T) {
	for name, group := range map[string]uint64{"competing": 0, "keyed": 1} {
		t.Run(name, func(t *testing.T) {
			f := fakes(t, queue.Config{})
			done, second := newSeen(), make(chan struct{})
			handler := func(_ context.Context, d *QueueDelivery) error {
				if string(d.Body()) == "first" && group == 0 {
					<-second // it is slow: it takes until the other is done
				}
				done.add(string(d.Body()))
				if string(d.Body()) == "second" {
					close(second)
				}
				return nil
			}
			for range 2 {
				f.consume(ConsumeOptions{Prefetch: 1}, handler)
			}
			f.putEntries(fakeEntry{record: Record{Value: []byte("first")}, group: group}, fakeEntry{record: Record{Value: []byte("second")}, group: group})
			want := []string{"second", "first"}
			if group != 0 {
				slices.Reverse(want)
			}
			requireTexts(t, done.wait(t, 2), want...)
			f.awaitCounts(drained(2))
		})
	}
}

// Messages of one group are done one at a time and in order, by eight handlers, through
// retries and a crash of the queue.
func TestQueueConsumerKeyedOrder(t *testing.T) {
	const groups, each = 5, 40
	f := fakes(t, queue.Config{Retry: queue.Retry{First: time.Millisecond}})
	var mu sync.Mutex
	busy, next, failed := map[uint64]bool{}, map[uint64]int{}, map[string]bool{}
	done := make(chan struct{}, groups*each)
	f.consume(ConsumeOptions{Prefetch: 20, Concurrency: 8}, func(ctx context.Context, d *QueueDelivery) error {
		text := string(d.Body())
		var n int
		fmt.Sscanf(text, "g%d-%d", new(int), &n)
		mu.Lock()
		if busy[d.Group] {
			t.Errorf("%s: another of its group is at work", text)
		}
		busy[d.Group] = true
		mu.Unlock()
		goruntime.Gosched()
		mu.Lock()
		defer mu.Unlock()
		busy[d.Group] = false
		switch {
		case ctx.Err() != nil: // the queue has crashed, and what is done now counts for nothing
			return ctx.Err()
		case n%7 == 3 && !failed[text]:
			failed[text] = true
			return errors.New("once more")
		case n > next[d.Group]:
			t.Errorf("%s came before %d", text, next[d.Group])
		case n == next[d.Group]:
			next[d.Group]++
			done <- struct{}{}
		}
		return nil
	})
	var all []fakeEntry
	for i := range each {
		for g := range groups {
			all = append(all, fakeEntry{record: Record{Value: fmt.Appendf(nil, "g%d-%d", g, i)}, group: uint64(g + 1)})
		}
	}
	f.putEntries(all[:groups*each/2]...)
	for range groups * each / 4 {
		await(t, done, "progress")
	}
	f.crash(ErrQueueFailed)
	f.putEntries(all[groups*each/2:]...)
	for range groups*each - groups*each/4 {
		await(t, done, "the rest")
	}
	f.awaitCounts(drained(groups * each))
}

// Only what is compacted away is not on its page: then the message is lost, and no
// handler sees it.
func TestQueueConsumerLostMessage(t *testing.T) {
	f := fakes(t, queue.Config{})
	seen := newSeen()
	c := f.consume(ConsumeOptions{}, func(_ context.Context, d *QueueDelivery) error {
		seen.add(string(d.Body()))
		return nil
	})
	f.lose = 1
	f.put("a", "b", "c")
	requireTexts(t, seen.wait(t, 2), "a", "c")
	f.awaitCounts("the end", func(c queue.Counts) bool { return c.Acked == 2 && c.Dropped == 1 })
	if s := c.Stats(); s.Lost != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestPageBody(t *testing.T) {
	dense, sparse := mustPage(t, 1, denseBatch(t, 4, 3, codec.None)), mustPage(t, 1, sparseBatch(t, 4, 7))
	for name, c := range map[string]struct {
		page   *page
		offset uint64
		want   string
		ok     bool
	}{
		"dense": {dense, 5, "5", true}, "behind it": {dense, 7, "", false}, "sparse": {sparse, 7, "7", true},
		"compacted away": {sparse, 5, "", false},
	} {
		if _, body, ok := c.page.body(c.offset); string(body) != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v", name, body, ok)
		}
	}
	if n := testing.AllocsPerRun(100, func() { dense.body(5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Messages that a tiny settle timeout takes back before the last has come are not waited
// for again.
func TestGetOfMessagesThatAreTakenBack(t *testing.T) {
	f := fakes(t, queue.Config{})
	c := must[*QueueConsumer](t)(f.sys.newQueueConsumer(testContext(t), "fake", f, ConsumeOptions{Prefetch: 3}, nil, true))
	f.put("one", "two", "three")
	c.mu.Lock()
	run := c.run
	c.mu.Unlock()
	pull := queueRequest{queue.Pull{Consumer: run.id, N: 3, Until: time.Now().Add(time.Minute).UnixMilli()}}
	must[queueDone](t)(Ask[queueDone](testContext(t), f.sys, run.queue, pull))
	mustDo(t, c.until(testContext(t), func() bool { return c.hand.fresh == 3 }))
	c.recalled(queue.Recalled{Consumer: run.id, Tags: []uint64{1}})
	got := must[[]*QueueDelivery](t)(c.gather(testContext(t), run, 3))
	if len(got) != 2 {
		t.Errorf("%d messages, want the 2 that were not taken back", len(got))
	}
}
