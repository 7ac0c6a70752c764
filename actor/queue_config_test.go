package actor

import (
	"errors"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func TestRetriesBackOffByDefault(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct{ says, means QueueRetry }{
		"nothing":     {QueueRetry{}, QueueRetry{First: 100 * ms, Factor: 2, Max: time.Minute, Jitter: 0.2}},
		"first":       {QueueRetry{First: time.Second}, QueueRetry{First: time.Second, Factor: 2, Max: time.Minute}},
		"a long one":  {QueueRetry{First: time.Hour}, QueueRetry{First: time.Hour, Factor: 2, Max: time.Hour}},
		"the rest":    {QueueRetry{Factor: 3, Max: time.Second}, QueueRetry{First: 100 * ms, Factor: 3, Max: time.Second}},
		"all of it":   {QueueRetry{First: ms, Factor: 1, Max: ms, Jitter: 1}, QueueRetry{First: ms, Factor: 1, Max: ms, Jitter: 1}},
		"at once":     {QueueRetry{First: RetryAtOnce}, QueueRetry{First: RetryAtOnce}},
		"all at once": {QueueRetry{First: RetryAtOnce, Factor: 2, Max: ms}, QueueRetry{First: RetryAtOnce}},
	} {
		got := QueueConfig{Retry: c.says}.withDefaults()
		if got.Retry != c.means {
			t.Errorf("%s: %+v, not %+v", name, got.Retry, c.means)
		}
		if again := got.withDefaults(); again.Retry != got.Retry {
			t.Errorf("%s: then it is %+v", name, again.Retry)
		}
		if err := got.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatFailsWaitsByDefault(t *testing.T) {
	b := runningBed(t, storagefake.New())
	for name, c := range map[string]struct {
		config QueueConfig
		waits  bool
	}{
		"patient": {QueueConfig{}, true},
		"at-once": {QueueConfig{Retry: QueueRetry{First: RetryAtOnce}}, false},
	} {
		if c.waits { // as by default, but for longer than this test
			c.config = c.config.withDefaults()
			c.config.Retry.First = time.Minute
		}
		q := b.running(name, c.config)
		b.publish(b.publisher("", ExchangePublisherOptions{}), &Message{RoutingKey: name})
		d := b.get(q, 1)[0]
		mustDo(t, d.Nack())
		tq := &topicQueue{Queue: q, t: t, sys: b.System}
		tq.awaitStats("it to wait", func(s QueueStats) bool { return s.InFlight == 0 && (s.Delayed == 1) == c.waits })
	}
}

// A queue that was declared when the default was not to wait waits now, is no conflict,
// and can be altered.
func TestQueuesThatWereDeclaredBeforeHaveTheDefaultsOfNow(t *testing.T) {
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	before := QueueConfig{}.withDefaults()
	before.Retry = QueueRetry{}
	d := mustDirectory(t, s)
	old := must[*queueInfo](t)(amend[*queueInfo](ctx, d, &declareQueue{Name: "old", Shard: shardOf("old"), Config: before}))
	altered := before
	altered.TTL = time.Hour
	must[*queueInfo](t)(amend[*queueInfo](ctx, d, &alterQueue{"old", altered, &before}))
	for range 2 {
		again := must[*queueInfo](t)(s.declareQueue(ctx, "old", QueueConfig{TTL: time.Hour}))
		if again.id != old.id || again.config().Retry.First != DefaultQueueRetryFirst {
			t.Errorf("it is %d with %+v", again.id, again.config().Retry)
		}
		if _, err := s.declareQueue(ctx, "old", QueueConfig{TTL: time.Hour, Retry: QueueRetry{First: RetryAtOnce}}); !errors.Is(err, ErrConflict) {
			t.Errorf("another policy: %v", err)
		}
		s = openedAgain(t, s, store)
	}
}
