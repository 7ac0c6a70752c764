package topology

import "github.com/troupestream/troupe/internal/dataflow"

// From reads a source. Each of its splits is read by one task, in order.
func From[T any](b *Builder, name string, s Source[T], opts ...FromOption) Stream[T] {
	o := add(b, "source", name, dataflow.Source, gather(opts, FromOption.from))
	o.node.Bounded = true
	return source(o, s)
}

func source[T any](o *operator, s Source[T]) Stream[T] {
	o.require(!isNil(s), "the source is nil")
	out := output[T](o, "")
	o.node.Source = sourceDriver[T]{s, o.node.Outputs[0].Link.(*dataflow.StreamLink[T])}
	return out
}
