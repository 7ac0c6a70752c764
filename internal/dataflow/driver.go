package dataflow

import "context"

// SourceDriver is a source with its type erased.
type SourceDriver interface {
	// Splits lists the parts that can be read independently. Ids are stable.
	Splits(ctx context.Context) ([]string, error)
	Open(ctx context.Context, r OpenRequest) (SplitReader, error)
}

// TopicEnd is a source or a sink that reads or writes a topic of Troupe's. Others
// cannot be taken for one, since the type of the name is internal.
type TopicEnd interface{ EndOf() TopicName }

// TopicName is the name of a topic; "" is none.
type TopicName string

// TopicOf returns the topic that a source or a sink is an end of; "" if of none.
func TopicOf(end any) string {
	if t, ok := end.(TopicEnd); ok {
		return string(t.EndOf())
	}
	return ""
}

// OpenRequest says what of a split to read.
type OpenRequest struct {
	Split    string
	Position []byte // where to resume, from SplitReader.Position; nil: at Start
	Start    Start  // where to begin when there is no position
	Until    Until  // where to end
}

// StartKind says how a Start is meant.
type StartKind uint8

// The kinds of starts.
const (
	StartDefault   StartKind = iota // as the source was configured
	StartBeginning                  // the oldest record there is
	StartEnd                        // after the newest record there is
	StartOffset                     // at Start.Offset
	StartTime                       // at the first record appended at Start.Time or later
)

// Start is where to begin reading.
type Start struct {
	Kind   StartKind
	Offset int64
	Time   int64 // Unix milliseconds
}

// Until is where to end reading: in front of the first record at or past
// either limit. A limit that is 0 does not limit.
type Until struct {
	Offset int64
	Time   int64 // Unix milliseconds
	// End: where the split ends at the moment it is opened.
	End bool
}

// SplitReader reads one split. One goroutine uses it; only ctx interrupts it.
type SplitReader interface {
	// Read returns a batch of 1 to max records, and waits for the first. The
	// batch goes back through the link's Release. io.EOF: the split has ended.
	// A *RecordError: the record after the batch could not be read, and has
	// been passed over.
	Read(ctx context.Context, max int) (batch any, n int, err error)
	// Position is where to resume after what Read has returned so far.
	Position() []byte
	// Lag is how many records are known to wait behind the position, or -1.
	Lag() int64
	Close() error
}

// RecordError is trouble with one record, and that record alone.
type RecordError struct {
	Index int    // of the record in the batch that was written; unused by readers
	Raw   []byte // the bytes as they came, as far as there are any
	Where string // "quakes.ndjson:17"
	Err   error
	Stack string // where user code panicked on the record; "" if it did not
}

func (e *RecordError) Error() string {
	if e.Where == "" {
		return e.Err.Error()
	}
	return e.Where + ": " + e.Err.Error()
}

func (e *RecordError) Unwrap() error { return e.Err }

// Guarantee is what a sink promises about the records of a job that fails and
// resumes.
type Guarantee uint8

// The guarantees.
const (
	AtMostOnce      Guarantee = iota // what is lost is lost
	AtLeastOnce                      // nothing is lost; some records may come twice
	EffectivelyOnce                  // with exactly-once state, every record shows exactly once
)

// String names the guarantee as the documentation does.
func (g Guarantee) String() string {
	switch g {
	case AtMostOnce:
		return "at-most-once"
	case AtLeastOnce:
		return "at-least-once"
	default:
		return "effectively-once"
	}
}

// SinkInfo describes a sink.
type SinkInfo struct {
	Guarantee      Guarantee
	MaxParallelism int  // writers there can be; 0: any number
	Inline         bool // Write never waits: the sink may run in its producer's task
}

// SinkOpen says which writer of a sink to open.
type SinkOpen struct {
	Job         string // name of the job
	Sink        string // name of the operator
	Task, Tasks int
	// Incarnation is a number that is higher at every start of the job.
	Incarnation uint64
	// ExactlyOnce: what Write takes must not become visible before Commit.
	ExactlyOnce bool
	// Resumed says that the job continues from a checkpoint. States are what
	// the writers of that checkpoint returned from Prepare: one per task then,
	// which may be more or fewer than there are tasks now; Task 0 receives all
	// of them, the others none.
	Resumed bool
	States  [][]byte
}

// SinkDriver is a sink with its type erased.
type SinkDriver interface {
	Info() SinkInfo
	Open(ctx context.Context, o SinkOpen) (SinkWriter, error)
}

// SinkChecker is a sink that can say, before anything is changed, why it could not
// be opened. Asked is it before a job goes back, lest it does so in vain.
type SinkChecker interface {
	// Check returns the error that Open would, as far as that can be known, and
	// changes nothing.
	Check(ctx context.Context, o SinkOpen) error
}

// CheckSink asks a sink that is a SinkChecker.
func CheckSink(ctx context.Context, sink any, o SinkOpen) error {
	if c, ok := sink.(SinkChecker); ok {
		return c.Check(ctx, o)
	}
	return nil
}

// SinkWriter writes for one task of a sink. One goroutine uses it.
type SinkWriter interface {
	// Write takes a batch of the link's type and keeps nothing of it. A
	// *RecordError names the record that could not be written: those in front
	// of it were, those behind it were not. One with a Stack may be written to
	// again from that record on.
	Write(ctx context.Context, batch any) error
	// Prepare makes everything written so far durable, or ready for Commit, and
	// returns what a later Open needs to continue from here.
	Prepare(ctx context.Context, checkpoint uint64) ([]byte, error)
	// Commit is called once checkpoint is complete, which includes the bytes
	// that Prepare returned. It may be repeated after a restart: Open is then
	// given those bytes and must commit what they promise.
	Commit(ctx context.Context, checkpoint uint64) error
	// Encode renders one record of a batch for a dead letter.
	Encode(batch any, i int) []byte
	Close() error
}
