package actor

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoKey: a record without a key was published to a topic that keeps the newest
// record of each key. Nothing was stored. Test for it with errors.Is.
var ErrNoKey = errors.New("the topic is compacted, so its records need a key")

// Defaults of a Compaction; they are Kafka's.
const (
	DefaultDeleteRetention        = 24 * time.Hour
	DefaultMinCleanableDirtyRatio = 0.5
)

// Compaction has a topic keep the newest record of each key, for ever. What it
// replaces is taken away in the background. Offsets never change, so they have
// gaps then; reading at an offset that has gone gives the next there is.
//
// It is for the part behind the head, which is never compacted: the newest batch,
// and what is younger than MinCompactionLag. So readers near the end see every
// record.
//
// A record without a value (nil, not empty) is a tombstone: it deletes its key, and
// goes itself once it has stood long enough for readers to have seen it. Records
// without a key are refused with ErrNoKey; those from before the topic was
// compacted stay.
//
// A topic that is compacted and has a Retention besides ("compact,delete" in Kafka)
// also drops what the retention does not keep. Without one it keeps everything else.
// A topic that is altered to be compacted keeps the Retention it has, which is a week
// unless it was told otherwise: alter that to Forever, too.
type Compaction struct {
	// Enabled is "compact" in Kafka's cleanup.policy. The other fields say nothing
	// without it.
	Enabled bool
	// DeleteRetention is how long a tombstone stays after the values in front of it
	// have gone. A reader that gets from anywhere to the end within that time misses
	// no deletion. In whole milliseconds. Kafka's delete.retention.ms; default
	// DefaultDeleteRetention.
	DeleteRetention time.Duration
	// MinCleanableDirtyRatio is how much of a partition must not be compacted yet
	// for it to be worth the work: above 0 to 1 of the bytes. Kafka's
	// min.cleanable.dirty.ratio; default DefaultMinCleanableDirtyRatio.
	MinCleanableDirtyRatio float64
	// MinCompactionLag is how long a record stays at least after it has arrived.
	// Kafka's min.compaction.lag.ms; default 0.
	MinCompactionLag time.Duration
	// MaxCompactionLag is the age from which on a record that is not compacted yet
	// makes it worth the work in any case. Kafka's max.compaction.lag.ms; default
	// 0: there is none.
	MaxCompactionLag time.Duration
}

func (c Compaction) withDefaults() Compaction {
	if !c.Enabled {
		return c
	}
	if c.DeleteRetention == 0 {
		c.DeleteRetention = DefaultDeleteRetention
	}
	if c.MinCleanableDirtyRatio == 0 {
		c.MinCleanableDirtyRatio = DefaultMinCleanableDirtyRatio
	}
	for _, d := range []*time.Duration{&c.DeleteRetention, &c.MinCompactionLag, &c.MaxCompactionLag} {
		if *d > time.Millisecond {
			*d = d.Truncate(time.Millisecond)
		}
	}
	return c
}

func (c Compaction) check() error {
	switch {
	case !c.Enabled && c != (Compaction{}):
		return errors.New("a compaction that is not enabled has settings: set Enabled, or leave them out")
	case !c.Enabled:
		return nil
	case !(c.MinCleanableDirtyRatio > 0 && c.MinCleanableDirtyRatio <= 1):
		return fmt.Errorf("a MinCleanableDirtyRatio of %v: it must be above 0 and at most 1", c.MinCleanableDirtyRatio)
	case c.MaxCompactionLag > 0 && c.MaxCompactionLag < c.MinCompactionLag:
		return fmt.Errorf("a MaxCompactionLag of %v is below the MinCompactionLag of %v", c.MaxCompactionLag, c.MinCompactionLag)
	}
	for name, d := range map[string]time.Duration{"DeleteRetention": c.DeleteRetention,
		"MinCompactionLag": c.MinCompactionLag, "MaxCompactionLag": c.MaxCompactionLag} {
		if d < 0 || d > 0 && d < time.Millisecond {
			return fmt.Errorf("a %s of %v: it must be 1ms or more", name, d)
		}
	}
	return nil
}

// String is "none", or such as "delete-retention 24h0m0s, dirty-ratio 0.5".
func (c Compaction) String() string {
	if !c.Enabled {
		return "none"
	}
	all := []string{fmt.Sprintf("delete-retention %v", c.DeleteRetention), fmt.Sprintf("dirty-ratio %v", c.MinCleanableDirtyRatio)}
	if c.MinCompactionLag > 0 {
		all = append(all, fmt.Sprintf("min-lag %v", c.MinCompactionLag))
	}
	if c.MaxCompactionLag > 0 {
		all = append(all, fmt.Sprintf("max-lag %v", c.MaxCompactionLag))
	}
	return strings.Join(all, ", ")
}

// CompactionInfo says how far a partition is compacted.
type CompactionInfo struct {
	// Clean is the offset in front of which it is: no key has two records there.
	Clean      uint64
	Records    uint64 // in front of that, as of the last run
	Tombstones uint64 // of these
	CleanBytes uint64 // stored in front of it
	DirtyBytes uint64 // stored behind it that could be compacted now, about
	DirtyRatio float64

	Running bool
	LastRun time.Time // when what it made came into force; the zero time: never
	Took    time.Duration
	// What the last run read, and what it left of that.
	RecordsBefore, BytesBefore, BytesAfter uint64
	// Failed is why the last try has failed; empty: it has not. It is tried again.
	Failed string
}

// stored is the form of a Compaction in the directory of topics.
type storedCompaction struct {
	DeleteRetentionMs int64   `json:"delete_retention_ms"`
	DirtyRatio        float64 `json:"dirty_ratio"`
	MinLagMs          int64   `json:"min_lag_ms,omitempty"`
	MaxLagMs          int64   `json:"max_lag_ms,omitempty"`
}

func storedCompactionOf(c Compaction) *storedCompaction {
	if !c.Enabled {
		return nil
	}
	return &storedCompaction{c.DeleteRetention.Milliseconds(), c.MinCleanableDirtyRatio,
		c.MinCompactionLag.Milliseconds(), c.MaxCompactionLag.Milliseconds()}
}

func (s *storedCompaction) compaction() Compaction {
	if s == nil {
		return Compaction{}
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return Compaction{Enabled: true, DeleteRetention: ms(s.DeleteRetentionMs), MinCleanableDirtyRatio: s.DirtyRatio,
		MinCompactionLag: ms(s.MinLagMs), MaxCompactionLag: ms(s.MaxLagMs)}
}
