package actor

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// Whoever closes what a callback writes to, after Flush or Close, must not be
// surprised by the callback.
func TestFlushWaitsForCallbacks(t *testing.T) {
	topic := declare(t, logSystem(t, storagefake.New()), "orders", TopicConfig{})
	p := newPublisher(t, topic, PublisherOptions{})
	ctx := testContext(t)
	called, release := make(chan struct{}), make(chan struct{})
	if err := p.PublishFunc(ctx, 0, record("r"), func(Published, error) { close(called); <-release }); err != nil {
		t.Fatal(err)
	}
	await(t, called, "the callback")
	past, cancel := context.WithCancel(ctx)
	cancel()
	if err := p.Flush(past); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush beside a callback that has not returned: %v", err)
	}
	close(release)
	if err := p.Flush(ctx); err != nil {
		t.Error(err)
	}
}

// A callback is called by the partition, which serves others as well.
func TestAPanicOfACallbackHarmsNobodyElse(t *testing.T) {
	told := make(messages, 100)
	topic := declare(t, logSystem(t, storagefake.New(), WithLogger(slog.New(told))), "orders", TopicConfig{})
	ctx := testContext(t)
	p := newPublisher(t, topic, PublisherOptions{})
	if err := p.PublishFunc(ctx, 0, record("r"), func(Published, error) { panic("of a publisher's") }); err != nil {
		t.Fatal(err)
	}
	if at, err := p.PublishSync(ctx, 0, record("r")); err != nil || at.Offset != 1 {
		t.Errorf("after a panic of a callback: %+v, %v", at, err)
	}
	single, err := topic.NewProducer(ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := single.AppendAsync(ctx, 0, records("r"), func(Ack, error) { panic("of a producer's") }); err != nil {
		t.Fatal(err)
	}
	if err := single.Close(ctx); err != nil {
		t.Error(err)
	}
	for range len(told) {
		m := <-told
		if m != "a function that was to be told what became of a record panicked" {
			t.Errorf("logged: %s", m)
		}
	}
}

// messages is a slog.Handler that keeps the messages of warnings and errors.
type messages chan string

func (m messages) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (m messages) WithAttrs([]slog.Attr) slog.Handler           { return m }
func (m messages) WithGroup(string) slog.Handler                { return m }

func (m messages) Handle(_ context.Context, r slog.Record) error {
	m <- r.Message
	return nil
}

// What is known of a record is said, also to whom there is no time left.
func TestAFutureThatIsKnownAndAContextThatHasEnded(t *testing.T) {
	topic := declare(t, logSystem(t, storagefake.New()), "orders", TopicConfig{})
	p, ctx := newPublisher(t, topic, PublisherOptions{}), testContext(t)
	f, err := p.Publish(ctx, 0, record("a"))
	if err != nil {
		t.Fatal(err)
	}
	await(t, f.Done(), "the record")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for range 100 { // each time it is drawn anew which of two is looked at
		if at, err := f.Wait(ended); err != nil || at.Offset != 0 {
			t.Fatalf("it is at %+v, %v", at, err)
		}
	}
}
