package actor

import "sync/atomic"

// consumerCounts are what a consumer has done about failures.
type consumerCounts struct {
	retries, letters, skipped atomic.Int64
}

// ConsumerStats are counts since the consumer was made.
type ConsumerStats struct {
	Retries     int64 // deliveries after one that failed, in place
	DeadLetters int64
	Skipped     int64 // on the user's orders
}

// Stats returns what the consumer has done about failures.
func (c *Consumer) Stats() ConsumerStats {
	n := &c.counts
	return ConsumerStats{Retries: n.retries.Load(), DeadLetters: n.letters.Load(), Skipped: n.skipped.Load()}
}
