package sources

import (
	"github.com/troupestream/troupe/actor/queues"
	"github.com/troupestream/troupe/topology"
)

// Queue reads a queue, as one of its consumers. What it has read is acknowledged when the
// checkpoint that covers it is complete. Package queues says how.
func Queue[T any](q queues.Queue[T], opts ...queues.ConsumerOption) topology.Source[T] {
	return q.Source(opts...)
}
