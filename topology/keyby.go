package topology

import (
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// KeyBy gives every record a key and brings all records of a key to the same
// task; state and windows need that. Parallelism sets the number of tasks that
// the keys are divided among. A key is a string, a number, a boolean, or an
// array or struct of those. A record whose key is or holds a NaN fails like one on
// which key panics.
func KeyBy[K comparable, T any](s Stream[T], name string, key func(T) K, opts ...KeyByOption) Keyed[K, T] {
	o := add(s.b, "key-by", name, dataflow.Exchange, gather(opts, KeyByOption.keyBy), s.ref)
	o.node.Bounded = true
	o.require(key != nil, "its function is nil")
	_, err := codec.KeyCodec[K]()
	o.check(err)
	hash, _ := codec.Hasher[K]() // KeyCodec refuses what Hasher refuses
	encode := encoder[T]()
	link := dataflow.NewKeyedLink(key, hash, o.node.Policy, func(b *Batch[T], i int) dataflow.DeadLetter {
		return b.Columns.Letter(i, encode(b.Values[i]))
	})
	o.node.Outputs = []dataflow.Output{{Type: typeName[K]() + " → " + typeName[T](), Link: link}}
	return Keyed[K, T]{ref{o.b, o.node.ID, 0}}
}
