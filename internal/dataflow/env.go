package dataflow

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/keygroup"
)

// Env is what an operator's instance knows of the task it works in.
type Env struct {
	// Context ends when the task is to stop at once; it interrupts waits.
	Context     context.Context
	Job         string
	Node        string
	Task, Tasks int
	KeyGroups   int
	Groups      keygroup.Range // the groups that this task owns
	BatchSize   int            // records an operator gathers before it hands them on
	Origins     []string       // ids of the task's splits or channels, by Columns.Origin
	Now         func() time.Time
	Metrics     *Metrics
	// DeadLetter stores a record that could not be processed; the checkpoint
	// that covers it waits until it is durable.
	DeadLetter func(DeadLetter) error
	// Warn reports what an operator should know about and cannot mend.
	Warn func(msg string, args ...any)
	// Sleep waits; nil: as long as it takes, or until Context ends.
	Sleep func(time.Duration) error
}

func (e *Env) sleep(d time.Duration) error {
	if e.Sleep != nil {
		return e.Sleep(d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-e.Context.Done():
		return e.Context.Err()
	}
}

// OriginOf names where a batch came from; "" when that is not known.
func (e *Env) OriginOf(c *Columns) string {
	if c.Origin < len(e.Origins) {
		return e.Origins[c.Origin]
	}
	return ""
}

// Metrics are the counters of one operator in one task. They are written by
// the task and read by whoever observes it.
type Metrics struct {
	In, Out     atomic.Int64 // records
	Late        atomic.Int64 // records behind the watermark, whether or not anybody reads them
	Future      atomic.Int64 // records too far ahead to move the watermark
	Failures    atomic.Int64 // calls of user code that panicked
	DeadLetters atomic.Int64
	Skipped     atomic.Int64 // records passed over on the user's orders
	Keys        atomic.Int64 // keys with state
	Watermark   atomic.Int64 // Unix milliseconds; where it ends, of a source
	Expired     atomic.Int64 // state entries that outlived their time-to-live
}

// DeadLetter is a record that user code failed on, with all it takes to find
// out why.
type DeadLetter struct {
	Topic    string
	Node     string // operator that failed
	Value    []byte // the record, in the operator's encoding
	Key      []byte
	Time     int64
	Error    string
	Stack    string
	Attempts int
	Origin   string // where the record came from, as far as that is known
	Trace    *TraceContext
}

// Action is what becomes of a record that user code keeps failing on.
type Action uint8

// The actions of an error policy.
const (
	Fail       Action = iota // the job fails with the error
	ToTopic                  // the record goes to the dead-letter topic, processing goes on
	SkipRecord               // the record is counted and dropped
)

// Policy says what to do when user code panics or a record cannot be handled.
type Policy struct {
	Attempts   int           // calls in all; at least 1
	Backoff    time.Duration // wait before the second call; doubles, with jitter
	BackoffMax time.Duration
	Then       Action
	Topic      string // of the dead letters
}

// DefaultPolicy tries three times within about 30 ms, and then fails the job.
func DefaultPolicy() Policy {
	return Policy{Attempts: 3, Backoff: 10 * time.Millisecond, BackoffMax: time.Second, Then: Fail}
}
