package topology

import (
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
)

// Merge makes one stream of several. Each keeps its own order; there is none
// between them. Event time advances with the slowest of them. Where they come from
// several sources, each needs its EventTime in front of the Merge.
func Merge[T any](s Stream[T], name string, others ...Stream[T]) Stream[T] {
	inputs := []ref{s.ref}
	for _, other := range others {
		inputs = append(inputs, other.ref)
	}
	o := add(firstBuilder(inputs), "merge", name, dataflow.Operator, &settings{}, inputs...)
	o.node.Bounded = true
	o.require(len(others) > 0, "it merges a single stream")
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		return &merger[T]{env: env, tracker: watermark.NewTracker(len(inputs))}, nil
	}
	return output[T](o, "")
}

// firstBuilder is the builder that a zero stream among several is reported to.
func firstBuilder(inputs []ref) *Builder {
	for _, in := range inputs {
		if in.b != nil && !in.b.lost {
			return in.b
		}
	}
	return nil
}

type merger[T any] struct {
	env     *dataflow.Env
	tracker *watermark.Tracker
	port    dataflow.Port[T]
	out     dataflow.Batch[T]
	marks   []int64
}

func (m *merger[T]) Input(i int) any                 { return &mergeInput[T]{m, i} }
func (m *merger[T]) Connect(_ int, reader any) error { return m.port.Connect(reader) }

type mergeInput[T any] struct {
	*merger[T]
	input int
}

// Receive hands on the batch as it is, but for its marks: they speak for this
// input alone, and must not promise more than the other inputs allow.
func (m *mergeInput[T]) Receive(in *dataflow.Batch[T]) error {
	m.env.Metrics.In.Add(int64(len(in.Values)))
	m.env.Metrics.Out.Add(int64(len(in.Values)))
	if len(in.Marks) == 0 {
		return m.port.Receive(in)
	}
	m.out = *in
	m.out.Marks = m.clamp(in.Marks)
	err := m.port.Receive(&m.out)
	m.out = dataflow.Batch[T]{}
	return err
}

func (m *mergeInput[T]) clamp(marks []int64) []int64 {
	bound := m.tracker.Bound(m.input)
	m.marks = m.marks[:0]
	for _, mark := range marks {
		m.marks = append(m.marks, min(mark, bound))
	}
	return m.marks
}

func (m *mergeInput[T]) Watermark(time int64, idle bool) error {
	combined, idle, changed := m.tracker.Update(m.input, time, idle)
	if !changed {
		return nil
	}
	m.env.Metrics.Watermark.Store(combined)
	return m.port.Watermark(combined, idle)
}
