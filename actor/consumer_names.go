package actor

import (
	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/inflight"
	"github.com/troupestream/troupe/internal/partitioner"
)

// What programs need of the packages underneath, under names that they can use.
type (
	// GroupConfig is how a consumer group works.
	GroupConfig = group.Config
	// GroupLimits bound what a consumer group takes in.
	GroupLimits = group.Limits
	// GroupDescription is what a consumer group is doing.
	GroupDescription = group.Description
	// Assignor says which member of a group has which partition.
	Assignor = group.Assignor
	// HeldLimits bound what a consumer holds of one partition.
	HeldLimits = inflight.Limits
	// Keyless chooses partitions for records without a key.
	Keyless = partitioner.Keyless
)

// The assignors. All but CooperativeSticky take all partitions from everybody
// when the membership changes, as in Kafka.
const (
	CooperativeSticky = group.CooperativeSticky // the default: balanced, and only what moves is taken
	Range             = group.Range             // neighbours of each topic; the same for topics with equally many
	RoundRobin        = group.RoundRobin        // dealt in turn
	Sticky            = group.Sticky            // balanced, with few moves
)
