package queues

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/actor"
)

// ErrNoEngine: a queue or an exchange was used as an end of a topology where there is no
// engine.
var ErrNoEngine = errors.New("queues and exchanges need an engine, and there is none here: run the topology with runtime.Run or an Engine, or give it a slice in a test")

// inEngine is the Engine that a topology runs in.
type inEngine struct{ sys *actor.System }

func (e inEngine) System() *actor.System { return e.sys }

func engineOf(ctx context.Context) (Engine, error) {
	sys, ok := actor.SystemFrom(ctx)
	if !ok {
		return nil, ErrNoEngine
	}
	return inEngine{sys}, nil
}

// open declares the queue in the engine that ctx carries.
func (q Queue[T]) open(ctx context.Context) (*actor.Queue, error) {
	e, err := engineOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("queue %s: %w", q.name, err)
	}
	return q.Declare(ctx, e)
}
