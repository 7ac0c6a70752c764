package actor

import "sync/atomic"

// consumerCounts are what a consumer has done about failures.
type consumerCounts struct {
	retries, later, letters, skipped, parked, replayed atomic.Int64
}

// ConsumerStats are counts since the consumer was made.
type ConsumerStats struct {
	Retries        int64 // deliveries after one that failed, in place
	RetriesLater   int64 // records put into delay topics
	RetriesWaiting int64 // for the retry budget, now
	DeadLetters    int64
	Skipped        int64 // on the user's orders
	Parked         int64 // records that were parked, or put behind one that is
	Replayed       int64 // records that Replay has delivered
}

// Stats returns what the consumer has done about failures.
func (c *Consumer) Stats() ConsumerStats {
	n := &c.counts
	return ConsumerStats{Retries: n.retries.Load(), RetriesLater: n.later.Load(), RetriesWaiting: c.gate.waiting(), DeadLetters: n.letters.Load(), Skipped: n.skipped.Load(), Parked: n.parked.Load(), Replayed: n.replayed.Load()}
}

// Parking says why partitions stall that the consumer has: they wait for room in the
// parking. Usually it is empty.
func (c *Consumer) Parking() map[TopicPartition]error {
	stalled := map[TopicPartition]error{}
	for _, l := range *c.lanes.Load() {
		l.mu.Lock()
		if l.parking != nil && l.parking.stalled != nil {
			stalled[l.TopicPartition] = l.parking.stalled
		}
		l.mu.Unlock()
	}
	return stalled
}

func (s *ConsumerStats) add(o ConsumerStats) {
	s.Retries += o.Retries
	s.RetriesLater += o.RetriesLater
	s.RetriesWaiting += o.RetriesWaiting
	s.DeadLetters += o.DeadLetters
	s.Skipped += o.Skipped
	s.Parked += o.Parked
	s.Replayed += o.Replayed
}
