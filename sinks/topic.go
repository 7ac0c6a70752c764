package sinks

import (
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/topology"
)

// Topic writes to a topic. Package topics says how.
func Topic[T any](t topics.Topic[T]) topology.Sink[T] { return t.Sink() }
