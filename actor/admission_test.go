package actor

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/internal/queue"
)

func door(c QueueConfig) *admission {
	c = c.withDefaults()
	return newAdmission("q", &c)
}

func TestAdmissionCountsWhatIsPublishedAndWhatWaits(t *testing.T) {
	a := door(QueueConfig{MaxLength: 3, Overflow: RejectPublish})
	for range 3 {
		if err := a.admit(10); err != nil {
			t.Fatal(err)
		}
	}
	full := func(when string) {
		t.Helper()
		if err := a.admit(10); !errors.Is(err, ErrQueueFull) {
			t.Fatalf("%s: %v", when, err)
		}
	}
	full("three are on their way")
	a.indexed(3, 30, queue.Counter{Messages: 3, Bytes: 30})
	full("three wait")
	a.waits(queue.Counter{Messages: 2, Bytes: 20})
	if err := a.admit(10); err != nil {
		t.Fatal(err)
	}
	full("two wait, one is on its way")
	a.abandon(10)
	if err := a.admit(10); err != nil {
		t.Fatalf("one was not published after all: %v", err)
	}
}

func TestAdmissionByBytes(t *testing.T) {
	a := door(QueueConfig{MaxBytes: 100, Overflow: RejectPublish})
	if err := a.admit(60); err != nil {
		t.Fatal(err)
	}
	if err := a.admit(60); !errors.Is(err, ErrQueueFull) {
		t.Fatal(err)
	}
	if err := a.admit(40); err != nil {
		t.Fatal(err)
	}
}

func TestAQueueThatDropsItsHeadAdmitsBeyondItsLength(t *testing.T) {
	a := door(QueueConfig{MaxLength: 1})
	for range 10 {
		if err := a.admit(1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAQueueThatIsBehindIsWaitedFor(t *testing.T) {
	a := door(QueueConfig{PublishAhead: 1})
	if err := a.admit(1); err != nil {
		t.Fatal(err)
	}
	if err := a.admit(1); !errors.Is(err, errBehind) {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := a.await(ended, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("nothing has changed: %v", err)
	}
	waited := make(chan error, 1)
	ctx := testContext(t)
	go func() { waited <- a.await(ctx, 1) }()
	a.indexed(1, 1, queue.Counter{Messages: 1, Bytes: 1})
	if err := await(t, waited, "room"); err != nil {
		t.Fatal(err)
	}
	if err := a.admit(1); err != nil {
		t.Fatal(err)
	}
}

func TestPausedAndDeletedQueuesAdmitNothing(t *testing.T) {
	a := door(QueueConfig{})
	a.pause(true)
	if err := a.admit(1); !errors.Is(err, ErrQueuePaused) {
		t.Fatal(err)
	}
	a.pause(false)
	if err := a.admit(1); err != nil {
		t.Fatal(err)
	}
	a.close()
	if err := a.admit(1); !errors.Is(err, ErrNoQueue) {
		t.Fatal(err)
	}
}

// After a restart a full queue must not take what comes before its state was read.
func TestAQueueThatIsNotReadYetIsWaitedFor(t *testing.T) {
	a := door(QueueConfig{MaxLength: 1, Overflow: RejectPublish})
	a.wait()
	if err := a.admit(1); !errors.Is(err, errBehind) {
		t.Fatal(err)
	}
	a.opens(queue.Counter{Messages: 1}, false)
	if err := a.admit(1); !errors.Is(err, ErrQueueFull) {
		t.Fatal(err)
	}
	a.opens(queue.Counter{}, true)
	if err := a.admit(1); !errors.Is(err, ErrQueuePaused) {
		t.Fatal(err)
	}
}

func TestManyPublishersFillAQueueToTheLastPlace(t *testing.T) {
	a := door(QueueConfig{MaxLength: 1000, Overflow: RejectPublish})
	var admitted atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				if a.admit(1) == nil {
					admitted.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := admitted.Load(); n != 1000 {
		t.Errorf("%d were admitted", n)
	}
}
