package topology

import (
	"strconv"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Split divides a stream: a record goes to the stream of the first condition
// that holds for it, and to the last stream when none does. There is one
// stream more than there are conditions, and each must be read.
func Split[T any](s Stream[T], name string, when ...func(T) bool) []Stream[T] {
	o := add(s.b, "split", name, dataflow.Operator, &settings{}, s.ref)
	o.node.Bounded = true
	o.require(len(when) > 0, "it has no conditions")
	streams := make([]Stream[T], 0, len(when)+1)
	for i, f := range when {
		o.require(f != nil, "condition %d is nil", i+1)
		streams = append(streams, output[T](o, strconv.Itoa(i+1)))
	}
	streams = append(streams, output[T](o, "rest"))
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		return &splitter[T]{looper: newLooper[T](env, policy), when: when, outs: make([]outlet[T], len(when)+1)}, nil
	}
	return streams
}

type splitter[T any] struct {
	looper[T]
	when []func(T) bool
	outs []outlet[T]
}

func (s *splitter[T]) Input(int) any                       { return s }
func (s *splitter[T]) Connect(port int, reader any) error  { return s.outs[port].port.Connect(reader) }
func (s *splitter[T]) Receive(in *dataflow.Batch[T]) error { return s.each(in, s) }

func (s *splitter[T]) Watermark(time int64, idle bool) error {
	s.env.Metrics.Watermark.Store(time)
	for i := range s.outs {
		if err := s.outs[i].port.Watermark(time, idle); err != nil {
			return err
		}
	}
	return nil
}

// Run implements dataflow.Loop.
func (s *splitter[T]) Run(from int) int {
	in := s.in.Values
	for i := from; i < len(in); i++ {
		s.at = i
		s.outs[s.choose(in[i])].add(in[i], i)
	}
	return len(in)
}

func (s *splitter[T]) choose(v T) int {
	for i, holds := range s.when {
		if holds(v) {
			return i
		}
	}
	return len(s.when)
}

func (s *splitter[T]) Undo() {} // a record is added as the last thing

func (s *splitter[T]) Flush() error {
	for i := range s.outs {
		if err := s.outs[i].flush(&s.in.Columns, s.env.Metrics); err != nil {
			return err
		}
	}
	return nil
}
