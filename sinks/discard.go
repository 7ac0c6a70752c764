package sinks

import (
	"context"
	"sync/atomic"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// Discard counts its records and drops them.
func Discard[T any]() *DiscardSink[T] { return &DiscardSink[T]{} }

// DiscardSink is the sink that Discard makes.
type DiscardSink[T any] struct{ count atomic.Int64 }

// Count is the number of records that were written, repeated ones included.
func (s *DiscardSink[T]) Count() int64 { return s.count.Load() }

// Info promises at least once: the count includes repetitions.
func (s *DiscardSink[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: dataflow.AtLeastOnce, Inline: true}
}

// Open never fails.
func (s *DiscardSink[T]) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[T], error) {
	return discarding[T]{s}, nil
}

type discarding[T any] struct{ s *DiscardSink[T] }

func (d discarding[T]) Write(_ context.Context, b *topology.Batch[T]) error {
	d.s.count.Add(int64(b.Len()))
	return nil
}

func (d discarding[T]) Prepare(context.Context, uint64) ([]byte, error) { return nil, nil }
func (d discarding[T]) Commit(context.Context, uint64) error            { return nil }
func (d discarding[T]) Close() error                                    { return nil }
