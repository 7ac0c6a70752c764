package actor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// kept is what a program keeps of a message: it can be said with what is exported.
type kept struct {
	at    actor.MessageRef
	cause actor.QueueCause
	is    actor.QueueOutcome
	in    actor.QueueCounts
}

func TestProgramsSayWhatBecameOfMessages(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	sys := actor.NewSystem(storagefake.New())
	defer func() { do(t, sys.Close(context.WithoutCancel(ctx))) }()
	q := must(sys.DeclareQueue(ctx, "q", actor.QueueConfig{}))(t)
	p := must(must(sys.Exchange(ctx, ""))(t).NewPublisher(ctx, actor.ExchangePublisherOptions{}))(t)
	must(p.PublishSync(ctx, &actor.Message{RoutingKey: "q", Body: []byte("now")}))(t)
	must(p.PublishSync(ctx, &actor.Message{RoutingKey: "q", Body: []byte("later"), Delay: time.Hour}))(t)
	do(t, p.Close(ctx))

	d := must(q.Get(ctx, 1, time.Second))(t)[0]
	k := kept{d.Position(), d.Cause(), must(q.Outcome(ctx, d.Position()))(t), must(q.Stats(ctx))(t).QueueCounts}
	if k.cause != actor.QueueCauseNone || k.is.Status != actor.QueueStatusInFlight || k.is.At().IsZero() || k.in.InFlight != 1 || k.in.Delayed != 1 {
		t.Errorf("in hand: %+v", k)
	}
	if err := q.Drop(ctx, k.at); !errors.Is(err, actor.ErrInFlight) {
		t.Errorf("to drop what is in flight: %v", err)
	}
	do(t, d.AckSync(ctx))
	if err := q.Drop(ctx, k.at); !errors.Is(err, actor.ErrNoMessage) {
		t.Errorf("to drop what was acknowledged: %v", err)
	}
	later := must(q.Peek(ctx, 1))(t)[0]
	if later.Status != actor.QueueStatusDelayed || later.Reason != actor.QueueReasonNone || !later.At().Equal(later.Due) {
		t.Errorf("%q is %v, at %v, and due at %v", later.Body, later.Status, later.At(), later.Due)
	}
	do(t, q.Drop(ctx, later.Position))

	c := must(q.Subscribe(ctx, actor.ConsumeOptions{}))(t)
	do(t, c.Close(ctx))
	if n, err := q.Replay(ctx, c, actor.QueueReplay{}); n != 0 || !errors.Is(err, actor.ErrNoConsumer) {
		t.Errorf("to replay to a consumer that is closed: %d, %v", n, err)
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		do(t, err)
		return v
	}
}
