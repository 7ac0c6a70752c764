package runtime

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	goruntime "runtime"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/flow"
	"github.com/troupestream/troupe/internal/snapshots"
	"github.com/troupestream/troupe/internal/storage"
)

// Defaults of the options.
const (
	DefaultBatchSize         = 512              // records
	DefaultCheckpointEvery   = 10 * time.Second // between the beginnings of two checkpoints
	DefaultCheckpointTimeout = time.Minute
	DefaultCheckpointFails   = 10 // given up in a row
	DefaultRetained          = 3  // checkpoints
	DefaultRestartsMax       = 5
	DefaultRestartBackoff    = 100 * time.Millisecond
	DefaultStopTimeout       = 30 * time.Second
	DefaultKillTimeout       = 10 * time.Second
	DefaultStatusEvery       = time.Second
)

// Option sets something about an engine, or about one run of a topology on it.
// Options of Open are defaults for all topologies; options of Start and Run
// apply to one, and those that concern the engine as a whole are mistakes there.
type Option func(*config)

type config struct {
	engine   engineConfig
	job      jobConfig
	mistakes []error
	touched  bool // an option of the engine was given
}

type engineConfig struct {
	dir     string
	store   storage.Store // in place of the one in dir; for tests
	logger  *slog.Logger
	tracers trace.TracerProvider
	meters  metric.MeterProvider
	ratio   float64

	queueWarning func(actor.QueueWarning)
}

type jobConfig struct {
	parallelism  int
	batchSize    int
	window       flow.Window
	exactly      bool
	every        time.Duration
	timeout      time.Duration
	timeouts     int // given up in a row
	retained     int
	restarts     int
	backoff      time.Duration
	backoffMax   time.Duration
	stopTimeout  time.Duration
	killTimeout  time.Duration
	checkpoint   uint64
	savepoint    string
	fresh        bool
	start        dataflow.Start
	until        dataflow.Until
	status       io.Writer
	statusForced bool
	statusEvery  time.Duration
	allowLost    bool
}

func defaults() config {
	return config{job: jobConfig{
		parallelism: goruntime.GOMAXPROCS(0), batchSize: DefaultBatchSize, window: flow.DefaultWindow,
		every: DefaultCheckpointEvery, timeout: DefaultCheckpointTimeout, timeouts: DefaultCheckpointFails, retained: DefaultRetained,
		restarts: DefaultRestartsMax, backoff: DefaultRestartBackoff, backoffMax: 30 * time.Second,
		stopTimeout: DefaultStopTimeout, killTimeout: DefaultKillTimeout, statusEvery: DefaultStatusEvery,
	}}
}

func (c *config) apply(opts []Option) error {
	for _, o := range opts {
		if o != nil {
			o(c)
		}
	}
	j := &c.job
	c.wants(j.checkpoint == 0 || j.savepoint == "", "FromCheckpoint(%d) and FromSavepoint(%q): a job begins with one of them, so leave the other out", j.checkpoint, j.savepoint)
	c.wants(!j.fresh || j.checkpoint == 0 && j.savepoint == "", "FreshState begins without a checkpoint: leave FromCheckpoint and FromSavepoint out, or FreshState")
	return errors.Join(c.mistakes...)
}

// wants notes a mistake unless what it says holds.
func (c *config) wants(holds bool, format string, args ...any) {
	if !holds {
		c.mistakes = append(c.mistakes, fmt.Errorf("runtime: "+format, args...))
	}
}

// DataDir is the directory that topics and checkpoints live in. It is created
// if need be, with its parents, for its owner only; one process at a time can use it. Default: a temporary directory,
// removed when the engine closes, so that nothing is resumed.
func DataDir(path string) Option {
	return func(c *config) {
		c.wants(path != "", "DataDir: the path is empty")
		c.engine.dir, c.touched = path, true
	}
}

// Logger is where the engine logs. Default: slog.Default().
func Logger(l *slog.Logger) Option {
	return func(c *config) { c.engine.logger, c.touched = l, true }
}

// TracerProvider is where spans go. Default: as the OTEL_ environment variables
// say, and nowhere when they say nothing.
func TracerProvider(p trace.TracerProvider) Option {
	return func(c *config) { c.engine.tracers, c.touched = p, true }
}

// MeterProvider is where metrics go. Default: as TracerProvider.
func MeterProvider(p metric.MeterProvider) Option {
	return func(c *config) { c.engine.meters, c.touched = p, true }
}

// OnQueueWarning is told when a queue is full to four fifths, or will be full within five
// minutes if it goes on to grow as it does, and again after it was less full than seven
// tenths. f is called by the queue, and must not block. Default: nobody is told.
func OnQueueWarning(f func(actor.QueueWarning)) Option {
	return func(c *config) { c.engine.queueWarning, c.touched = f, true }
}

// SampleRatio is the share of records, 0 to 1, that begin a trace at their
// source. Default: as OTEL_TRACES_SAMPLER says, else 0.01.
func SampleRatio(r float64) Option {
	return func(c *config) {
		c.wants(r >= 0 && r <= 1, "SampleRatio: %v is not between 0 and 1", r)
		if r == 0 {
			r = -1
		}
		c.engine.ratio, c.touched = r, true
	}
}

// Parallelism is the number of tasks of every chain that does not say
// otherwise. Default: GOMAXPROCS.
func Parallelism(n int) Option {
	return func(c *config) {
		c.wants(n >= 1 && n <= 1024, "Parallelism: %d is not between 1 and 1024", n)
		c.job.parallelism = n
	}
}

// BatchSize is how many records travel together, 1 to 65536. Default 512.
func BatchSize(n int) Option {
	return func(c *config) {
		c.wants(n >= 1 && n <= 65536, "BatchSize: %d is not between 1 and 65536", n)
		c.job.batchSize = n
	}
}

// InFlight bounds what may be under way between two tasks: batches, and their
// bytes in memory. Default 16 and 4 MiB.
func InFlight(batches, bytes int) Option {
	return func(c *config) {
		c.wants(batches >= 2 && bytes >= 1024, "InFlight: at least 2 batches and 1024 bytes, not %d and %d", batches, bytes)
		c.job.window = flow.Window{Parcels: batches, Bytes: bytes}
	}
}

// ExactlyOnce aligns checkpoints, so that every record counts exactly once in
// state, and sinks that can show every record exactly once do. Sinks make
// results visible with the checkpoint that covers them. Default: at-least-once:
// after a failure some records may be counted twice.
func ExactlyOnce() Option { return func(c *config) { c.job.exactly = true } }

// CheckpointEvery is the time between two checkpoints; 0: none but the last one
// and those asked for. Default 10 s.
func CheckpointEvery(d time.Duration) Option {
	return func(c *config) {
		c.wants(d >= 0, "CheckpointEvery: %v is negative", d)
		c.job.every = d
	}
}

// CheckpointTimeout is how long a checkpoint may take before it is given up, and
// the Prepare of a sink before its context ends; a Prepare that fails fails the job.
// Default 1 min.
func CheckpointTimeout(d time.Duration) Option {
	return func(c *config) {
		c.wants(d > 0, "CheckpointTimeout: %v is not positive", d)
		c.job.timeout = d
	}
}

// CheckpointFailures is how many checkpoints may be given up in a row, 1 at least,
// before the job fails: it then begins again from the last one that is complete, as
// often as Restarts says. A job cannot finish without a checkpoint, either. Default 10.
func CheckpointFailures(n int) Option {
	return func(c *config) {
		c.wants(n >= 1, "CheckpointFailures: %d is not positive", n)
		c.job.timeouts = n
	}
}

// RetainCheckpoints is how many complete checkpoints are kept, at least 2: the
// newest, and what to fall back to. What older ones alone need is removed behind
// the next. Savepoints do not count. Default 3.
func RetainCheckpoints(n int) Option {
	return func(c *config) {
		c.wants(n >= 2, "RetainCheckpoints: %d is too few: keep 2 at least, so that there is one to fall back to", n)
		c.job.retained = n
	}
}

// Restarts is how often a failed job is begun again from its last checkpoint
// before it is given up, counted anew after every complete checkpoint, and the
// wait before the first time, which then doubles up to 30 s. Default 5, 100 ms.
func Restarts(n int, backoff time.Duration) Option {
	return func(c *config) {
		c.wants(n >= 0 && backoff >= 0, "Restarts: %d and %v must not be negative", n, backoff)
		c.job.restarts, c.job.backoff = n, backoff
	}
}

// StopTimeout is how long a stop may take that drains and takes a last
// checkpoint, before the job is ended without. Default 30 s.
func StopTimeout(d time.Duration) Option {
	return func(c *config) {
		c.wants(d > 0, "StopTimeout: %v is not positive", d)
		c.job.stopTimeout = d
	}
}

// KillTimeout is how long a job may take to end that failed, was killed, was stopped
// or has finished, and a failed one before it begins again. Then it is left alone as
// ErrHanging: sources, sinks and functions should return soon after their context
// has ended, and Close should not take long. Default 10 s.
func KillTimeout(d time.Duration) Option {
	return func(c *config) {
		c.wants(d > 0, "KillTimeout: %v is not positive", d)
		c.job.killTimeout = d
	}
}

// FromCheckpoint begins with the state of that checkpoint rather than the newest.
func FromCheckpoint(number uint64) Option {
	return func(c *config) {
		c.wants(number > 0, "FromCheckpoint: checkpoints are numbered from 1")
		c.job.checkpoint = number
	}
}

// FromSavepoint begins with the state of the savepoint of that name. It is copied:
// the savepoint can be deleted as soon as the job has completed a checkpoint.
func FromSavepoint(name string) Option {
	return func(c *config) {
		if err := snapshots.CheckName(name); err != nil {
			c.mistakes = append(c.mistakes, fmt.Errorf("runtime: FromSavepoint: %w", err))
		}
		c.job.savepoint = name
	}
}

// FreshState begins without the state of earlier runs: operators empty, file
// sinks anew. Sources begin anew as well, unless a Replay option says where.
func FreshState() Option { return func(c *config) { c.job.fresh = true } }

// ReplayFromBeginning makes sources begin with the oldest record they have.
// Operators keep their state unless FreshState is given as well.
func ReplayFromBeginning() Option {
	return func(c *config) { c.job.start = dataflow.Start{Kind: dataflow.StartBeginning} }
}

// ReplayFromOffset makes sources begin at an offset of each split: an offset of
// a topic's partition, a byte of a file.
func ReplayFromOffset(offset int64) Option {
	return func(c *config) {
		c.wants(offset >= 0, "ReplayFromOffset: %d is negative", offset)
		c.job.start = dataflow.Start{Kind: dataflow.StartOffset, Offset: offset}
	}
}

// ReplayFromTime makes sources begin with the first record appended at that
// time or later.
func ReplayFromTime(t time.Time) Option {
	return func(c *config) { c.job.start = dataflow.Start{Kind: dataflow.StartTime, Time: t.UnixMilli()} }
}

// UntilOffset makes sources end in front of that offset of each split.
func UntilOffset(offset int64) Option {
	return func(c *config) {
		c.wants(offset > 0, "UntilOffset: %d is not positive", offset)
		c.job.until.Offset = offset
	}
}

// UntilTime makes sources end in front of the first record appended at that
// time or later.
func UntilTime(t time.Time) Option {
	return func(c *config) {
		c.wants(t.UnixMilli() > 0, "UntilTime: %v is not after 1970", t)
		c.job.until.Time = t.UnixMilli()
	}
}

// UntilEnd makes sources end where they end at the moment they are opened: an
// endless topic is read as far as it goes.
func UntilEnd() Option { return func(c *config) { c.job.until.End = true } }

// AllowLostState continues from a checkpoint of a graph that had more: what the
// new graph has no place for is dropped. Without it such a change is refused.
func AllowLostState() Option { return func(c *config) { c.job.allowLost = true } }

// ShowStatus shows on w how the job is doing, once a second, for as long as Run or
// Engine.Run runs it. Without it Run shows it on standard error if that is a
// terminal, and Engine.Run does not. A nil w turns it off.
func ShowStatus(w io.Writer) Option {
	return func(c *config) { c.job.status, c.job.statusForced = w, true }
}
