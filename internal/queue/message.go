package queue

import "fmt"

// Ref names a message for ever: the log that its body is in, and its offset there.
type Ref struct {
	Log    uint32
	Offset uint64
}

// String returns log:offset.
func (r Ref) String() string { return fmt.Sprintf("%d:%d", r.Log, r.Offset) }

// Entry is what a queue knows of a message. Times are Unix ms.
type Entry struct {
	Ref
	Arrived  int64  // when it was appended; orders messages of different logs
	Expires  int64  // 0: never. Not above Arrived: at once, unless it can be delivered at once
	Due      int64  // not delivered before; 0: now
	Group    uint64 // hash of the group key; 0: none
	Tenant   uint64 // hash of the tenant; 0 is a tenant as any other
	Bytes    uint32 // of the body
	Priority uint8  // 0 to 31, clamped to Config.MaxPriority; higher goes first
}

// Cause says why a message is delivered again.
type Cause uint8

// The causes. They are stored and never change.
const (
	CauseNone     Cause = iota // the first delivery
	CauseFailed                // the handler failed: nack or reject with requeue
	CauseReturned              // given back without having been worked on
	CauseCrash                 // its consumer, or the process with the queue, crashed
	CauseTimeout               // not settled in time
	CauseReplay                // asked for by Replay; see there
	causes
)

// Causes and Reasons are how many there are.
const (
	Causes  = int(causes)
	Reasons = int(reasons)
)

var causeNames = [causes]string{"", "failed", "returned", "crash", "timeout", "replay"}

// String returns one word; that of CauseNone is empty.
func (c Cause) String() string {
	if c < causes {
		return causeNames[c]
	}
	return fmt.Sprintf("cause %d", uint8(c))
}

// Reason says why a message left the queue other than by being acknowledged.
type Reason uint8

// The reasons. They are stored and never change. Their texts are RabbitMQ's.
const (
	ReasonNone          Reason = iota
	ReasonRejected             // a consumer rejected it
	ReasonExpired              // its time to live passed
	ReasonMaxLength            // dropped from the head of a full queue
	ReasonDeliveryLimit        // tried too often
	reasons
)

var reasonNames = [reasons]string{"", "rejected", "expired", "maxlen", "delivery-limit"}

// String returns RabbitMQ's word.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Delivery is a message in the hands of a consumer.
type Delivery struct {
	Tag uint64 // per consumer, ascending from 1
	Ref
	Body        Ref // where its body is: at Ref, unless it was relocated
	Bytes       uint32
	Priority    uint8
	Redelivered bool
	Cause       Cause
	// Probation: whoever had it last crashed, maybe because of it. The consumer
	// has to send Started, and to wait for its Charged, before it works on it.
	Probation bool
	Attempt   int // from 1: one more than the attempts that failed or were charged
	Group     uint64
}
