package topics

import (
	"time"

	"github.com/troupestream/troupe/actor"
)

// Message is a value with what goes along with it.
type Message[T any] struct {
	Value T
	// Key chooses the partition, and keeps records with the same key in order.
	// Nil: what Topic.KeyedBy says; none if it says nothing.
	Key []byte
	// Headers go along with the value. Names may repeat; order is kept.
	Headers []actor.Header
	// Time is the event time, in whole milliseconds. The zero time: when it was
	// published.
	Time time.Time
	// Tombstone: the record has no value, which says that what there was of its
	// key is deleted.
	Tombstone bool
}
