package topologytest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/troupestream/troupe/topology"
)

// Collected is a sink that keeps what it is given.
type Collected[T any] struct{ log[T] }

// Collect returns an empty sink.
func Collect[T any]() *Collected[T] { return &Collected[T]{} }

// Values returns what has come in so far, in order. Between tasks there is no
// order but that of the interleaving.
func (c *Collected[T]) Values() []T { return slices.Clone(c.values) }

// Times returns the event times of the values, in UTC; the zero time where
// there is none.
func (c *Collected[T]) Times() []time.Time {
	times := make([]time.Time, len(c.times))
	for i, ms := range c.times {
		if ms != topology.NoTime {
			times[i] = time.UnixMilli(ms).UTC()
		}
	}
	return times
}

// Info implements topology.Sink.
func (c *Collected[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: topology.EffectivelyOnce}
}

// Open implements topology.Sink.
func (c *Collected[T]) Open(_ context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	return openLog(&c.log, o)
}

// openLog opens a writer, and takes back what was written behind the
// checkpoint that it continues from.
func openLog[T any](l *log[T], o topology.SinkOpen) (*logWriter[T], error) {
	keep := 0
	for _, s := range o.States {
		at, err := position(s)
		if err != nil || at > len(l.values) {
			return nil, fmt.Errorf("the sink has %d values, and cannot continue behind what its state says: %x", len(l.values), s)
		}
		keep = max(keep, at)
	}
	if o.Resumed && len(o.States) > 0 {
		l.values, l.times = l.values[:keep:keep], l.times[:keep:keep]
	}
	return &logWriter[T]{log: l}, nil
}

type logWriter[T any] struct{ log *log[T] }

func (w *logWriter[T]) Write(_ context.Context, b *topology.Batch[T]) error {
	w.log.values = append(w.log.values, b.Values...)
	for i := range b.Values {
		w.log.times = append(w.log.times, b.Time(i))
	}
	return nil
}

// Prepare notes how much there is. All writers share the log, and nothing is
// in flight while a Driver prepares them, so each notes the same.
func (w *logWriter[T]) Prepare(context.Context, uint64) ([]byte, error) {
	return (&logReader[T]{at: len(w.log.values)}).Position(), nil
}

func (w *logWriter[T]) Commit(context.Context, uint64) error { return nil }
func (w *logWriter[T]) Close() error                         { return nil }
