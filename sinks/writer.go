package sinks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// Writer writes each record as a line to w, such as os.Stdout, at least once:
// every batch is passed on at once, and what was written cannot be taken back
// when a job resumes. It does not close w.
func Writer(w io.Writer) topology.Sink[string] {
	return &writerSink[string]{w, lineFormat}
}

// JSONWriter is Writer for records of any type, which it writes as lines of JSON.
func JSONWriter[T any](w io.Writer) topology.Sink[T] {
	return &writerSink[T]{w, jsonFormat[T]}
}

type writerSink[T any] struct {
	w         io.Writer
	newFormat func() (format[T], error)
}

// Info promises at least once, by one writer.
func (s *writerSink[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: dataflow.AtLeastOnce, MaxParallelism: 1}
}

func (s *writerSink[T]) Open(_ context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	if o.Tasks > 1 {
		return nil, fmt.Errorf("a stream can have one writer and was opened for %d; set its parallelism to 1", o.Tasks)
	}
	f, err := s.newFormat()
	if err != nil {
		return nil, err
	}
	return &streamWriter[T]{w: s.w, format: f}, nil
}

type streamWriter[T any] struct {
	w      io.Writer
	format format[T]
	buf    []byte
	closed bool
}

func (w *streamWriter[T]) Write(ctx context.Context, b *topology.Batch[T]) error {
	if w.closed {
		return errors.New("the sink is closed")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range b.Values {
		grown, err := w.format.append(w.buf, &b.Values[i])
		if err != nil {
			return cmp.Or(w.flush(), unwritable(i, "output", err))
		}
		w.buf = grown
		if len(w.buf) >= bufferBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return w.flush()
}

func (w *streamWriter[T]) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("the stream cannot be written: %w", err)
	}
	return nil
}

func (w *streamWriter[T]) Prepare(context.Context, uint64) ([]byte, error) { return nil, nil }
func (w *streamWriter[T]) Commit(context.Context, uint64) error            { return nil }

func (w *streamWriter[T]) Close() error {
	w.closed = true
	return nil
}
