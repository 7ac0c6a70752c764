package topology

import "github.com/troupestream/troupe/internal/dataflow"

// FlatMap turns every record into any number of others, which keep its event
// time. The slice that f returns is read before f is called again, so f may
// reuse it.
func FlatMap[A, B any](s Stream[A], name string, f func(A) []B, opts ...FlatMapOption) Stream[B] {
	o := add(s.b, "flat-map", name, dataflow.Operator, gather(opts, FlatMapOption.flatMap), s.ref)
	o.require(f != nil, "its function is nil")
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		return &flatMapper[A, B]{looper: newLooper[A](env, policy), f: f}, nil
	}
	return output[B](o, "")
}

type flatMapper[A, B any] struct {
	looper[A]
	f    func(A) []B
	rest []B // what record at gave and did not fit into out
	out  outlet[B]
}

func (m *flatMapper[A, B]) Input(int) any                       { return m }
func (m *flatMapper[A, B]) Connect(_ int, reader any) error     { return m.out.port.Connect(reader) }
func (m *flatMapper[A, B]) Receive(in *dataflow.Batch[A]) error { return m.each(in, m) }

func (m *flatMapper[A, B]) Watermark(time int64, idle bool) error {
	m.env.Metrics.Watermark.Store(time)
	return m.out.port.Watermark(time, idle)
}

// Run implements dataflow.Loop. It returns early when a batch is full, within
// a record's results if need be: so a batch is never larger than BatchSize,
// whatever a record gives rise to.
func (m *flatMapper[A, B]) Run(from int) int {
	in, out, f := m.in.Values, &m.out, m.f
	size := max(m.env.BatchSize, 1)
	rest := m.rest
	m.rest = nil
	for i := from; i < len(in); i++ {
		if len(rest) == 0 {
			m.at = i
			rest = f(in[i])
		}
		fits := min(len(rest), size-out.n)
		for _, v := range rest[:fits] {
			out.add(v, i)
		}
		if rest = rest[fits:]; len(rest) > 0 {
			m.rest = rest
			return i
		}
		if out.n == size {
			return i + 1
		}
	}
	return len(in)
}

func (m *flatMapper[A, B]) Undo()        {} // a record's results are added once f has returned
func (m *flatMapper[A, B]) Flush() error { return m.out.flush(&m.in.Columns, m.env.Metrics) }
