package runtime_test

import (
	"errors"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// A queue that gets full says so to whoever opened the engine.
func TestOnQueueWarning(t *testing.T) {
	ctx, warnings := within(t), make(chan actor.QueueWarning, 1)
	e := open(t, t.TempDir(), runtime.OnQueueWarning(func(w actor.QueueWarning) {
		select {
		case warnings <- w:
		default:
		}
	}))
	defer e.Close(ctx)
	if _, err := e.DeclareQueue(ctx, "small", actor.QueueConfig{MaxLength: 5}); err != nil {
		t.Fatal(err)
	}
	x, err := e.Exchange(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := x.NewPublisher(ctx, actor.ExchangePublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case w := <-warnings:
			tick.Stop()
			if w.Queue != "small" || w.MaxLength != 5 || w.Messages < 4 {
				t.Errorf("%+v", w)
			}
			return
		case <-ctx.Done():
			t.Fatal("there is no warning")
		case <-tick.C:
			if _, err := p.PublishSync(ctx, &actor.Message{RoutingKey: "small"}); err != nil && !errors.Is(err, actor.ErrQueueFull) {
				t.Fatal(err)
			}
		}
	}
}
