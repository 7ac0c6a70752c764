package topology

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/internal/dataflow"
)

// What a source is asked to read.
type (
	// OpenRequest says what of a split to read.
	OpenRequest = dataflow.OpenRequest
	// Start is where to begin reading a split that has no position yet.
	Start = dataflow.Start
	// Until is where to end reading a split.
	Until = dataflow.Until
	// RecordError is trouble with one record, and that record alone.
	RecordError = dataflow.RecordError
)

// The kinds of Start.
const (
	StartDefault   = dataflow.StartDefault   // as the source was configured
	StartBeginning = dataflow.StartBeginning // the oldest record there is
	StartEnd       = dataflow.StartEnd       // after the newest record there is
	StartOffset    = dataflow.StartOffset    // at Start.Offset
	StartTime      = dataflow.StartTime      // at the first record appended at Start.Time or later
)

// Source is where records come in. It consists of splits, which are read
// independently, each from a position that it can be resumed at.
type Source[T any] interface {
	// Splits lists the splits. Their ids are stable, no two are the same, and none
	// is empty: positions are kept by them. Others are refused.
	Splits(ctx context.Context) ([]string, error)
	Open(ctx context.Context, r OpenRequest) (SourceReader[T], error)
}

// SourceReader reads one split. One goroutine uses it.
type SourceReader[T any] interface {
	// Read waits for a record and appends it and those that are there already,
	// max at most, to b.Values, and their times, where the source knows them,
	// to b.Times: to none or to all. The batch comes empty. Records that were
	// appended count whatever the error. io.EOF: the split has ended. A
	// *RecordError: the record behind those appended cannot be read and was
	// passed over; it is not asked for again. With a Stack, user code has
	// panicked on it. Any other error, and a panic, fails the job. Errors need
	// not name the source: whoever calls does.
	Read(ctx context.Context, b *Batch[T], max int) error
	// Position is where to resume behind what Read has appended so far, and
	// behind what it passed over. Nil stands for where Start says: a job that
	// resumes there reads it all again, so it is refused behind a record under
	// ExactlyOnce. An empty one that is not nil is a position like others.
	Position() []byte
	// Lag is how many records are known to wait behind the position, or -1.
	Lag() int64
	// Close lets go of what the reader holds. Its error is logged.
	Close() error
}

// sourceDriver is a Source with its type erased.
type sourceDriver[T any] struct {
	source Source[T]
	link   *dataflow.StreamLink[T]
}

func (d sourceDriver[T]) Splits(ctx context.Context) ([]string, error) { return d.source.Splits(ctx) }

// EndOf implements dataflow.TopicEnd.
func (d sourceDriver[T]) EndOf() dataflow.TopicName {
	return dataflow.TopicName(dataflow.TopicOf(d.source))
}

// Reporter is for dataflow.ReporterOf.
func (d sourceDriver[T]) Reporter() dataflow.Reporter {
	r, _ := d.source.(dataflow.Reporter)
	return r
}

func (d sourceDriver[T]) Open(ctx context.Context, r OpenRequest) (dataflow.SplitReader, error) {
	reader, err := d.source.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	return &splitReader[T]{SourceReader: reader, link: d.link, split: r.Split}, nil
}

type splitReader[T any] struct {
	SourceReader[T]
	link  *dataflow.StreamLink[T]
	split string
}

// Read implements dataflow.SplitReader.
func (r *splitReader[T]) Read(ctx context.Context, max int) (any, int, error) {
	b := r.link.Get()
	err := r.SourceReader.Read(ctx, b, max)
	n := len(b.Values)
	if broken := r.broken(b, err); broken != nil {
		err, n = broken, 0
	}
	if n == 0 {
		r.link.Release(b)
		return nil, 0, err
	}
	return b, n, err
}

// broken checks what every reader promises, since a batch whose columns do not
// match would be misread by everything behind it.
func (r *splitReader[T]) broken(b *Batch[T], err error) error {
	if n := len(b.Times); n != 0 && n != len(b.Values) {
		return fmt.Errorf("source %T, split %q: Read appended %d records but %d times", r.SourceReader, r.split, len(b.Values), n)
	}
	if len(b.Values) == 0 && err == nil {
		return fmt.Errorf("source %T, split %q: Read returned neither a record nor an error", r.SourceReader, r.split)
	}
	return nil
}
