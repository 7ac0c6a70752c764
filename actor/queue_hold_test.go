package actor

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func fetch(t testing.TB, c *QueueConsumer, n int) (all []*QueueDelivery) {
	t.Helper()
	for len(all) < n {
		some := make([]*QueueDelivery, n-len(all))
		got, err := c.NextBatch(testContext(t), some)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some[:got]...)
	}
	return all
}

// As long as a consumer lives that holds messages, they are not taken back from it, and
// no attempt is begun.
func TestAConsumerThatHoldsKeepsItsMessages(t *testing.T) {
	f := fakes(t, queue.Config{SettleTimeout: 300 * time.Millisecond})
	f.told = make(chan settle, 100)
	c := f.consume(ConsumeOptions{Hold: true}, nil)
	f.put("a", "b")
	all := fetch(t, c, 2)
	for range 6 { // two settle timeouts
		if m := await(t, f.told, "a sign of life"); !m.extend || len(m.started) > 0 {
			t.Fatalf("it said %+v", m)
		}
	}
	for _, d := range all {
		if err := d.AckSync(testContext(t)); err != nil {
			t.Error(err)
		}
	}
}

// What was held in a crash comes again at once, flagged, and not one after the other; and
// no attempt is charged, so that a limit of attempts does not matter.
func TestWhatWasHeldInACrashIsNotSuspected(t *testing.T) {
	f := fakes(t, queue.Config{DeliveryLimit: 1})
	c := f.consume(ConsumeOptions{Hold: true}, nil)
	f.put("a", "b", "c")
	fetch(t, c, 3)
	for range 2 {
		f.crash(errors.New("boom"))
		for i, d := range fetch(t, c, 3) {
			if want := []string{"a", "b", "c"}[i]; string(d.Body()) != want || d.Probation || !d.Redelivered() || d.Attempt() != 1 {
				t.Errorf("got %s, want %s", describeDelivery(d), want)
			}
		}
	}
}

func TestFlushWaitsForWhatWasSettled(t *testing.T) {
	f := fakes(t, queue.Config{})
	c := f.consume(ConsumeOptions{}, nil)
	f.put(numberedTexts(100)...)
	for _, d := range fetch(t, c, 100) {
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if got := f.counts(); got.Acked != 100 {
		t.Errorf("%+v", got)
	}
	f.put("m")
	fetch(t, c, 1)[0].Ack()
	f.crash(errors.New("boom"))
	ended, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := c.Flush(ended); err != nil && !errors.Is(err, queue.ErrSettled) && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAConsumerSaysWhetherItHasAll(t *testing.T) {
	f := fakes(t, queue.Config{})
	c := f.consume(ConsumeOptions{Prefetch: 2}, nil)
	drained := func() bool {
		t.Helper()
		is, err := c.Drained(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if !drained() {
		t.Error("an empty queue is not drained")
	}
	f.put("a", "b", "c")
	if drained() {
		t.Error("a queue with three messages is drained")
	}
	all := fetch(t, c, 2)
	if drained() {
		t.Error("there is a third message")
	}
	for _, d := range all {
		d.Ack()
	}
	fetch(t, c, 1)
	if err := c.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if !drained() {
		t.Error("all is fetched, though not settled, and the queue is not drained")
	}
}

// After a restart the queue reads its logs. CatchUp waits for that.
func TestCatchUp(t *testing.T) {
	store := storagefake.New()
	first := NewSystem(store)
	q := openTopicQueue(t, first, QueueConfig{})
	q.put(numberedTexts(500)...)
	if err := first.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s := logSystem(t, store)
	again, err := s.Queue(testContext(t), "work")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.CatchUp(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if got, err := again.Stats(testContext(t)); err != nil || got.Taken != 500 {
		t.Errorf("%+v, %v", got.QueueCounts, err)
	}
}

func TestUnsettled(t *testing.T) {
	q := newTopicQueue(t, QueueConfig{})
	q.put(numberedTexts(4)...)
	c, err := q.Subscribe(testContext(t), ConsumeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(testContext(t))
	all := fetch(t, c, 4)
	if err := all[1].AckSync(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var refs []queue.Ref
	for _, d := range all {
		refs = append(refs, d.Ref)
	}
	next := queue.Ref{Log: refs[3].Log, Offset: refs[3].Offset + 1} // it may be for the queue
	got, err := q.Unsettled(testContext(t), append(refs, next))
	if want := []queue.Ref{refs[0], refs[2], refs[3], next}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
