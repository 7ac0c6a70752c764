package actor

import (
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/storage"
)

// Errors of the log. Test for them with errors.Is.
var (
	// ErrFenced: another process owns the partition now. This one must not
	// write to it any more.
	ErrFenced = storage.ErrFenced
	// ErrFull: the store has no space left. Nothing was stored; the partition
	// can be read, and tries again with the next append.
	ErrFull = storage.ErrFull
	// ErrUnknown: the process ended, or the partition failed, while an append
	// was under way. It may have been stored or not.
	ErrUnknown = storage.ErrUnknown
	// ErrCorrupt: stored data is damaged.
	ErrCorrupt = storage.ErrCorrupt
	// ErrOffsetOutOfRange: the partition does not hold that offset: it was
	// trimmed, or is beyond the end. See OffsetError.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrBackpressure: as much as may wait already does. Nothing was stored.
	ErrBackpressure = errors.New("too much is waiting to be appended")
	// ErrEnd: there is nothing more to read at the moment.
	ErrEnd = errors.New("end of the partition")
)

// OffsetError is an ErrOffsetOutOfRange and says which offsets there are.
type OffsetError struct {
	Topic     string
	Partition int
	Offset    uint64 // that was asked for
	First     uint64 // the oldest there is
	Next      uint64 // the one that the next record will get
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("topic %s, partition %d: offset %d is out of range: it holds offsets from %d to before %d",
		e.Topic, e.Partition, e.Offset, e.First, e.Next)
}

// Is makes it an ErrOffsetOutOfRange.
func (e *OffsetError) Is(target error) bool { return target == ErrOffsetOutOfRange }

// CorruptError is an ErrCorrupt and says where. A reader may go on behind it
// with Reader.Seek.
type CorruptError struct {
	Topic     string
	Partition int
	Offset    uint64 // the first offset that cannot be read
	Seq       uint64 // sequence of the log's entry
	Err       error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("topic %s, partition %d: the batch with offset %d (entry %d of its log) cannot be read: %v",
		e.Topic, e.Partition, e.Offset, e.Seq, e.Err)
}

// Is makes it an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns what is wrong with the bytes.
func (e *CorruptError) Unwrap() error { return e.Err }

// Requests to a partition. The answer to read goes into its channel; the others
// are sent with Ask and answered with the type that is named, or an error.

// read asks for batches from an offset on. At the end of the partition the answer
// comes with the next append.
type read struct {
	offset   uint64
	seq      uint64 // where the batch is believed to begin; 0: not known
	log      uint64 // in which log: see block
	tries    int    // how often what was to be read had gone meanwhile
	bytesMax int
	answer   chan<- readReply // has room for one
	then     func(readReply)  // is called with the answer instead, if there is one; it must not block
}

// reply answers the read. Only the first answer counts, and nobody may be left
// who wants it.
func (r read) reply(reply readReply) {
	if r.then != nil {
		r.then(reply)
		return
	}
	select {
	case r.answer <- reply:
	default:
	}
}

// Refused answers a read that the partition did not handle.
func (r read) Refused(err error) { r.reply(readReply{err: err}) }

// readReply has at least one block or an error.
type readReply struct {
	blocks []block
	err    error
}

// unread withdraws the read that waits with this channel for an answer.
type unread struct{ answer chan<- readReply }

// askInfo asks for a PartitionInfo.
type askInfo struct{}

// askBounds is answered with Bounds.
type askBounds struct{}

// askOffsetAt is answered with the offset, a uint64, of the first batch that
// was appended at or after a time in Unix milliseconds.
type askOffsetAt struct{ millis int64 }

// askTrim drops whole batches below an offset, and is answered with the new Bounds.
type askTrim struct{ before uint64 }

// Bounds are the offsets that a partition holds: from First to before Next.
type Bounds struct{ First, Next uint64 }

// Results of a partition's I/O, sent to itself. The run says which incarnation
// they are for: after a restart the results of the one before are stale.

type opened struct {
	run uint64
	*openLog
	err error
}

type flown struct {
	run uint64
	*flight
}

type trimLocated struct {
	run  uint64
	trim *trim
	err  error
}

type trimmed struct {
	run  uint64
	trim *trim
	err  error
}

// IgnoreDeadLetterLogging: nobody misses a result when the actor has stopped.
func (opened) IgnoreDeadLetterLogging()      {}
func (flown) IgnoreDeadLetterLogging()       {}
func (trimLocated) IgnoreDeadLetterLogging() {}
func (trimmed) IgnoreDeadLetterLogging()     {}
func (unread) IgnoreDeadLetterLogging()      {}
