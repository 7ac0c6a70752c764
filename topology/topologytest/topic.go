package topologytest

import (
	"context"

	"github.com/troupestream/troupe/topology"
)

// TopicOf is a topic in memory, with one partition.
type TopicOf[T any] struct {
	name    string
	log     log[T]
	writers int
}

// Topic returns a topic that holds the given values.
func Topic[T any](name string, values ...T) *TopicOf[T] {
	t := &TopicOf[T]{name: name}
	w := logWriter[T]{&t.log}
	_ = w.Write(context.Background(), &topology.Batch[T]{Values: values}) // cannot fail
	return t
}

// TopicName implements topology.Topic.
func (t *TopicOf[T]) TopicName() string { return t.name }

// Values returns what the topic holds.
func (t *TopicOf[T]) Values() []T { return (&Collected[T]{t.log}).Values() }

// Source implements topology.Topic. It ends where the topic ends, but while
// the topic is being written, it waits for more.
func (t *TopicOf[T]) Source() topology.Source[T] { return topicSource[T]{t} }

// Sink implements topology.Topic.
func (t *TopicOf[T]) Sink() topology.Sink[T] { return topicSink[T]{t} }

type topicSource[T any] struct{ topic *TopicOf[T] }

func (s topicSource[T]) Splits(context.Context) ([]string, error) { return []string{"0"}, nil }

func (s topicSource[T]) Open(_ context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	at, err := position(r.Position)
	s.topic.log.closed = s.topic.writers == 0
	return &logReader[T]{log: &s.topic.log, at: at}, err
}

type topicSink[T any] struct{ topic *TopicOf[T] }

func (s topicSink[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: topology.EffectivelyOnce}
}

func (s topicSink[T]) Open(_ context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	w, err := openLog(&s.topic.log, o)
	if err != nil {
		return nil, err
	}
	s.topic.writers++
	return &topicWriter[T]{w, s.topic}, nil
}

type topicWriter[T any] struct {
	*logWriter[T]
	topic *TopicOf[T]
}

func (w *topicWriter[T]) Close() error {
	w.topic.writers--
	w.topic.log.closed = w.topic.writers == 0
	return nil
}
