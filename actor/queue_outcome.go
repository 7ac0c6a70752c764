package actor

import "github.com/troupestream/troupe/internal/queue"

// What a queue says of its messages.
type (
	// MessageRef names a message for ever: its Log, and its Offset there. It is
	// comparable, and as a text it is log:offset.
	MessageRef = queue.Ref
	// QueueCounts are the messages of a queue by what became of them. Live is the sum of
	// Ready, Delayed, InFlight and Dying, and Taken that of Live, Acked, Dead, Expired,
	// Dropped, Purged, Moved and Lost.
	QueueCounts = queue.Counts
	// QueueOutcome is what a queue knows of one message: its Status; the Consumer that has
	// it, or has acknowledged it, and the Tag of that delivery; At, when it was delivered,
	// ended, or is due, the zero time if that is not known; the Reason why it is dying or
	// dead; how many Attempts failed; and about how many messages of its log wait Before it.
	QueueOutcome = queue.Outcome
	// QueueStatus says where a message is.
	QueueStatus = queue.Status
	// QueueCause says why a message is delivered again.
	QueueCause = queue.Cause
	// QueueReason says why a message left its queue other than by being acknowledged. As a
	// text it is RabbitMQ's word.
	QueueReason = queue.Reason
)

// Where a message is.
const (
	QueueStatusUnknown  = queue.StatusUnknown // it was not taken yet, or was never for this queue
	QueueStatusReady    = queue.StatusReady
	QueueStatusDelayed  = queue.StatusDelayed
	QueueStatusInFlight = queue.StatusInFlight // in the hands of a consumer
	QueueStatusDying    = queue.StatusDying    // being dead-lettered
	QueueStatusAcked    = queue.StatusAcked
	QueueStatusDead     = queue.StatusDead // dead-lettered
	QueueStatusExpired  = queue.StatusExpired
	QueueStatusDropped  = queue.StatusDropped
	QueueStatusMoved    = queue.StatusMoved
	// QueueStatusGone: the queue does not have it any more, or never had, and how it ended
	// is not remembered: see QueueConfig.History. Messages that were purged end so.
	QueueStatusGone = queue.StatusGone
)

// Why a message is delivered again.
const (
	QueueCauseNone     = queue.CauseNone     // it is not: the first delivery
	QueueCauseFailed   = queue.CauseFailed   // its handler failed
	QueueCauseReturned = queue.CauseReturned // it was given back without having been worked on
	QueueCauseCrash    = queue.CauseCrash    // its consumer, or the process, crashed
	QueueCauseTimeout  = queue.CauseTimeout  // it was not settled in time
	QueueCauseReplay   = queue.CauseReplay   // by Queue.Replay
)

// Why a message left its queue.
const (
	QueueReasonNone          = queue.ReasonNone
	QueueReasonRejected      = queue.ReasonRejected
	QueueReasonExpired       = queue.ReasonExpired
	QueueReasonMaxLength     = queue.ReasonMaxLength     // the queue was full
	QueueReasonDeliveryLimit = queue.ReasonDeliveryLimit // it was tried too often
)

// Errors of what is done to messages of a queue. Test for them with errors.Is.
var (
	// ErrNoMessage: the queue does not have the message (any more).
	ErrNoMessage = queue.ErrUnknownMessage
	// ErrInFlight: the message is in the hands of a consumer, or being dead-lettered.
	ErrInFlight = queue.ErrInFlight
	// ErrNoConsumer: the queue does not have the consumer (any more).
	ErrNoConsumer = queue.ErrUnknownConsumer
)
