package group

import (
	"fmt"
	"time"
)

// Config is how a group works. The zero value works with the defaults. It is not
// stored: a group may be restored with another one.
type Config struct {
	// Assignor of a group whose members do not ask for one. Default
	// CooperativeSticky.
	Assignor Assignor
	// SessionTimeout of members that do not ask for one. Default 45 s.
	SessionTimeout time.Duration
	// ProgressTimeout is how long a member may be alive without progress, with
	// records in flight or partitions to release, before it is reported as
	// stuck. Default 5 min.
	ProgressTimeout time.Duration
	// EvictStuck takes the partitions of a stuck member away from it and fences
	// it. Otherwise it is only reported.
	EvictStuck bool
	// OffsetsRetention is how long offsets are kept after the last member has
	// left. 0: for ever.
	OffsetsRetention time.Duration
	Limits           Limits
}

// Limits bound what a group takes in. 0 stands for the default.
type Limits struct {
	Members       int // default 4,096
	Topics        int // the group knows of; default 4,096
	Partitions    int // of all those topics; default and maximum 65,536
	NameBytes     int // of a member id, an instance id, a client's description, a topic; default 256
	MetadataBytes int // text with a committed offset; default 4,096, as in Kafka
	// MinSessionTimeout and MaxSessionTimeout bound what a member may ask for.
	// Defaults 100 ms and 30 min.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// StateBytes bounds the snapshot of the group. Default and maximum 6 MiB,
	// which with the journal's own needs fits into one entry of a log.
	StateBytes int

	ParkedKeys   int   // default 10,000
	ParkedPerKey int   // records of one key; default 10,000
	ParkedBytes  int64 // of the bodies of all parked records; default 1 GiB
	KeyBytes     int   // of a parked key; default 64 KiB
	ErrorBytes   int   // of the reason and of the error of a parked key; longer ones are cut; default 256
}

const (
	maxPartitions = 64 << 10
	maxStateBytes = 6 << 20
)

func orDefault[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// withDefaults returns the configuration with the defaults filled in.
func (c Config) withDefaults() (Config, error) {
	if c.Assignor == AnyAssignor {
		c.Assignor = CooperativeSticky
	}
	if !c.Assignor.Valid() {
		return c, fmt.Errorf("%w: %v does not exist", ErrInvalid, c.Assignor)
	}
	orDefault(&c.SessionTimeout, 45*time.Second)
	orDefault(&c.ProgressTimeout, 5*time.Minute)
	c.Limits.fill()
	l := &c.Limits
	if c.SessionTimeout < l.MinSessionTimeout || c.SessionTimeout > l.MaxSessionTimeout {
		return c, fmt.Errorf("%w: SessionTimeout is %v, MinSessionTimeout %v and MaxSessionTimeout %v",
			ErrInvalid, c.SessionTimeout, l.MinSessionTimeout, l.MaxSessionTimeout)
	}
	return c, nil
}

func (l *Limits) fill() {
	orDefault(&l.Members, 4096)
	orDefault(&l.Topics, 4096)
	orDefault(&l.Partitions, maxPartitions)
	orDefault(&l.NameBytes, 256)
	orDefault(&l.MetadataBytes, 4096)
	orDefault(&l.MinSessionTimeout, 100*time.Millisecond)
	orDefault(&l.MaxSessionTimeout, 30*time.Minute)
	orDefault(&l.StateBytes, maxStateBytes)
	orDefault(&l.ParkedKeys, 10_000)
	orDefault(&l.ParkedPerKey, 10_000)
	orDefault(&l.ParkedBytes, 1<<30)
	orDefault(&l.KeyBytes, 64<<10)
	orDefault(&l.ErrorBytes, 256)
	l.Partitions = min(l.Partitions, maxPartitions)
	l.StateBytes = min(l.StateBytes, maxStateBytes)
}

// tooMany is the error of a limit that is reached.
func tooMany(what string, n int, limit string, bound int) error {
	return fmt.Errorf("%w: %d %s, the limit %s is %d", ErrLimit, n, what, limit, bound)
}
