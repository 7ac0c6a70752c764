package actor

import (
	"context"
	"errors"
	"strings"
	"testing"

	pactor "github.com/asynkron/protoactor-go/actor"
)

func testSystem(t testing.TB, opts ...Option) *System {
	t.Helper()
	s := NewSystem(nil, opts...)
	t.Cleanup(func() {
		if err := s.Close(testContext(t)); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// receive makes an actor of a function.
func receive(f func(pactor.Context)) func() pactor.Actor {
	return func() pactor.Actor { return pactor.ReceiveFunc(f) }
}

func spawn(t testing.TB, s *System, name string, f func(pactor.Context), opts ...SpawnOption) *pactor.PID {
	t.Helper()
	pid, err := s.Spawn(name, receive(f), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAsk(t *testing.T) {
	s := testSystem(t)
	broken := errors.New("broken")
	pid := spawn(t, s, "echo", func(ctx pactor.Context) {
		switch m := ctx.Message().(type) {
		case int:
			ctx.Respond(m + 1)
			ctx.Respond(m + 2) // a second answer is ignored
		case error:
			ctx.Respond(m)
		case string:
			panic(m)
		}
	})
	ctx := testContext(t)
	if got, err := Ask[int](ctx, s, pid, 41); got != 42 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := Ask[int](ctx, s, pid, broken); !errors.Is(err, broken) {
		t.Errorf("an error as answer: %v", err)
	}
	if _, err := Ask[string](ctx, s, pid, 1); err == nil || !strings.Contains(err.Error(), "want string") {
		t.Errorf("an answer of another type: %v", err)
	}
	var p *PanicError
	if _, err := Ask[int](ctx, s, pid, "boom"); !errors.As(err, &p) {
		t.Errorf("a panic: %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Ask[int](done, s, pid, 1.5); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
	s.Stop(pid)
	await(t, s.Watch(pid), "the actor to stop")
	if _, err := Ask[int](ctx, s, pid, 1); !errors.Is(err, ErrStopped) {
		t.Errorf("a stopped actor: %v", err)
	}
}

func TestPanicRestartsTheActorWithItsMailbox(t *testing.T) {
	s := testSystem(t)
	started, got := make(chan struct{}, 9), make(chan int, 9)
	pid := spawn(t, s, "shaky", func(ctx pactor.Context) {
		switch m := ctx.Message().(type) {
		case *pactor.Started:
			started <- struct{}{}
		case int:
			if m == 0 {
				panic("zero")
			}
			got <- m
		}
	})
	await(t, started, "the start")
	s.Send(pid, 0)
	s.Send(pid, 1)
	await(t, started, "the restart")
	if m := await(t, got, "the message after the one that failed"); m != 1 {
		t.Errorf("got %d, want 1", m)
	}
}

func TestAnActorThatKeepsFailingIsGivenUp(t *testing.T) {
	failed := make(chan error, 1)
	s := NewSystem(nil, WithOnFailure(func(_ string, err error) { failed <- err }))
	defer s.Close(testContext(t))
	v := s.Supervision()
	v.RestartsMax, v.BackoffInitial = 2, 1
	s.root = s.actors.Root.Copy().WithGuardian(v)
	starts := make(chan struct{}, 9)
	pid := spawn(t, s, "hopeless", func(ctx pactor.Context) {
		if _, ok := ctx.Message().(*pactor.Started); ok {
			starts <- struct{}{}
			panic("no")
		}
	})
	err := await(t, failed, "the failure")
	var p *PanicError
	if !errors.As(err, &p) || !strings.Contains(err.Error(), "hopeless") {
		t.Errorf("failure says %q, want the actor and the panic", err)
	}
	await(t, s.Watch(pid), "the actor to stop")
	if n := len(starts); n != 3 {
		t.Errorf("%d starts, want 3", n)
	}
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	v := &Supervision{BackoffInitial: 10, BackoffMax: 75}
	for i, want := range []int64{10, 20, 40, 75, 75} {
		if got := int64(v.backoff(i + 1)); got != want {
			t.Errorf("pause %d is %d, want %d", i+1, got, want)
		}
	}
}

func TestMessagesForAStoppedActorAreRefused(t *testing.T) {
	s := testSystem(t)
	busy, release := make(chan struct{}), make(chan struct{})
	pid := spawn(t, s, "leaver", func(ctx pactor.Context) {
		if _, ok := ctx.Message().(control); ok {
			close(busy)
			<-release
		}
	})
	s.Send(pid, control(1))
	await(t, busy, "the actor to be busy")
	told := make(chan error, 2)
	waiting := &sized{told: func(err error) { told <- err }}
	s.Send(pid, waiting) // waits in the mailbox while the actor stops
	s.Stop(pid)
	close(release)
	if err := await(t, told, "a refusal"); !errors.Is(err, ErrStopped) {
		t.Errorf("refused with %v, want ErrStopped", err)
	}
	await(t, s.Watch(pid), "the actor to stop")
	s.Send(pid, waiting) // goes to the dead letters
	if err := await(t, told, "a refusal"); !errors.Is(err, ErrStopped) {
		t.Errorf("refused with %v, want ErrStopped", err)
	}
	s.Send(pid, "nobody can be told")
	if n := s.DeadLetters(); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	s.Mailboxes(func(id string, _ *Mailbox) { t.Errorf("mailbox of %s is still listed", id) })
}

func TestAnActorThatPanicsWhileStoppingStillStops(t *testing.T) {
	s := testSystem(t)
	once := true
	pid := spawn(t, s, "stubborn", func(ctx pactor.Context) {
		if _, ok := ctx.Message().(*pactor.Stopping); ok && once {
			once = false
			panic("not now")
		}
	})
	s.Stop(pid)
	await(t, s.Watch(pid), "the actor to stop")
}

func TestCloseStopsActorsAndWaitsForBackgroundWork(t *testing.T) {
	s := NewSystem(nil)
	stopped, ended := make(chan struct{}), false
	spawn(t, s, "one", func(ctx pactor.Context) {
		if _, ok := ctx.Message().(*pactor.Stopped); ok {
			close(stopped)
		}
	})
	s.Go(func(ctx context.Context) { <-ctx.Done(); ended = true })
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	await(t, stopped, "the actor to stop")
	if !ended {
		t.Error("Close did not wait for background work")
	}
	if s.Go(func(context.Context) {}) {
		t.Error("background work was accepted after Close")
	}
	if _, err := s.Spawn("late", receive(func(pactor.Context) {})); !errors.Is(err, ErrClosed) {
		t.Errorf("spawn after close: %v, want ErrClosed", err)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestSystemTravelsInTheContext(t *testing.T) {
	s := testSystem(t)
	if got, ok := SystemFrom(WithSystem(context.Background(), s)); !ok || got != s {
		t.Error("the system was not found in its context")
	}
	if _, ok := SystemFrom(context.Background()); ok {
		t.Error("a system was found in an empty context")
	}
}

func BenchmarkPingPong(b *testing.B) {
	s := testSystem(b)
	back := make(chan struct{})
	pong := spawn(b, s, "pong", func(ctx pactor.Context) {
		if m, ok := ctx.Message().(control); ok {
			ctx.Send(ctx.Sender(), m)
		}
	})
	ping := spawn(b, s, "ping", func(ctx pactor.Context) {
		switch m := ctx.Message().(type) {
		case int:
			ctx.Request(pong, control(m))
		case control:
			if m > 0 {
				ctx.Request(pong, m-1)
				return
			}
			back <- struct{}{}
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	s.Send(ping, b.N)
	<-back
}
