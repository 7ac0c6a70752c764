package topologytest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"github.com/troupestream/troupe/topology"
)

// Slice is a source of the given values, in order.
func Slice[T any](values ...T) topology.Source[T] { return Splits(values) }

// Splits is a source with several splits.
func Splits[T any](splits ...[]T) topology.Source[T] {
	return sliceSource[T](splits)
}

type sliceSource[T any] [][]T

func (s sliceSource[T]) Splits(context.Context) ([]string, error) {
	ids := make([]string, len(s))
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	return ids, nil
}

func (s sliceSource[T]) Open(_ context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	i, err := strconv.Atoi(r.Split)
	if err != nil || i < 0 || i >= len(s) {
		return nil, fmt.Errorf("there is no split %q", r.Split)
	}
	at, err := position(r.Position)
	return &logReader[T]{log: &log[T]{values: s[i], closed: true}, at: at}, err
}

// log is what the sources of this package read.
type log[T any] struct {
	values []T
	times  []int64 // as long as values, or nil
	closed bool    // nothing more will come
}

type logReader[T any] struct {
	log *log[T]
	at  int
}

func (r *logReader[T]) Read(_ context.Context, b *topology.Batch[T], n int) error {
	l := r.log
	end := min(len(l.values), r.at+n)
	if r.at >= end {
		if l.closed {
			return io.EOF
		}
		return errWait
	}
	b.Values = append(b.Values, l.values[r.at:end]...)
	if l.times != nil {
		b.Times = append(b.Times, l.times[r.at:end]...)
	}
	r.at = end
	return nil
}

func (r *logReader[T]) Position() []byte { return binary.AppendUvarint(nil, uint64(r.at)) }
func (r *logReader[T]) Lag() int64       { return int64(max(len(r.log.values)-r.at, 0)) }
func (r *logReader[T]) Close() error     { return nil }

// position reads what Position wrote.
func position(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	at, n := binary.Uvarint(p)
	if n != len(p) || at > 1<<40 {
		return 0, fmt.Errorf("the position %x is not one of this source", p)
	}
	return int(at), nil
}
