package queue

import (
	"errors"
	"fmt"
)

// Errors of commands. Test for them with errors.Is; the message says what was
// wrong and how to mend it. A command that fails changes nothing, unless it says
// otherwise.
var (
	// ErrInvalid: the command is malformed.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: a limit of Limits is exceeded; the message names it.
	ErrLimit = errors.New("over a limit")
	// ErrUnknownConsumer: there is no such consumer (any more). What it had was
	// given back.
	ErrUnknownConsumer = errors.New("unknown consumer")
	// ErrUnknownTag: nothing was ever delivered to the consumer under that tag.
	ErrUnknownTag = errors.New("unknown delivery tag")
	// ErrSettled: the delivery was settled before, or taken back: see SettledError.
	ErrSettled = errors.New("already settled")
	// ErrExclusive: the queue has an exclusive consumer, or others.
	ErrExclusive = errors.New("exclusive access refused")
	// ErrUnknownMessage: the queue does not have the message (any more).
	ErrUnknownMessage = errors.New("unknown message")
	// ErrInFlight: the message is in the hands of a consumer, or being
	// dead-lettered.
	ErrInFlight = errors.New("in flight")
)

// Errors of Restore and Replay.
var (
	// ErrCorrupt: the bytes are not what this package wrote, or do not follow
	// the state.
	ErrCorrupt = errors.New("the queue's stored state is corrupt")
	// ErrVersion: the bytes were written by a newer release.
	ErrVersion = errors.New("the queue's stored state was written by a newer release: update Troupe")
)

// SettledError is an ErrSettled that says what became of the delivery.
type SettledError struct {
	Consumer string
	Tag      uint64
	Cause    Cause // why it was taken back; CauseNone: the consumer itself settled it
}

// Error says what became of the delivery.
func (e *SettledError) Error() string {
	if e.Cause == CauseNone {
		return fmt.Sprintf("%v: %q settled delivery %d before", ErrSettled, e.Consumer, e.Tag)
	}
	return fmt.Sprintf("%v: delivery %d was taken back from %q (%v) and may be with another consumer", ErrSettled, e.Tag, e.Consumer, e.Cause)
}

// Unwrap makes it an ErrSettled.
func (e *SettledError) Unwrap() error { return ErrSettled }
