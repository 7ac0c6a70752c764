package topology

import "github.com/troupestream/troupe/internal/dataflow"

// Filter keeps the records that keep says yes to.
func Filter[T any](s Stream[T], name string, keep func(T) bool, opts ...FilterOption) Stream[T] {
	o := add(s.b, "filter", name, dataflow.Operator, gather(opts, FilterOption.filter), s.ref)
	o.node.Bounded = true
	o.require(keep != nil, "its function is nil")
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		return &filter[T]{looper: newLooper[T](env, policy), keep: keep}, nil
	}
	return output[T](o, "")
}

type filter[T any] struct {
	looper[T]
	keep func(T) bool
	out  outlet[T]
}

func (f *filter[T]) Input(int) any                       { return f }
func (f *filter[T]) Connect(_ int, reader any) error     { return f.out.port.Connect(reader) }
func (f *filter[T]) Receive(in *dataflow.Batch[T]) error { return f.each(in, f) }

func (f *filter[T]) Watermark(time int64, idle bool) error {
	f.env.Metrics.Watermark.Store(time)
	return f.out.port.Watermark(time, idle)
}

// Run implements dataflow.Loop.
func (f *filter[T]) Run(from int) int {
	in, keep, out := f.in.Values, f.keep, &f.out
	for i := from; i < len(in); i++ {
		f.at = i
		if keep(in[i]) {
			out.add(in[i], i)
		}
	}
	return len(in)
}

func (f *filter[T]) Undo()        {} // a record is added once keep has returned
func (f *filter[T]) Flush() error { return f.out.flush(&f.in.Columns, f.env.Metrics) }
