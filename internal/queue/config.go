package queue

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Overflow says what happens when a queue is full.
type Overflow uint8

// The ways to overflow.
const (
	// DropHead drops the oldest message, of the lowest priority that waits. It is
	// dead-lettered with ReasonMaxLength where there is a dead-letter exchange.
	DropHead Overflow = iota
	// RejectPublish drops nothing: publishers are refused before they
	// append.
	RejectPublish
	// RejectPublishDLX is RejectPublish, and the publisher's actor dead-letters
	// what was refused. To the queue they are the same.
	RejectPublishDLX
)

// Unlimited is the value of limits that are to be none: they default to one.
const Unlimited = -1

// MaxPriorities is how many priorities there are: 0 to 31.
const MaxPriorities = 32

// Config is how a queue works. The zero value works with the defaults. It is not
// stored: a queue may be restored with another one, and Configure changes it.
type Config struct {
	// MaxPriority is the highest priority; higher ones are clamped to it.
	// Default and maximum 31.
	MaxPriority int
	// TTL is how long messages may wait, beside what they say themselves. Zero is
	// without bound, as Unlimited is; ExpireAtOnce is RabbitMQ's TTL of 0.
	TTL time.Duration
	// MaxLength and MaxBytes bound the messages that wait, ready or delayed.
	// Defaults 10,000,000 and 64 GiB of bodies; Unlimited for none.
	MaxLength int
	MaxBytes  int64
	Overflow  Overflow
	// DeadLetter: messages that are rejected, expire, overflow or were tried too
	// often are dead-lettered: see the effect DeadLetter. Otherwise they are
	// dropped and counted.
	DeadLetter bool
	// DeliveryLimit is how many attempts may fail. Default 20; Unlimited for none.
	DeliveryLimit int
	Retry         Retry
	// SettleTimeout is how long a consumer may have a message without a word: see
	// Extend. Default 30 min; Unlimited for none.
	SettleTimeout time.Duration
	// SingleActive delivers to one consumer at a time: that of the highest
	// priority, and among these the oldest. It is succeeded when it goes, and a
	// newcomer of higher priority waits until nothing is in flight.
	SingleActive bool
	// Weights share deliveries between priorities that wait, where strict order
	// would let lower ones starve: priority i gets Weights[i] turns in a round, at
	// least one. nil: strict.
	Weights []int
	// StarvationBound is after how many deliveries a priority that waits gets a
	// turn even in strict order. 0: never.
	StarvationBound int
	// FairTenants has the tenants of a priority take turns: see
	// Limits.TenantWindow. Within a tenant the order stays.
	FairTenants bool
	// Expires is after how long without consumers and Touch the queue is to be
	// deleted: see Expired. 0: never.
	Expires time.Duration
	// AutoDelete: the queue is to be deleted when its last consumer has left. One that
	// pulls is use of the queue, and does not count.
	AutoDelete bool
	Limits     Limits
}

// ExpireAtOnce as Config.TTL has messages expire that cannot be delivered at once. It is
// not Unlimited.
const ExpireAtOnce = time.Duration(-2)

// RetryAtOnce as Retry.First is: not at all.
const RetryAtOnce = time.Duration(-1)

// Retry is how long a message waits after a failed attempt: First, then Factor
// times as long after each, up to Max. To Config, First of 0 is RetryAtOnce; who declares
// queues may have another default.
type Retry struct {
	First  time.Duration
	Factor float64 // at least 1; default 2
	Max    time.Duration
	// Jitter is the share of each delay, from 0 to 1, that is subtracted by
	// chance. The chance is a hash of Seed and the message.
	Jitter float64
	Seed   uint64
}

// Limits bound what a queue takes in and keeps in memory. 0 stands for the default.
type Limits struct {
	ChunkMessages int // of a chunk; default and maximum 4,096
	ChunkSpan     int // offsets that a chunk may cover; default and maximum 65,536
	// Resident is how many chunks are in memory with all their messages, beside
	// those that are being filled. It is also how far delivery looks past messages
	// whose group is busy. Default 32, which is 131,072 messages and 8 MiB.
	Resident  int
	Logs      int // default 256
	Consumers int // default 4,096
	NameBytes int // of a consumer; default 256
	// Prefetch bounds that of every consumer. Default 65,536.
	Prefetch int
	// TakeMessages bounds one Take. Default 65,536.
	TakeMessages int
	// ReserveMin and ReserveMax bound how many messages ahead of delivery are
	// noted as maybe delivered. Defaults 64 and 4,096.
	ReserveMin, ReserveMax int
	// TenantWindow is how many ready messages of a priority are looked at to find
	// those of other tenants. Default 4,096.
	TenantWindow int
	// History is how many settlements are remembered for Outcome.
	// Each takes up to 64 bytes. Default 1,000; -1 for none.
	History int
}

const (
	maxChunkMessages = 4096
	maxChunkSpan     = 1 << 16
	defaultPrefetch  = 256
)

func orDefault[T int | int64 | float64 | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// withDefaults returns the configuration with the defaults filled in.
func (c Config) withDefaults() (Config, error) {
	orDefault(&c.MaxPriority, MaxPriorities-1)
	orDefault(&c.MaxLength, 10_000_000)
	orDefault(&c.MaxBytes, 64<<30)
	orDefault(&c.DeliveryLimit, 20)
	orDefault(&c.SettleTimeout, 30*time.Minute)
	orDefault(&c.Retry.Factor, 2)
	if c.Retry.Max >= 0 && c.Retry.Max < c.Retry.First {
		c.Retry.Max = max(c.Retry.First, time.Hour)
	}
	c.Limits.fill()
	if c.TTL == Unlimited {
		c.TTL = 0
	}
	for _, d := range []*time.Duration{&c.TTL, &c.SettleTimeout, &c.Expires} {
		if *d > 0 { // less than the queue's clock tells apart would be never, or at once
			*d = max(*d, time.Millisecond)
		}
	}
	return c, c.check()
}

func (c *Config) check() error {
	switch {
	case c.MaxPriority < 0 || c.MaxPriority >= MaxPriorities:
		return fmt.Errorf("%w: MaxPriority is %d, it can be 0 to 31", ErrInvalid, c.MaxPriority)
	case c.Overflow > RejectPublishDLX:
		return fmt.Errorf("%w: overflow %d does not exist", ErrInvalid, c.Overflow)
	case !c.Retry.isSound():
		return fmt.Errorf("%w: a retry needs First >= 0 or RetryAtOnce, Max >= 0, a finite Factor >= 1 and Jitter from 0 to 1", ErrInvalid)
	case slices.ContainsFunc(c.Weights, func(w int) bool { return w < 0 }):
		return fmt.Errorf("%w: Weights are %v: they cannot be negative", ErrInvalid, c.Weights)
	case len(c.Weights) > MaxPriorities:
		return fmt.Errorf("%w: there are %d Weights, and 32 priorities", ErrInvalid, len(c.Weights))
	case c.TTL < 0 && c.TTL != ExpireAtOnce:
		return fmt.Errorf("%w: TTL is %v: it cannot be negative, but ExpireAtOnce or Unlimited", ErrInvalid, c.TTL)
	case c.StarvationBound < 0 || c.Expires < 0:
		return fmt.Errorf("%w: StarvationBound and Expires cannot be negative", ErrInvalid)
	}
	return nil
}

// isSound is false of what is no number, too: what is compared with that is.
func (r *Retry) isSound() bool {
	return r.First >= RetryAtOnce && r.Max >= 0 && r.Factor >= 1 && !math.IsInf(r.Factor, 0) && r.Jitter >= 0 && r.Jitter <= 1
}

func (l *Limits) fill() {
	for _, d := range []struct {
		v         *int
		otherwise int
	}{{&l.ChunkMessages, maxChunkMessages}, {&l.ChunkSpan, maxChunkSpan}, {&l.Resident, 32}, {&l.Logs, 256}, {&l.Consumers, 4096},
		{&l.NameBytes, 256}, {&l.Prefetch, 1 << 16}, {&l.TakeMessages, 1 << 16}, {&l.TenantWindow, 4096}, {&l.ReserveMin, 64}, {&l.ReserveMax, 4096}} {
		if *d.v <= 0 {
			*d.v = d.otherwise
		}
	}
	orDefault(&l.History, 1000)
	l.ChunkMessages = min(l.ChunkMessages, maxChunkMessages)
	l.ChunkSpan = min(l.ChunkSpan, maxChunkSpan)
	l.ReserveMax = max(l.ReserveMax, l.ReserveMin)
}
