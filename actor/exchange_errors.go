package actor

import (
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/routing"
)

// Errors of exchanges and queues. Test for them with errors.Is.
var (
	// ErrNoExchange: there is no exchange of that name.
	ErrNoExchange = errors.New("there is no such exchange")
	// ErrNoQueue: there is no queue of that name.
	ErrNoQueue = errors.New("there is no such queue")
	// ErrUnroutable: no queue and no topic is bound that the message matches.
	ErrUnroutable = errors.New("no queue and no topic takes the message")
	// ErrQueueFull: a queue that the message is for is full, and has RejectPublish;
	// the error names it. Nothing was published, to no queue.
	ErrQueueFull = fmt.Errorf("%w: the queue is full", queue.ErrLimit)
	// ErrQueuePaused: publishing to a queue that the message is for is paused; the
	// error names it. Nothing was published, to no queue.
	ErrQueuePaused = errors.New("publishing is paused")
	// ErrInUse: what was to be deleted only if unused is in use.
	ErrInUse = routing.ErrInUse
	// ErrLocked: the queue is exclusive to the handle that has declared it.
	ErrLocked = errors.New("the queue is exclusive to the handle that has declared it")
	// ErrInternalExchange: only other exchanges, and dead letters, reach the exchange.
	ErrInternalExchange = routing.ErrInternal
	// ErrInvalid: what was asked for makes no sense; the error says why.
	ErrInvalid = routing.ErrInvalid
	// ErrOverLimit: a limit on exchanges, bindings, names or keys is exceeded; the
	// error names it.
	ErrOverLimit = routing.ErrLimit
	// ErrSettled: the delivery was settled before, or taken back.
	ErrSettled = queue.ErrSettled
)

// ofQueue has an error of a queue's core be one of this package as well, in the same words.
func ofQueue(err error) error {
	switch {
	case errors.Is(err, queue.ErrInvalid):
		return coreError{err, ErrInvalid}
	case errors.Is(err, queue.ErrLimit):
		return coreError{err, ErrOverLimit}
	}
	return err
}

// coreError is an error of a core, and one of this package.
type coreError struct{ of, is error }

func (e coreError) Error() string { return e.of.Error() }

func (e coreError) Unwrap() []error { return []error{e.of, e.is} }
