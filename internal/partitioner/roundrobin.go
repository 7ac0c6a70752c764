package partitioner

import "sync/atomic"

// RoundRobin deals records to partitions in turn, beginning with partition 0.
// The zero value is ready for use.
type RoundRobin struct{ dealt atomic.Uint64 }

// Next returns the partition after the one before.
func (r *RoundRobin) Next(partitions, _ int) int {
	return int((r.dealt.Add(1) - 1) % uint64(partitions))
}
