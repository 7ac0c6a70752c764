package topology

import "github.com/troupestream/troupe/internal/dataflow"

// Topic is a durable log that can be written and read.
type Topic[T any] interface {
	TopicName() string
	Source() Source[T]
	Sink() Sink[T]
}

const readSuffix = "-read"

// Through writes a stream to a topic and goes on with what the topic holds:
// others can read it, and it can be replayed from there. In the graph it is
// two nodes, NAME-write and NAME-read. Event time does not go through: it begins
// with an EventTime behind it.
func Through[T any](s Stream[T], name string, t Topic[T], opts ...ThroughOption) Stream[T] {
	set := gather(opts, ThroughOption.through)
	w := add(s.b, "sink", name+"-write", dataflow.Sink, set, s.ref)
	w.node.Bounded = true
	r := add(w.b, "source", name+readSuffix, dataflow.Source, &settings{policy: set.policy})
	r.node.Bounded = true
	if isNil(t) {
		w.wrong("the topic is nil")
		return output[T](r, "")
	}
	topic := t.TopicName()
	w.require(topic != "", "the topic has no name")
	w.require(!w.b.topics[topic], "topic %q is gone through twice: what one writes the other would read", topic)
	w.b.topics[topic] = true
	w.node.Topic, r.node.Topic = topic, topic
	drain(w, t.Sink())
	return source(r, t.Source())
}
