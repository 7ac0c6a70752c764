package runtime_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/runtime"
)

// TestATopicThatNobodyUsesForgets what is too old, from the start of the engine on.
func TestATopicThatNobodyUsesForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Second) }) // for Proto.Actor's throttle of dead letters
		ctx, store := context.Background(), storagefake.New()
		open := func() *runtime.Engine {
			e, err := runtime.Open(ctx, runtime.Store(store), runtime.Logger(quiet))
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		e := open()
		topic, err := e.Declare(ctx, "orders", actor.TopicConfig{Retention: actor.Retention{Age: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := topic.NewProducer(actor.ProducerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Append(ctx, 0, []actor.Record{{Value: []byte("a")}}); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(ctx); err != nil {
			t.Fatal(err)
		}
		store = store.Restart()
		e = open()
		time.Sleep(2 * time.Hour)
		if err := e.Close(ctx); err != nil {
			t.Fatal(err)
		}
		store = store.Restart()
		e = open()
		topic, err = e.Topic(ctx, "orders")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := topic.Bounds(ctx, 0); err != nil || b != (actor.Bounds{First: 1, Next: 1}) {
			t.Errorf("it holds %+v, %v", b, err)
		}
		if err := e.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}
