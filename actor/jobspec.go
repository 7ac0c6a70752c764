package actor

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/flow"
)

// JobSpec is all that a job needs to run. The runtime fills it in.
type JobSpec struct {
	Name      string
	Nodes     []*dataflow.Node
	Graph     []byte // JSON of the graph, stored with every checkpoint
	KeyGroups int
	Letters   []string // dead-letter topics

	Parallelism int
	BatchSize   int
	Window      flow.Window

	ExactlyOnce         bool
	Checkpoints         checkpoint.Config
	RetainedCheckpoints int
	Restarts            Restarts
	KillTimeout         time.Duration // for the end of an attempt, whatever ends it; 0: for ever
	Restore             Restore
	// Compatible refuses to continue from a checkpoint of another graph, given
	// that graph's JSON.
	Compatible func(graph []byte) error

	Counters *Counters
	Observer JobObserver
	// Done is told how the job ended. It must not block.
	Done func(JobResult)

	// progressed: since the job was started a checkpoint was completed, or it was
	// put on record that the job goes back. From then on Restore has done its
	// part, and a restart goes on from there.
	progressed atomic.Bool
}

// Restarts says how often a job that failed is tried again from its last
// checkpoint. Tries are counted anew after every complete checkpoint.
type Restarts struct {
	Max        int
	Backoff    time.Duration // before the first; doubles
	BackoffMax time.Duration
}

// Restore says where a job begins. The zero value: where it left off, or at the
// beginning if it never ran.
type Restore struct {
	Checkpoint uint64 // this one rather than the newest
	Savepoint  string // the one of this name
	FreshState bool   // operators begin without state, sinks anew
	// Start makes sources begin there rather than where they left off.
	Start dataflow.Start
	// Until makes sources end there.
	Until dataflow.Until
}

// bounded says whether the job is told where to end.
func (r *Restore) bounded() bool { return r.Until != dataflow.Until{} }

// JobObserver is told what happens to a job. Calls come from actors and must
// not block.
type JobObserver interface {
	// Began: an attempt processes records; from is nil when it began from nothing.
	Began(attempt int, plan *dataflow.Plan, from *checkpoint.Manifest)
	CheckpointCompleted(m *checkpoint.Manifest)
	CheckpointFailed(number uint64, err error)
	// CheckpointUnusable: a checkpoint could not be read; an older one is tried.
	CheckpointUnusable(err error)
	// Aligned: a task with several inputs has a barrier from each; the first
	// of them waited so long.
	Aligned(waited time.Duration)
	// Failed: an attempt has failed, and is about to end. If the job goes on, the
	// next begins so long after it has ended.
	Failed(err error, goesOn bool, wait time.Duration)
	// Hangs: an attempt was to end KillTimeout ago, and has not. The job is given
	// up. names are the calls of user code that have not returned, and the tasks
	// that have not ended; none: not known. r is how the job ends, and its error why
	// the attempt was to end.
	Hangs(names []string, r JobResult)
}

// JobResult is how a job ended.
type JobResult struct {
	Err        error
	Finished   bool                 // the input ended, and all results are out
	Stopped    bool                 // it was stopped, behind a last checkpoint
	Checkpoint *checkpoint.Manifest // the last complete one; nil: none
	Restarts   int
}

// Counters are the counters of all operators of a job, by task. They outlive
// the attempts.
type Counters struct {
	mu    sync.Mutex
	byID  map[counterKey]*dataflow.Metrics
	lags  map[counterKey]func() int64
	edges map[edgeKey]*edgeCounters
}

type counterKey struct {
	node string
	task int
}

// NewCounters returns empty counters.
func NewCounters() *Counters {
	return &Counters{byID: map[counterKey]*dataflow.Metrics{}, lags: map[counterKey]func() int64{}, edges: map[edgeKey]*edgeCounters{}}
}

// Of returns the counters of an operator in a task.
func (c *Counters) Of(node string, task int) *dataflow.Metrics {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := counterKey{node, task}
	m := c.byID[k]
	if m == nil {
		m = new(dataflow.Metrics)
		m.Watermark.Store(dataflow.NoTime)
		c.byID[k] = m
	}
	return m
}

// restart forgets what is true of an attempt rather than of the job: how far event
// time has come, which begins anew with the sources.
func (c *Counters) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.byID {
		m.Watermark.Store(dataflow.NoTime)
	}
}

// Each calls f for all counters of all operators.
func (c *Counters) Each(f func(node string, task int, m *dataflow.Metrics)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, m := range c.byID {
		f(k.node, k.task, m)
	}
}

func (c *Counters) setLag(node string, task int, f func() int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lags[counterKey{node, task}] = f
}

// Lag is how many records are known to wait in an operator's source, or -1.
func (c *Counters) Lag(node string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum, known := int64(0), false
	for k, f := range c.lags {
		if n := f(); k.node == node && n >= 0 {
			sum, known = sum+n, true
		}
	}
	if !known {
		return -1
	}
	return sum
}

// edgeCounters are the figures of one channel between two tasks.
type edgeCounters struct {
	name            string
	credit, waiting atomic.Int64
}

func (c *Counters) edge(name string, from, to int) *edgeCounters {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := edgeKey{name, from, to}
	if c.edges[k] == nil {
		c.edges[k] = &edgeCounters{name: name}
	}
	return c.edges[k]
}

type edgeKey struct {
	name     string
	from, to int
}

// EachEdge calls f for every channel between two tasks: the parcels that may
// still be sent, and those that wait for credit.
func (c *Counters) EachEdge(f func(edge string, credit, waiting int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.edges {
		f(e.name, e.credit.Load(), e.waiting.Load())
	}
}
