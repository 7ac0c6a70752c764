package topologytest

import "time"

// Option is an option of New, Run and Restore.
type Option func(*options)

type options struct {
	parallelism int
	batchSize   int
	seed        uint64
	seeded      bool
	now         time.Time
	mayFail     bool
	snapshot    *Snapshot
}

// Epoch is where the virtual clock starts. It lies in the future, so that no
// record seems to come from there.
var Epoch = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func defaults() options { return options{parallelism: 1, batchSize: 256, now: Epoch} }

// Parallelism sets the number of tasks of operators that do not say; 1 unless set.
func Parallelism(n int) Option { return func(o *options) { o.parallelism = max(n, 1) } }

// BatchSize sets how many records travel together at most; 256 unless set.
func BatchSize(n int) Option { return func(o *options) { o.batchSize = max(n, 1) } }

// Seed has tasks work, and batches end, in a random order that the seed
// decides. Without it, everything is done in its turn.
func Seed(seed uint64) Option {
	return func(o *options) { o.seed, o.seeded = seed, true }
}

// At sets where the virtual clock starts; at Epoch unless set.
func At(t time.Time) Option { return func(o *options) { o.now = t } }

// MayFail keeps a failure of the topology for Err, instead of failing the test.
func MayFail() Option { return func(o *options) { o.mayFail = true } }

// From continues from a snapshot, of an older version of the topology, say.
func From(s *Snapshot) Option { return func(o *options) { o.snapshot = s } }
