package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/inflight"
)

// Defaults and limits of a consumer.
const (
	DefaultSessionTimeout    = 45 * time.Second
	DefaultHeartbeatInterval = 3 * time.Second
	DefaultCommitInterval    = 5 * time.Second
	DefaultDrainTimeout      = 10 * time.Second
	ConcurrencyMax           = 1024
)

// Handler works on a record. The record is done when it returns nil; with
// ManualAck, when Ack was called. A panic counts as an error. ctx ends when the
// result is not wanted any more: the partition was lost, or moved on without
// waiting longer.
type Handler func(ctx context.Context, d *Delivery) error

// Listener is told what happens to a consumer's partitions. Each function may be
// nil. They are called one at a time, and while one runs, the next does not begin;
// heartbeats and the partitions not concerned go on.
type Listener struct {
	// Assigned is called before the first record of the partitions. Seek works.
	Assigned func(ctx context.Context, p []TopicPartition)
	// Revoked is called after the last record of the partitions, before they go
	// to others. Ack and Commit work.
	Revoked func(ctx context.Context, p []TopicPartition)
	// Lost is called when partitions are gone: others may have them. Nothing of
	// them can be committed.
	Lost func(ctx context.Context, p []TopicPartition)
	// Stopped is called when work on a partition ends with an error. It must not
	// block.
	Stopped func(p TopicPartition, err error)
	// Missed is called when the offset to go on at was not there, because
	// retention was faster than the group, and the start policy led to another.
	// It must not block.
	Missed func(p TopicPartition, wanted, at uint64)
}

// ConsumerOptions configure a Consumer. Group and Topics are needed.
type ConsumerOptions struct {
	Group  string
	Topics []string
	// GroupConfig is for the group, if this is its first use in the process.
	GroupConfig group.Config
	// Instance names a static member: when it is closed, or crashes, and comes
	// back within its session timeout, it has its old partitions again and nobody
	// else notices. Of two with the same Instance, the younger stays.
	Instance string
	// Client is shown in descriptions of the group.
	Client string
	// SessionTimeout is how long the consumer can be silent before its partitions
	// go to others. Default 45 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is how often it says that it is alive, whatever its
	// handlers do. Default 3 s, or a third of SessionTimeout if that is less.
	HeartbeatInterval time.Duration
	// Assignor must be that of the other members. Default: theirs.
	Assignor group.Assignor
	// Start applies where nothing is committed, or what is was trimmed away.
	Start StartPolicy
	// Concurrency is how many records of each partition are worked on at a time;
	// order is kept per key. Default 1: order is kept for all. At most
	// ConcurrencyMax.
	Concurrency int
	// CommitInterval is how often offsets are committed. They are also when
	// partitions are revoked, and by Close. Never is a record passed that is not
	// done. Default 5 s.
	CommitInterval time.Duration
	// ManualCommit leaves committing to Commit and CommitAsync. What is committed
	// all the same is where the consumer begins in a partition for which nothing
	// was.
	ManualCommit bool
	// ManualAck has a record be done when Ack is called, not when its handler
	// returns.
	ManualAck bool
	// Limits of what is held of one partition.
	Limits inflight.Limits
	// DrainTimeout is how long handlers may go on when their partition is revoked
	// or the consumer closes. Then their records are abandoned: whatever comes of
	// them, they will be delivered again. Default 10 s.
	DrainTimeout time.Duration
	// OnFailure decides about records that fail: RetryInPlace, DeadLetter, Skip and
	// so on. Default StopOnFailure.
	OnFailure FailurePolicy
	// RetryBudget bounds how many deliveries are retries.
	RetryBudget RetryBudget
	Listener    Listener
}

func (o *ConsumerOptions) withDefaults() {
	orDefault(&o.SessionTimeout, DefaultSessionTimeout)
	orDefault(&o.HeartbeatInterval, min(DefaultHeartbeatInterval, o.SessionTimeout/3))
	orDefault(&o.Concurrency, 1)
	orDefault(&o.CommitInterval, DefaultCommitInterval)
	orDefault(&o.DrainTimeout, DefaultDrainTimeout)
	o.RetryBudget.withDefaults()
	if o.OnFailure == nil {
		o.OnFailure = StopOnFailure{}
	}
}

func (o *ConsumerOptions) check(h Handler) error {
	if err := checkGroupName(o.Group); err != nil {
		return err // policies derive names from it
	}
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(h != nil, "it has no handler")
	require(len(o.Topics) > 0, "it names no topics")
	require(o.Concurrency > 0 && o.Concurrency <= ConcurrencyMax, "Concurrency is %d: it must be 1 to %d (ConcurrencyMax)", o.Concurrency, ConcurrencyMax)
	require(o.HeartbeatInterval > 0 && o.HeartbeatInterval < o.SessionTimeout,
		"HeartbeatInterval is %v: it must be positive and below SessionTimeout, %v", o.HeartbeatInterval, o.SessionTimeout)
	require(o.CommitInterval > 0, "CommitInterval is %v: it must be positive; to commit by hand, set ManualCommit", o.CommitInterval)
	require(o.DrainTimeout > 0, "DrainTimeout is %v: it must be positive", o.DrainTimeout)
	require(o.Start.ago >= 0, "StartAgo is %v, which lies ahead: it must be 0 or more", o.Start.ago)
	require(o.Limits.Span >= 0 && o.Limits.InFlight >= 0 && o.Limits.Bytes >= 0, "Limits %+v: they cannot be negative; 0 is the default", o.Limits)
	errs = append(errs, o.RetryBudget.check(), checkPolicy(o.OnFailure, o))
	return errors.Join(errs...)
}
