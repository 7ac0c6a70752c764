package actor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// A queue whose messages cannot be moved yet, because the other one is behind, goes on
// delivering meanwhile, and when the mover has given up.
func TestAMoveThatHasToWaitHoldsNobodyUp(t *testing.T) {
	b := runningBed(t, storagefake.New())
	from, to := b.running("from", QueueConfig{}), b.running("to", QueueConfig{})
	b.send("from", numbers(0, 3)...)
	b.settles(from, "filled", func(s QueueStats) bool { return s.Ready == 3 })
	to.info.admission.wait()
	impatient, cancel := context.WithTimeout(b.ctx, 100*time.Millisecond)
	defer cancel()
	moved, err := from.Move(impatient, "to", QueueMove{})
	if moved.Moved != 0 || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrBackpressure) {
		t.Errorf("%+v, %v", moved, err)
	}
	mustDo(t, b.get(from, 1)[0].AckSync(b.ctx))
	ended := make(chan error, 1)
	go func() {
		moved, err := from.Move(b.ctx, "to", QueueMove{})
		if err == nil && moved.Moved != 2 {
			err = errors.New("it has not moved two")
		}
		ended <- err
	}()
	to.info.admission.opens(queue.Counter{}, false)
	mustDo(t, await(t, ended, "the move"))
	b.settles(to, "filled", func(s QueueStats) bool { return s.Ready == 2 })
}

// The process ends after messages were published to the other queue, and before their own
// has let them go: then both have them.
func TestAMoveThatIsCutShortLosesNothing(t *testing.T) {
	store := storagefake.New()
	b := &bed{t, NewSystem(store), testContext(t)}
	from, to := b.running("from", QueueConfig{}), b.running("to", QueueConfig{})
	if from.info.shard == to.info.shard {
		t.Fatal("the names are to be of two shards")
	}
	b.sendNow("from", numbers(0, 3)...)
	b.settles(from, "filled", func(s QueueStats) bool { return s.Ready == 3 })
	journal, dead := shardConfig{number: from.info.shard}.log(), make(chan struct{})
	store.OnAppend(func(a storagefake.Append) (f storagefake.Fault) {
		if a.Log == journal {
			f.Hold = dead
		}
		return f
	})
	ended := make(chan error, 1)
	go func() {
		_, err := from.Move(b.ctx, "to", QueueMove{})
		ended <- err
	}()
	b.settles(to, "filled", func(s QueueStats) bool { return s.Ready == 3 })
	store = store.Restart()
	close(dead)
	if err := await(t, ended, "the move"); err == nil {
		t.Error("a move that was cut short went well")
	}
	_ = b.Close(b.ctx)
	b = runningBed(t, store)
	for _, name := range []string{"from", "to"} {
		q := must[*Queue](t)(b.Queue(b.ctx, name))
		mustDo(t, q.CatchUp(b.ctx))
		if s := must[QueueStats](t)(q.Stats(b.ctx)); s.Live != 3 || s.Moved != 0 || s.Err != nil {
			t.Errorf("queue %s has %+v, %v", name, s.QueueCounts, s.Err)
		}
	}
}

// An Edit that panics does so where Move was called, and the queue goes on.
func TestAnEditThatPanics(t *testing.T) {
	b := runningBed(t, storagefake.New())
	from, _ := b.running("from", QueueConfig{}), b.running("to", QueueConfig{})
	b.send("from", numbers(0, 3)...)
	b.settles(from, "filled", func(s QueueStats) bool { return s.Ready == 3 })
	func() {
		defer func() {
			if r := recover(); r != "on purpose" {
				t.Errorf("Move has panicked with %v", r)
			}
		}()
		_, err := from.Move(b.ctx, "to", QueueMove{Edit: func(*Message) { panic("on purpose") }})
		t.Errorf("%v", err)
	}()
	if moved := must[QueueMoved](t)(from.Move(b.ctx, "to", QueueMove{})); moved.Moved != 3 {
		t.Errorf("%+v", moved)
	}
}

func TestAReplayNeedsAConsumer(t *testing.T) {
	b := runningBed(t, storagefake.New())
	_, err := b.running("q", QueueConfig{}).Replay(b.ctx, nil, QueueReplay{})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "queue q") {
		t.Error(err)
	}
}
