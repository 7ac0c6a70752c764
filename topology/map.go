package topology

import "github.com/troupestream/troupe/internal/dataflow"

// Map turns every record into another.
func Map[A, B any](s Stream[A], name string, f func(A) B, opts ...MapOption) Stream[B] {
	o := add(s.b, "map", name, dataflow.Operator, gather(opts, MapOption.mapping), s.ref)
	o.node.Bounded = true
	o.require(f != nil, "its function is nil")
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		return &mapper[A, B]{env: env, guard: dataflow.NewGuard(env, policy), f: f, encode: encoder[A]()}, nil
	}
	return output[B](o, "")
}

type mapper[A, B any] struct {
	env    *dataflow.Env
	guard  *dataflow.Guard
	f      func(A) B
	encode func(A) []byte
	port   dataflow.Port[B]

	in          *dataflow.Batch[A]
	first, done int               // the values are those of the done records from first on
	values      []B               // as long as the input
	out         dataflow.Batch[B] // of values, with columns of in
}

func (m *mapper[A, B]) Input(int) any                   { return m }
func (m *mapper[A, B]) Connect(_ int, reader any) error { return m.port.Connect(reader) }

func (m *mapper[A, B]) Watermark(time int64, idle bool) error {
	m.env.Metrics.Watermark.Store(time)
	return m.port.Watermark(time, idle)
}

func (m *mapper[A, B]) Receive(in *dataflow.Batch[A]) error {
	n := len(in.Values)
	m.env.Metrics.In.Add(int64(n))
	if n > cap(m.values) {
		m.values = make([]B, n)
	}
	m.in, m.values = in, m.values[:n]
	err := m.guard.Each(n, m)
	clear(m.values)
	m.in = nil
	return err
}

// Run implements dataflow.Loop.
func (m *mapper[A, B]) Run(from int) int {
	in, out, f := m.in.Values[from:], m.values, m.f
	m.first = from
	for i := range in {
		m.done = i
		out[i] = f(in[i])
	}
	m.done = len(in)
	return from + len(in)
}

// Flush hands on the records that Run got through. They are a run of the
// input, whose columns are therefore theirs as well.
func (m *mapper[A, B]) Flush() error {
	m.env.Metrics.Out.Add(int64(m.done))
	m.out.Values = m.values[:m.done]
	m.out.Columns = m.in.Slice(m.first, m.first+m.done)
	return m.port.Receive(&m.out)
}

func (m *mapper[A, B]) At() int { return m.first + m.done }
func (m *mapper[A, B]) Undo()   {} // a value that is not complete is not counted in done

func (m *mapper[A, B]) Subject(i int) dataflow.Subject {
	return dataflow.Subject{Value: m.in.Values[i], Origin: m.env.OriginOf(&m.in.Columns)}
}

func (m *mapper[A, B]) Encode(i int) dataflow.DeadLetter {
	d := m.in.Columns.Letter(i, m.encode(m.in.Values[i]))
	d.Origin = m.env.OriginOf(&m.in.Columns)
	return d
}
