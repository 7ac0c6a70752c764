package sources

import (
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/topology"
)

// Topic reads a topic, its partitions as splits. Package topics says how.
func Topic[T any](t topics.Topic[T]) topology.Source[T] { return t.Source() }
