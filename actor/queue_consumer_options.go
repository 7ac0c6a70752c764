package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/queue"
)

// Defaults and limits of a queue's consumer.
const (
	DefaultPrefetch = 256
	PrefetchMax     = 65_536
	// DeathErrorBytes is how much of the error that ended a message its dead letter
	// says: see Death.
	DeathErrorBytes = 1024
)

// QueueHandler works on a message. When it returns nil the message is acknowledged,
// unless it settled it itself; when it returns an error, or panics, the attempt has
// failed, and the queue's retry policy decides when the message comes again. Errors
// can say otherwise: see ErrReject, ErrReturn and RetryIn. ctx ends when the result is
// not wanted any more: the queue has taken the message back, or the consumer has
// closed and waits no longer.
type QueueHandler func(ctx context.Context, d *QueueDelivery) error

// What a QueueHandler can say with its error, or with one that wraps it.
var (
	// ErrReject: the message is not to be tried again. It is dead-lettered, or
	// dropped and counted where there is no dead-letter exchange.
	ErrReject = errors.New("the message is rejected")
	// ErrReturn: the message was not worked on. It goes back to its place, and no
	// attempt is charged.
	ErrReturn = errors.New("the message is given back")
)

// ErrExclusive: the queue has an exclusive consumer, or others where one was to be that.
var ErrExclusive = queue.ErrExclusive

// RetryIn is an error with which a QueueHandler says when the message is to be tried
// again, whatever the retry policy of the queue says; a delay of 0 is at once. The
// attempt counts as failed.
func RetryIn(delay time.Duration, err error) error { return &retryIn{delay, err} }

type retryIn struct {
	delay time.Duration
	err   error
}

func (e *retryIn) Error() string { return fmt.Sprintf("%v (again in %v)", e.err, e.delay) }

func (e *retryIn) Unwrap() error { return e.err }

// ConsumeOptions configure a consumer of a queue. The zero value works.
type ConsumeOptions struct {
	// Name is shown where consumers are listed. Default "consumer".
	Name string
	// Prefetch is how many messages the consumer has in its hands at most, being
	// worked on or waiting for that. More are quicker; fewer are shared out more
	// evenly between consumers, and are overtaken by urgent ones sooner. 1 to
	// PrefetchMax; default DefaultPrefetch.
	Prefetch int
	// Concurrency is how many handlers run at a time. With more than one, messages
	// are done in no order, but for those of one group (QueueConfig.GroupBy), of
	// which there is one in hand at a time. 1 to ConcurrencyMax; default 1.
	Concurrency int
	// Priority: consumers of a higher one are given messages first, as long as they
	// have room.
	Priority int
	// Exclusive refuses other consumers, and is refused where there are some.
	Exclusive bool
	// ManualAck leaves it to the handler to settle messages, also after it has
	// returned. An error of its settles a message that is not settled yet.
	ManualAck bool
	// AtMostOnce acknowledges messages before their handler runs: whatever becomes
	// of it, they do not come again.
	AtMostOnce bool
	// Hold is for a consumer that is done with a message long before it settles it, and
	// settles many together: a job, with each of its checkpoints. As long as it lives, the
	// queue takes nothing back from it; and what it held in a crash comes again without
	// being suspected of it, so that no attempt is charged. A message that kills the
	// process each time is not found out: that is for others than such consumers.
	Hold bool
	// HandlerTimeout ends the context of a handler that takes longer. When it
	// returns, the attempt has failed like any other. Default: none.
	HandlerTimeout time.Duration
	// DrainTimeout is how long handlers may go on when the consumer closes. Then
	// their messages are given back, and an attempt is charged. Default 10 s.
	DrainTimeout time.Duration
	// Listener is told what becomes of the consumer.
	Listener ConsumeListener
}

// ConsumeListener is told what happens to a consumer of a queue. Each function may be
// nil, and none must block.
type ConsumeListener struct {
	// Cancelled: the queue was deleted, or will not have the consumer (any more).
	// The consumer has ended, and will not come back.
	Cancelled func(err error)
	// Interrupted: the queue has failed, or is out of reach. What the consumer had
	// in its hands comes again. The consumer subscribes anew by itself.
	Interrupted func(err error)
	// Refused: a settlement came too late, or twice: see ErrSettled.
	Refused func(err error)
	// Failed: a handler has failed.
	Failed func(d *QueueDelivery, err error)
	// Active: the consumer is, or is no longer, the one that a queue with a single
	// active consumer delivers to.
	Active func(active bool)
}

func (o *ConsumeOptions) withDefaults() {
	if o.Name == "" {
		o.Name = "consumer"
	}
	orDefault(&o.Prefetch, DefaultPrefetch)
	orDefault(&o.Concurrency, 1)
	orDefault(&o.DrainTimeout, DefaultDrainTimeout)
}

// consumerNameMax leaves room for what makes the name of each start another.
const consumerNameMax = 128

func (o *ConsumeOptions) check() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	require(len(o.Name) <= consumerNameMax, "Name has %d bytes: it can have %d", len(o.Name), consumerNameMax)
	require(o.Prefetch >= 1 && o.Prefetch <= PrefetchMax, "Prefetch is %d: it must be 1 to %d (PrefetchMax)", o.Prefetch, PrefetchMax)
	require(o.Concurrency >= 1 && o.Concurrency <= ConcurrencyMax, "Concurrency is %d: it must be 1 to %d (ConcurrencyMax)", o.Concurrency, ConcurrencyMax)
	require(o.HandlerTimeout >= 0, "HandlerTimeout is %v: it cannot be negative", o.HandlerTimeout)
	require(o.DrainTimeout > 0, "DrainTimeout is %v: it must be positive", o.DrainTimeout)
	require(!o.ManualAck || !o.AtMostOnce, "ManualAck and AtMostOnce exclude each other")
	return errors.Join(errs...)
}
