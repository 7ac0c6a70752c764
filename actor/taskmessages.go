package actor

import (
	"time"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/flow"
)

// Messages between the actors of a job. Commands are imperative, events past
// tense. Only parcels and filled batches are data; all else passes them.

// parcel carries records, a watermark, a barrier or an end to a task.
type parcel struct {
	dataflow.Parcel
	input   int // of the receiver: over all its heads and channels
	attempt *attempt
}

// MailboxBytes makes a parcel data.
func (p *parcel) MailboxBytes() int { return p.Bytes + parcelOverhead }

// Refused ends the attempt: credit keeps mailboxes from filling up, so a
// refusal means that records would be lost.
func (p *parcel) Refused(err error) { p.attempt.fail("edge", err) }

const parcelOverhead = 128

// filled is what a split's reader has read.
type filled struct {
	attempt  *attempt
	split    int
	session  int // of the split's reader
	batch    any
	records  int
	position []byte
	lag      int64
	began    time.Time // to read the batch; only if somebody wants to know
	ended    time.Time
	err      error // io.EOF, a *dataflow.RecordError, or what ended the reader
}

// begin tells a task that all others are there.
type begin struct{}

// granted is demand from a task further down.
type granted struct {
	edge, target int // of the sender
	grant        flow.Grant
}

// resume tells an actor to go on with what it put aside to let control messages in.
type resume struct{}

// rested tells a task that it may encode more of a snapshot.
type rested struct{}

// tick tells a task to look at the clock.
type tick struct{}

// takeCheckpoint tells a source to send the barrier of a checkpoint.
type takeCheckpoint struct {
	number uint64
	stop   bool // and to read no further
}

// readToEnd tells a source in the middle of a topology that what it reads now
// is all there will be.
type readToEnd struct{}

// checkpointAborted tells a task to wait for a checkpoint no longer.
type checkpointAborted struct{ number uint64 }

// checkpointCompleted tells a task that a checkpoint is complete: sinks commit.
type checkpointCompleted struct{ number uint64 }

// partTaken brings the coordinator a task's part of a checkpoint.
type partTaken struct {
	number uint64
	task   string
	part   checkpoint.Part
}

// committed tells the coordinator that a sink has made a checkpoint visible.
type committed struct {
	number uint64
	task   string
}

// inputEnded tells the coordinator that a task without successors has seen the
// end of all its inputs.
type inputEnded struct{ task string }

// chunkWritten ends the writing of a chunk.
type chunkWritten struct {
	chunk *chunk
	seq   uint64
	err   error
}

// lettersStored ends the wait for dead letters.
type lettersStored struct {
	number uint64
	err    error
}

// manifestWritten ends the writing of a manifest.
type manifestWritten struct {
	pending  *checkpoint.Pending
	manifest *checkpoint.Manifest
	kept     checkpoint.Retained
	err      error
}

// tidied ends the removal of old checkpoints.
type tidied struct {
	replaced []checkpoint.Replacement
	err      error
}

// requestCheckpoint asks the coordinator for a checkpoint outside of the interval.
type requestCheckpoint struct {
	request checkpoint.Request
	answer  func(checkpoint.Manifest, error) // may be nil; must not block
}

// attemptPrepared tells the job that its tasks are restored and ready.
type attemptPrepared struct {
	attempt *attempt
	ready   *readyTasks
	err     error
}

// attemptFailed tells the job that a task cannot go on.
type attemptFailed struct {
	attempt int
	task    string
	err     error
}

// attemptDone tells the job that its last checkpoint is complete and committed.
type attemptDone struct {
	attempt  int
	manifest *checkpoint.Manifest
	stopped  bool
}

// attemptEnded tells the job that nothing of an attempt is left.
type attemptEnded struct{ attempt int }

// restartJob begins the attempt that follows the one of that serial number: the
// job may be gone when it comes, and another of its name be there.
type restartJob struct{ after uint64 }

// stopJob asks the job to take a last checkpoint and stop.
type stopJob struct{}

// killJob ends the job at once, without a checkpoint.
type killJob struct{ err error }
