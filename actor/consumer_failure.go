package actor

import (
	"context"
	"fmt"
	"time"
)

// FailurePolicy decides what becomes of a record whose handler returned an error
// or panicked. It is called by the worker that had the record, for several records
// at once, and may take its time: publish the record elsewhere, say. The record
// counts as in flight until it has returned.
type FailurePolicy interface {
	Failed(ctx context.Context, d *Delivery, err error) Verdict
}

// Verdict is what a FailurePolicy decides. The zero value stops the partition.
type Verdict struct {
	action verdictAction
	after  time.Duration
	topic  string
	err    error
}

type verdictAction uint8

const (
	verdictStop verdictAction = iota
	verdictDone
	verdictRetry
	verdictLetter
	verdictPark
	verdictLater
	verdictUnwanted // of no policy: the consumer has no use for a verdict any more
)

// Stop stops work on the partition, with an error that Consumer.Err and Close
// report. The record is not done, and is delivered again to the next owner.
func Stop(err error) Verdict { return Verdict{err: err} }

// Settled says that the record is done with: it was skipped, or put elsewhere.
func Settled() Verdict { return Verdict{action: verdictDone} }

// RetryAfter delivers the record again after a pause. Meanwhile the later records
// of its key wait, and all later ones if Concurrency is 1.
func RetryAfter(pause time.Duration) Verdict { return Verdict{action: verdictRetry, after: pause} }

// ToTopic puts the record into a topic, as DeadLetter does, and is done with it.
func ToTopic(topic string) Verdict { return Verdict{action: verdictLetter, topic: topic} }

// Park sets the record's key aside: see ParkKey.
func Park() Verdict { return Verdict{action: verdictPark} }

// StopOnFailure is the FailurePolicy that stops the partition, and nothing else. It is the
// default. The partition goes on after a Seek or a rewind, or with its next owner.
type StopOnFailure struct{}

// Failed returns Stop.
func (StopOnFailure) Failed(_ context.Context, _ *Delivery, err error) Verdict { return Stop(err) }

// HandlerError is why work on a partition has stopped.
type HandlerError struct {
	TopicPartition
	Offset  uint64
	Attempt int
	Err     error
}

func (e *HandlerError) Error() string {
	return fmt.Sprintf("topic %s, partition %d, offset %d: the handler failed at attempt %d, and the partition has stopped: %v",
		e.Topic, e.Partition, e.Offset, e.Attempt, e.Err)
}

// Unwrap returns the error of the handler.
func (e *HandlerError) Unwrap() error { return e.Err }
