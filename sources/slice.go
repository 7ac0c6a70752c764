package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// Slice reads the given values, as one split.
func Slice[T any](values ...T) topology.Source[T] { return Slices(values) }

// Slices reads several slices, each of them a split. The slices must not change
// while a job reads them, and must be the same when it resumes.
func Slices[T any](splits ...[]T) topology.Source[T] { return sliceSource[T](splits) }

type sliceSource[T any] [][]T

func (s sliceSource[T]) Splits(context.Context) ([]string, error) { return numbered(len(s)), nil }

// numbered names n splits 0, 1, 2…
func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	return ids
}

// split returns the number of a split that numbered has named.
func split(id string, n int) (int, error) {
	i, err := strconv.Atoi(id)
	if err != nil || i < 0 || i >= n {
		return 0, fmt.Errorf("there is no split %q among the %d", id, n)
	}
	return i, nil
}

func (s sliceSource[T]) Open(_ context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	i, err := split(r.Split, len(s))
	if err != nil {
		return nil, err
	}
	span, err := indexSpan(r, int64(len(s[i])))
	if err != nil {
		return nil, fmt.Errorf("split %s: %w", r.Split, err)
	}
	return &sliceReader[T]{values: s[i], span: span}, nil
}

// span is a range of indices that is read from the front: the position of
// sources that count.
type span struct{ next, end int64 }

// indexSpan is what a request asks of a split of size records, which may be endless.
func indexSpan(r topology.OpenRequest, size int64) (s span, err error) {
	if r.Until.Time != 0 || r.Start.Kind == dataflow.StartTime {
		return s, errors.New("it knows no times to start at or read until; give an offset")
	}
	s.end = size
	if r.Until.Offset > 0 {
		s.end = min(s.end, r.Until.Offset)
	}
	switch {
	case r.Position != nil:
		s.next, err = parsePosition(r.Position)
	case r.Start.Kind == dataflow.StartOffset:
		s.next = r.Start.Offset
	case r.Start.Kind == dataflow.StartEnd && size == math.MaxInt64:
		err = errors.New("it has no end to start at")
	case r.Start.Kind == dataflow.StartEnd:
		s.next = size
	}
	if err == nil && (s.next < 0 || s.next > size) {
		err = fmt.Errorf("it has %d records and cannot be read from %d; start the job afresh if its data has changed", size, s.next)
	}
	return s, err
}

func parsePosition(p []byte) (int64, error) {
	n, err := strconv.ParseInt(string(p), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the checkpoint's position %.40q is not a number; start the job afresh", p)
	}
	return n, nil
}

func (s *span) position() []byte { return strconv.AppendInt(nil, s.next, 10) }

func (s *span) left() int64 { return max(0, s.end-s.next) }

type sliceReader[T any] struct {
	values []T
	span
}

func (r *sliceReader[T]) Read(ctx context.Context, b *topology.Batch[T], max int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := min(int64(max), r.left())
	if n == 0 {
		return io.EOF
	}
	b.Values = append(b.Values, r.values[r.next:r.next+n]...)
	r.next += n
	return nil
}

func (r *sliceReader[T]) Position() []byte { return r.position() }
func (r *sliceReader[T]) Lag() int64       { return r.left() }
func (r *sliceReader[T]) Close() error     { return nil }
