package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of commands. Test for them with errors.Is; the message says what was
// wrong and how to mend it. But for Commit, a command that fails changes nothing.
var (
	// ErrFenced: the sender does not own the partition with that epoch, or is
	// no member any more. It must stop working on the partition, or join again.
	ErrFenced = errors.New("fenced")
	// ErrRewound is an ErrFenced: the sender still owns the partition, but has
	// yet to follow a rewind. A Seek with the new epoch is on its way to it.
	ErrRewound = fmt.Errorf("%w by a rewind", ErrFenced)
	// ErrUnknownMember is an ErrFenced: there is no such member. It left, its
	// session ran out, or the group was restored without it. It must join again.
	ErrUnknownMember = fmt.Errorf("%w: not a member", ErrFenced)
	// ErrBackwards: a commit would lower the committed offset.
	ErrBackwards = errors.New("a commit cannot go backwards")
	// ErrGroupActive: the group has members, and this needs it to have none.
	ErrGroupActive = errors.New("the group has members")
	// ErrUnknownPartition: the group does not know the topic or the partition.
	ErrUnknownPartition = errors.New("unknown partition")
	// ErrConflict: the group runs with another assignor.
	ErrConflict = errors.New("conflicts with the group's other members")
	// ErrInvalid: the command is malformed.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: a limit of Limits is exceeded; the message names it.
	ErrLimit = errors.New("over a limit")
	// ErrParkingFull is an ErrLimit: no more records can be parked. The
	// partition must stall until some were released or skipped.
	ErrParkingFull = fmt.Errorf("%w: parking is full", ErrLimit)
	// ErrNotParked: there is no such parked key or record.
	ErrNotParked = errors.New("not parked")
	// ErrReplaying: the parked key was released and is being replayed.
	ErrReplaying = errors.New("being replayed")
)

// Errors of Restore and Replay.
var (
	// ErrCorrupt: the bytes are not what this package wrote, or do not follow
	// the state.
	ErrCorrupt = errors.New("the group's stored state is corrupt")
	// ErrVersion: the bytes were written by a newer release.
	ErrVersion = errors.New("the group's stored state was written by a newer release: update Troupe")
)

// ActiveError is an ErrGroupActive that names the members.
type ActiveError struct {
	Members []string // their ids, as assignors order them
	Remedy  string   // what to do about it
}

// activeNamed is how many members the text of an ActiveError names.
const activeNamed = 5

// Error names the first members.
func (e *ActiveError) Error() string {
	names := e.Members
	if more := len(names) - activeNamed; more > 0 {
		names = append(slices.Clone(names[:activeNamed]), fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%v (%s): %s", ErrGroupActive, strings.Join(names, ", "), e.Remedy)
}

// Unwrap makes it an ErrGroupActive.
func (e *ActiveError) Unwrap() error { return ErrGroupActive }

// Refusal is a partition that a commit could not be made for.
type Refusal struct {
	Topic     string
	Partition int
	Err       error
}

// CommitError says which partitions of a commit were refused. The others were
// committed. errors.Is looks at the reasons of all refusals.
type CommitError struct{ Refusals []Refusal }

// Error names the first refusal and counts the others.
func (e *CommitError) Error() string {
	first := e.Refusals[0]
	text := fmt.Sprintf("commit of topic %s, partition %d: %v", first.Topic, first.Partition, first.Err)
	if more := len(e.Refusals) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more partitions)", more)
	}
	return text
}

// Unwrap returns the reasons.
func (e *CommitError) Unwrap() []error {
	errs := make([]error, len(e.Refusals))
	for i, r := range e.Refusals {
		errs[i] = r.Err
	}
	return errs
}
