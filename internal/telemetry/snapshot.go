package telemetry

import (
	"math"
	"time"
)

// Snapshot is what the engine knows of itself at one moment. Lists have an
// entry per task, actor or partition; the instruments combine them by label.
type Snapshot struct {
	Now        time.Time
	Operators  []OperatorStats
	Mailboxes  []MailboxStats
	Edges      []EdgeStats
	Jobs       []JobStats
	Topics     []TopicStats
	Compacted  []CompactionStats
	Partitions []PartitionStats
	Groups     []GroupStats
	Consumed   []ConsumedStats
	Queues     []QueueStats
	Exchanges  []ExchangeStats
}

// OperatorStats are the figures of one operator in one task.
type OperatorStats struct {
	Job, Operator                                         string
	In, Out                                               int64
	Late, Future, Failures, DeadLetters, Skipped, Expired int64
	Keys                                                  int64
	Watermark                                             int64 // Unix milliseconds; the ends of the range: none
	Lag                                                   int64 // records waiting in front of a source; -1: unknown, or no source
}

// MailboxStats are the figures of one actor's mailbox.
type MailboxStats struct {
	Job, Kind    string // kind of actor: "task", "partition", …
	Depth, Bytes int64
}

// EdgeStats are the figures of one channel of an edge between two chains.
type EdgeStats struct {
	Job, Edge       string // edge: "parse-by-net", the names at its ends
	Credit, Waiting int64  // batches: that may still be sent, that wait for credit
}

// JobStats are the figures of one job.
type JobStats struct {
	Job             string
	Restarts        int64
	CheckpointBytes int64     // of the newest complete one
	Checkpoint      time.Time // when that began; zero: none yet, or its age is of no interest
}

// TopicStats are the figures of one partition's log, summed by topic.
type TopicStats struct {
	Topic          string
	Appends, Bytes int64
}

// CompactionStats are the figures of compactions, summed by topic.
type CompactionStats struct {
	Topic                 string
	Runs, Failures        int64
	RecordsIn, RecordsOut int64
	Read, Written         int64 // bytes
	Tombstones            int64 // now
}

// PartitionStats are the figures of one partition.
type PartitionStats struct {
	Topic     string
	Partition int
	EndOffset int64
}

// GroupStats are the counts of all consumers of a group in this process.
type GroupStats struct {
	Group                                 string
	Retries, DeadLetters, Skipped, Parked int64
	Waiting                               int64 // retries, now
	Replayed                              int64
}

// ConsumedStats are the figures of one partition in the hands of a consumer.
type ConsumedStats struct {
	Group, Topic string
	Lag          int64 // records; -1: not known yet
	ParkedKeys   int64
	Stalled      bool
}

// QueueStats are the figures of one queue. Its counters begin with the process.
type QueueStats struct {
	Queue                string
	Messages             []Part // now, by state
	Bytes, Consumers     int64  // that wait, and that there are now
	Oldest               int64  // Unix milliseconds; 0: nothing waits
	Published, Delivered int64
	Settled              []Part // by outcome
	Redelivered          []Part // by cause
	DeadLetters          []Part // by reason
}

// Part is one of several numbers that have names.
type Part struct {
	Name string
	N    int64
}

// ExchangeStats are the counts of all publishers to an exchange.
type ExchangeStats struct {
	Exchange              string
	Published, Unroutable int64
}

// hasWatermark says whether a watermark is a time rather than an end of time.
func hasWatermark(w int64) bool { return w != math.MinInt64 && w != math.MaxInt64 }
