package topology

import "github.com/troupestream/troupe/internal/dataflow"

// looper is what operators with user code share: the batch they are at, and
// the parts of dataflow.Loop that do not depend on what they do with it.
type looper[T any] struct {
	env    *dataflow.Env
	guard  *dataflow.Guard
	encode func(T) []byte
	in     *dataflow.Batch[T]
	at     int // record of in that Run is at
}

func newLooper[T any](env *dataflow.Env, p dataflow.Policy) looper[T] {
	return looper[T]{env: env, guard: dataflow.NewGuard(env, p), encode: encoder[T]()}
}

// each runs the loop, which the looper is part of, over a batch.
func (l *looper[T]) each(in *dataflow.Batch[T], loop dataflow.Loop) error {
	l.env.Metrics.In.Add(int64(len(in.Values)))
	l.in = in
	err := l.guard.Each(len(in.Values), loop)
	l.in = nil
	return err
}

// At implements dataflow.Loop.
func (l *looper[T]) At() int { return l.at }

// Subject implements dataflow.Loop.
func (l *looper[T]) Subject(i int) dataflow.Subject {
	return dataflow.Subject{Value: l.in.Values[i], Origin: l.env.OriginOf(&l.in.Columns)}
}

// Encode implements dataflow.Loop.
func (l *looper[T]) Encode(i int) dataflow.DeadLetter {
	d := l.in.Columns.Letter(i, l.encode(l.in.Values[i]))
	d.Origin = l.env.OriginOf(&l.in.Columns)
	return d
}
