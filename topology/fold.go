package topology

import (
	"fmt"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// Fold keeps one accumulator for each key, which starts as A's zero value, and
// replaces it by what f makes of it and each record. Every replacement is given
// out, with the time of its record.
//
// The accumulator is kept for ever, and survives failures as of the last
// checkpoint. f must not change what an accumulator points to (maps, slices):
// it has been given out, and a call that panics could not be undone. A must be
// a type that can be stored.
func Fold[K comparable, T, A any](s Keyed[K, T], name string, f func(key K, acc A, v T) A, opts ...FoldOption) Stream[A] {
	set := gather(opts, FoldOption.fold)
	o := add(s.b, "fold", name, dataflow.Operator, set, s.ref)
	o.node.Bounded = true
	o.require(f != nil, "its function is nil")
	o.check(codec.CheckType[A]())
	o.node.State = fmt.Sprintf("fold %s → %s", typeName[K](), typeName[A]())
	o.node.Forms = map[string]*StateForm{keyForm: codec.FormOf[K](), "accumulator": codec.FormOf[A]()}
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		form, err := stateForm[K, A](set.limits.withDefaults())
		if err != nil {
			return nil, err
		}
		values := codec.For[A]()
		form.AppendValue = func(dst []byte, v *A) ([]byte, error) { return values.Append(dst, *v) }
		form.DecodeValue = codec.DecoderInto(values)
		table := dataflow.NewTable(env.KeyGroups, env.Groups, form)
		return &folder[K, T, A]{table, foldLoop[K, T, A]{
			keyedLooper: newKeyedLooper[K, T](env, policy, form.AppendKey), table: table, f: f}}, nil
	}
	return output[A](o, "")
}

// folder is a Fold at work. The table makes it Stateful.
type folder[K comparable, T, A any] struct {
	*dataflow.Table[K, A]
	loop foldLoop[K, T, A]
}

func (o *folder[K, T, A]) Input(int) any                   { return o }
func (o *folder[K, T, A]) Connect(_ int, reader any) error { return o.loop.port.Connect(reader) }

func (o *folder[K, T, A]) Watermark(time int64, idle bool) error {
	o.loop.env.Metrics.Watermark.Store(time)
	return o.loop.port.Watermark(time, idle)
}

func (o *folder[K, T, A]) ReceiveKeyed(in *dataflow.KeyedBatch[K, T]) error {
	l, n := &o.loop, len(in.Values)
	if n > cap(l.values) {
		l.values = make([]A, n)
	}
	l.values = l.values[:n]
	err := l.each(in, l)
	clear(l.values)
	l.env.Metrics.Keys.Store(int64(o.Keys()))
	return err
}

// Restored implements dataflow.Stateful.
func (o *folder[K, T, A]) Restored() error {
	o.loop.env.Metrics.Keys.Store(int64(o.Keys()))
	return nil
}

type foldLoop[K comparable, T, A any] struct {
	keyedLooper[K, T]
	table *dataflow.Table[K, A]
	f     func(K, A, T) A
	port  dataflow.Port[A]

	keys        int               // with state, before the record at hand
	first, done int               // the values are those of the done records from first on
	values      []A               // as long as the input
	out         dataflow.Batch[A] // of values, with columns of in
}

// Run implements dataflow.Loop.
func (l *foldLoop[K, T, A]) Run(from int) int {
	in, keys, hashes := l.in.Values[from:], l.in.Keys[from:], l.in.Hashes[from:]
	table, out, f := l.table, l.values, l.f
	l.first = from
	for i := range in {
		l.at, l.done, l.keys = from+i, i, table.Keys()
		acc := table.Upsert(hashes[i], keys[i])
		v := f(keys[i], *acc, in[i])
		*acc, out[i] = v, v
	}
	l.done = len(in)
	return from + len(in)
}

// Undo takes back the key that a failed record was the first of.
func (l *foldLoop[K, T, A]) Undo() {
	if l.table.Keys() > l.keys {
		l.table.Delete(l.in.Hashes[l.at], l.in.Keys[l.at])
	}
}

// Flush hands on the accumulators of the records that Run got through.
func (l *foldLoop[K, T, A]) Flush() error {
	l.env.Metrics.Out.Add(int64(l.done))
	l.out.Values = l.values[:l.done]
	l.out.Columns = l.in.Slice(l.first, l.first+l.done)
	return l.port.Receive(&l.out)
}
