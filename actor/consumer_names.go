package actor

import (
	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/inflight"
	"github.com/troupestream/troupe/internal/partitioner"
)

// What programs need of the packages underneath, under names that they can use.
type (
	// GroupConfig is how a consumer group works; the zero value has the defaults. Its
	// fields are Assignor, SessionTimeout (45 s), ProgressTimeout (5 min: the age from
	// which a member without progress is reported as stuck), EvictStuck (and loses its
	// partitions), OffsetsRetention (0: for ever) and Limits.
	GroupConfig = group.Config
	// GroupLimits bound what a consumer group takes in; 0 stands for the default. Those
	// of parking are ParkedKeys (10,000), ParkedPerKey (10,000 records) and ParkedBytes
	// (1 GiB of bodies).
	GroupLimits = group.Limits
	// GroupDescription is what a consumer group is doing.
	GroupDescription = group.Description
	// Assignor says which member of a group has which partition.
	Assignor = group.Assignor
	// HeldLimits bound what a consumer holds of one partition: Span, the records from the
	// first that is not done to the newest taken in (10,000), InFlight, those handed out
	// (1,000), and Bytes, the weight of those not done (8 MiB). 0 stands for the default.
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
