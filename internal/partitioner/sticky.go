package partitioner

import (
	"math/rand/v2"
	"sync/atomic"
)

// DefaultStickyBytes is how long the runs of Sticky are: 16 KiB, the default
// batch of Kafka's producer.
const DefaultStickyBytes = 16 << 10

// Sticky keeps to one partition until so many bytes went there, and then moves
// to another one at random. So records without a key fill a few large batches
// instead of many small ones, and still spread evenly over time (KIP-480 and
// KIP-794 of Kafka). The zero value is ready for use.
type Sticky struct {
	// Bytes is the length of a run; 0: DefaultStickyBytes. The record with
	// which a run reaches it is the run's last. Set it before the first use.
	Bytes int

	// run is the partition plus one in the upper half and the bytes of the run
	// so far in the lower half; 0 before the first record.
	run atomic.Uint64
}

// Next returns the partition of the current run, or begins another one.
func (s *Sticky) Next(partitions, bytes int) int {
	limit := s.Bytes
	if limit <= 0 {
		limit = DefaultStickyBytes
	}
	limit = min(limit, 1<<31)
	for {
		old := s.run.Load()
		partition, used := int(old>>32)-1, int(uint32(old))
		if partition < 0 || partition >= partitions || used >= limit {
			partition, used = another(partition, partitions), 0
		}
		used = min(used+max(bytes, 0), limit)
		if s.run.CompareAndSwap(old, uint64(partition+1)<<32|uint64(used)) {
			return partition
		}
	}
}

// another returns a random partition that is not the one given, if there is one.
func another(partition, partitions int) int {
	if partition < 0 || partition >= partitions || partitions == 1 {
		return rand.IntN(partitions)
	}
	next := rand.IntN(partitions - 1)
	if next >= partition {
		next++
	}
	return next
}
