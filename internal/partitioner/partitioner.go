// Package partitioner says which partition of a topic a record goes to.
//
// Records with a key are spread by Kafka's hash, so that a key is found in the
// partition where a producer for Kafka would have put it. Records without a key
// are spread in turn or in runs. Nothing here allocates.
package partitioner

import (
	"errors"
	"fmt"
)

// ErrPartition: the topic has no such partition.
var ErrPartition = errors.New("no such partition")

// Keyless chooses partitions for records without a key. It is safe for
// concurrent use.
type Keyless interface {
	// Next returns the partition, 0 to partitions-1, of the next record, which
	// has so many bytes. partitions must be positive; it may change between calls.
	Next(partitions, bytes int) int
}

// Keyed returns the partition of a key among so many, as Kafka's default
// partitioner does: the hash without its sign bit, modulo partitions. partitions
// must be positive. An empty key is a key.
func Keyed(key []byte, partitions int) int {
	return int(Murmur2(key)&0x7fffffff) % partitions
}

// Check reports whether a partition that was chosen by hand exists. The error is
// an ErrPartition.
func Check(partition, partitions int) error {
	if partition < 0 || partition >= partitions {
		return fmt.Errorf("%w: %d; the topic has %d, counted from 0", ErrPartition, partition, partitions)
	}
	return nil
}
