package sinks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// Slice collects its records in memory, for tests and small results.
//
// It is effectively once as long as the process lives: a job that resumes drops
// what came since its checkpoint. In another process the records are gone, and
// resuming is refused.
func Slice[T any]() *SliceSink[T] {
	return &SliceSink[T]{parts: map[part][]T{}}
}

// SliceSink is the sink that Slice makes.
type SliceSink[T any] struct {
	mu    sync.Mutex
	parts map[part][]T // what each writer has written, all of it
	base  []extent     // what the checkpoint that was resumed from holds
	now   uint64       // the incarnation that writes
}

// part names a writer.
type part struct {
	Incarnation uint64 `json:"incarnation"`
	Task        int    `json:"task"`
}

// extent is the first N records of a writer.
type extent struct {
	part
	N int `json:"n"`
}

// Values returns a copy of the records so far: in the order in which they were
// written, for each writer; one writer's behind the other's when there are several.
func (s *SliceSink[T]) Values() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []T
	for _, e := range s.base {
		all = append(all, s.parts[e.part][:e.N]...)
	}
	var current []part
	for p := range s.parts {
		if p.Incarnation == s.now {
			current = append(current, p)
		}
	}
	slices.SortFunc(current, func(a, b part) int { return cmp.Compare(a.Task, b.Task) })
	for _, p := range current {
		all = append(all, s.parts[p]...)
	}
	return all
}

// Info promises effectively once. Writing never waits.
func (s *SliceSink[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: dataflow.EffectivelyOnce, Inline: true}
}

// Open begins a new part for this writer. Task 0 decides what of the older ones
// still counts.
func (s *SliceSink[T]) Open(_ context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var base []extent
	if o.Resumed && o.Task == 0 {
		var err error
		if base, err = s.extents(o.States); err != nil {
			return nil, err
		}
	}
	if o.Incarnation != s.now {
		s.now, s.base = o.Incarnation, nil
	}
	if o.Task == 0 {
		s.base = base
	}
	if o.Task == 0 && !o.Resumed {
		s.forget(o.Incarnation)
	}
	me := part{o.Incarnation, o.Task}
	s.parts[me] = nil
	return &sliceWriter[T]{sink: s, me: me, base: base}, nil
}

// forget drops what came before a start afresh.
func (s *SliceSink[T]) forget(before uint64) {
	for p := range s.parts {
		if p.Incarnation < before {
			delete(s.parts, p)
		}
	}
}

// extents reads the states of a checkpoint. What a task had inherited stands in
// front of what it wrote itself.
func (s *SliceSink[T]) extents(states [][]byte) ([]extent, error) {
	var all []extent
	for _, state := range states {
		var es []extent
		if err := json.Unmarshal(state, &es); err != nil {
			return nil, fmt.Errorf("the checkpoint does not hold the state of a slice (%.100q); start the job afresh", state)
		}
		all = append(all, es...)
	}
	for _, e := range all {
		if e.N < 0 || e.N > len(s.parts[e.part]) {
			return nil, fmt.Errorf("%d records of the checkpoint are gone, because a slice lives in memory; write to a file or topic, or start the job afresh", e.N)
		}
	}
	return all, nil
}

type sliceWriter[T any] struct {
	sink *SliceSink[T]
	me   part
	base []extent
	n    int
}

func (w *sliceWriter[T]) Write(_ context.Context, b *topology.Batch[T]) error {
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	w.sink.parts[w.me] = append(w.sink.parts[w.me], b.Values...)
	w.n += b.Len()
	return nil
}

// Prepare notes how much there is: of this writer, and for Task 0 of those that
// came before it.
func (w *sliceWriter[T]) Prepare(context.Context, uint64) ([]byte, error) {
	return json.Marshal(append(slices.Clone(w.base), extent{w.me, w.n}))
}

func (w *sliceWriter[T]) Commit(context.Context, uint64) error { return nil }
func (w *sliceWriter[T]) Close() error                         { return nil }
