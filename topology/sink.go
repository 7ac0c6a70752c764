package topology

import (
	"context"

	"github.com/troupestream/troupe/internal/dataflow"
)

// What a sink says of itself, and is told.
type (
	// Guarantee is what a sink promises about the records of a job that fails
	// and resumes.
	Guarantee = dataflow.Guarantee
	// SinkInfo describes a sink.
	SinkInfo = dataflow.SinkInfo
	// SinkOpen says which writer of a sink to open, and what to continue from.
	SinkOpen = dataflow.SinkOpen
	// SinkChecker is what a Sink may be besides: it says why it could not be
	// opened before a job that goes back (FreshState, FromSavepoint, a replay)
	// changes anything.
	SinkChecker = dataflow.SinkChecker
)

// The guarantees.
const (
	AtMostOnce      = dataflow.AtMostOnce      // what is lost is lost
	AtLeastOnce     = dataflow.AtLeastOnce     // nothing is lost; some records may come twice
	EffectivelyOnce = dataflow.EffectivelyOnce // with exactly-once state, every record shows exactly once
)

// Sink is where records go out.
type Sink[T any] interface {
	Info() SinkInfo
	Open(ctx context.Context, o SinkOpen) (SinkWriter[T], error)
}

// SinkWriter writes for one task of a sink. One goroutine uses it.
type SinkWriter[T any] interface {
	// Write takes a batch and keeps nothing of it. A *RecordError names the
	// record that could not be written: those in front of it were, those behind
	// it were not. With a Stack, user code has panicked on it: then the record
	// and those behind it come again, as often as the error policy says. Any
	// other error, and a panic, fails the job. Errors need not name the sink:
	// whoever calls does.
	Write(ctx context.Context, b *Batch[T]) error
	// Prepare makes everything written so far durable, or ready for Commit,
	// and returns what a later Open needs to continue from here. The context
	// ends after CheckpointTimeout. An error fails the job.
	Prepare(ctx context.Context, checkpoint uint64) ([]byte, error)
	// Commit is called once the checkpoint is complete, which includes the
	// bytes that Prepare returned. It may never come, if the job dies first:
	// Open is then given those bytes and must commit what they promise.
	Commit(ctx context.Context, checkpoint uint64) error
	// Close lets go of what the writer holds. Its error is logged; it does not
	// change how the job has ended, since nothing is left to commit by then.
	Close() error
}

// sinkDriver is a Sink with its type erased.
type sinkDriver[T any] struct{ sink Sink[T] }

func (d sinkDriver[T]) Info() SinkInfo { return d.sink.Info() }

// EndOf implements dataflow.TopicEnd.
func (d sinkDriver[T]) EndOf() dataflow.TopicName {
	return dataflow.TopicName(dataflow.TopicOf(d.sink))
}

// Check implements dataflow.SinkChecker.
func (d sinkDriver[T]) Check(ctx context.Context, o SinkOpen) error {
	return dataflow.CheckSink(ctx, d.sink, o)
}

func (d sinkDriver[T]) Open(ctx context.Context, o SinkOpen) (dataflow.SinkWriter, error) {
	w, err := d.sink.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return sinkWriter[T]{w, encoder[T]()}, nil
}

type sinkWriter[T any] struct {
	SinkWriter[T]
	encode func(T) []byte
}

// Write implements dataflow.SinkWriter.
func (w sinkWriter[T]) Write(ctx context.Context, batch any) error {
	return w.SinkWriter.Write(ctx, batch.(*Batch[T]))
}

// Encode implements dataflow.SinkWriter.
func (w sinkWriter[T]) Encode(batch any, i int) []byte { return w.encode(batch.(*Batch[T]).Values[i]) }
