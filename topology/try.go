package topology

import "github.com/troupestream/troupe/internal/dataflow"

// Failed is a record that a Try could not handle, and why.
type Failed[A any] struct {
	Value A
	Err   string
}

// Try turns every record into another, or fails on it. Failures are a stream
// like any other, and Build insists that somebody reads it.
func Try[A, B any](s Stream[A], name string, f func(A) (B, error), opts ...TryOption) (ok Stream[B], failed Stream[Failed[A]]) {
	o := add(s.b, "try", name, dataflow.Operator, gather(opts, TryOption.try), s.ref)
	o.node.Bounded = true
	o.require(f != nil, "its function is nil")
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		return &trier[A, B]{looper: newLooper[A](env, policy), f: f}, nil
	}
	return output[B](o, ""), output[Failed[A]](o, "failed")
}

type trier[A, B any] struct {
	looper[A]
	f      func(A) (B, error)
	out    outlet[B]
	failed outlet[Failed[A]]
}

func (t *trier[A, B]) Input(int) any                       { return t }
func (t *trier[A, B]) Receive(in *dataflow.Batch[A]) error { return t.each(in, t) }

func (t *trier[A, B]) Connect(port int, reader any) error {
	if port == 0 {
		return t.out.port.Connect(reader)
	}
	return t.failed.port.Connect(reader)
}

func (t *trier[A, B]) Watermark(time int64, idle bool) error {
	t.env.Metrics.Watermark.Store(time)
	if err := t.out.port.Watermark(time, idle); err != nil {
		return err
	}
	return t.failed.port.Watermark(time, idle)
}

// Run implements dataflow.Loop.
func (t *trier[A, B]) Run(from int) int {
	in := t.in.Values
	for i := from; i < len(in); i++ {
		t.at = i
		v, err := t.f(in[i])
		if err == nil {
			t.out.add(v, i)
		} else {
			t.failed.add(Failed[A]{Value: in[i], Err: err.Error()}, i)
		}
	}
	return len(in)
}

func (t *trier[A, B]) Undo() {} // a record is added as the last thing

func (t *trier[A, B]) Flush() error {
	if err := t.out.flush(&t.in.Columns, t.env.Metrics); err != nil {
		return err
	}
	return t.failed.flush(&t.in.Columns, t.env.Metrics)
}
