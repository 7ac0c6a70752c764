package actor

import (
	"context"
	"fmt"
	"sync"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// asks is the table of requests that wait for their answer. It is one process;
// the request id inside the sender's PID says whom an answer is for, so a
// request registers nothing and starts no timer.
type asks struct {
	pid *pactor.PID

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]chan any
}

func newAsks(actors *pactor.ActorSystem) *asks {
	a := &asks{waiting: map[uint32]chan any{}}
	a.pid, _ = actors.ProcessRegistry.Add(a, "troupe-asks")
	return a
}

// Ask sends a message and waits for what the actor responds with. A response
// that is an error, an actor that has stopped, a full mailbox and the end of ctx
// all become the error. The answer to a request that was given up is ignored.
func Ask[T any](ctx context.Context, s *System, to *pactor.PID, message any) (T, error) {
	var zero T
	id, answer := s.asks.open()
	defer s.asks.close(id)
	sender := &pactor.PID{Address: s.asks.pid.Address, Id: s.asks.pid.Id, RequestId: id}
	s.root.RequestWithCustomSender(to, message, sender)
	select {
	case <-ctx.Done():
		return zero, fmt.Errorf("ask actor %s: %w", to.Id, ctx.Err())
	case got := <-answer:
		switch got := got.(type) {
		case error:
			return zero, got
		case *pactor.DeadLetterResponse:
			return zero, fmt.Errorf("ask actor %s: %w", to.Id, ErrStopped)
		case T:
			return got, nil
		default:
			return zero, fmt.Errorf("ask actor %s: it answered %T with a %T, want %T", to.Id, message, got, zero)
		}
	}
}

func (a *asks) open() (uint32, chan any) {
	answer := make(chan any, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.last++; a.last == 0 || a.waiting[a.last] != nil; a.last++ {
	}
	a.waiting[a.last] = answer
	return a.last, answer
}

func (a *asks) close(id uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, id)
}

// SendUserMessage receives an answer. Only the first one for a request counts.
func (a *asks) SendUserMessage(to *pactor.PID, message any) {
	a.mu.Lock()
	answer := a.waiting[to.RequestId]
	delete(a.waiting, to.RequestId)
	a.mu.Unlock()
	if answer != nil {
		_, inner, _ := pactor.UnwrapEnvelope(message)
		answer <- inner
	}
}

// SendSystemMessage ignores everything: a request is not supervised.
func (a *asks) SendSystemMessage(*pactor.PID, any) {}

// Stop does nothing: the table lives as long as its system.
func (a *asks) Stop(*pactor.PID) {}
