package sinks

import (
	"github.com/troupestream/troupe/actor/queues"
	"github.com/troupestream/troupe/topology"
)

// Queue publishes to one queue, at least once. Package queues says how.
func Queue[T any](q queues.Queue[T], opts ...queues.PublisherOption) topology.Sink[T] {
	return q.Sink(opts...)
}

// Exchange publishes to an exchange, at least once. Package queues says how.
func Exchange[T any](x queues.Exchange[T], opts ...queues.PublisherOption) topology.Sink[T] {
	return x.Sink(opts...)
}
