package topology

import "github.com/troupestream/troupe/internal/dataflow"

// To writes a stream to a sink.
func To[T any](s Stream[T], name string, sink Sink[T], opts ...ToOption) {
	o := add(s.b, "sink", name, dataflow.Sink, gather(opts, ToOption.to), s.ref)
	o.node.Bounded = true
	drain(o, sink)
}

func drain[T any](o *operator, s Sink[T]) {
	o.require(!isNil(s), "the sink is nil")
	o.node.Sink = sinkDriver[T]{s}
}
