package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/snapshots"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/topology"
)

// Job is a running topology. It is safe for concurrent use.
type Job struct {
	engine   *Engine
	name     string
	graph    *topology.Graph
	drawing  []byte
	config   jobConfig
	handle   *actor.Job
	counters *actor.Counters
	started  time.Time

	mu      sync.Mutex
	state   State
	attempt int
	resumed *Checkpoint
	last    *Checkpoint
	failure error
	hung    error // why it was given up, once hanging is closed

	mailboxes []telemetry.MailboxStats // at the last checkpoint

	done    chan struct{} // closed when the job has ended and is gone
	hanging chan struct{} // closed when it was given up
	result  chan actor.JobResult
	report  Report
	err     error
}

// State is what a job is doing.
type State string

// The states of a job.
const (
	Restoring State = "restoring" // opening sources and sinks, loading state
	Running   State = "running"
	Waiting   State = "waiting"  // it failed, and will begin again
	Stopping  State = "stopping" // it was stopped or killed, or failed for good
	Hanging   State = "hanging"  // it was to end and does not: ErrHanging
	Ended     State = "ended"
)

// Report is how a job ended.
type Report struct {
	Job string
	// Resumed is the checkpoint that the job continued from; nil when it began
	// from nothing.
	Resumed *Checkpoint
	// Finished: the input ended, and all results are out.
	Finished bool
	// AlreadyFinished: an earlier run had finished, so there was nothing to do.
	AlreadyFinished bool
	// Stopped: the job was stopped, behind a last checkpoint.
	Stopped bool
	// Checkpoint is the last complete one; nil when there is none.
	Checkpoint *Checkpoint
	Restarts   int
	Duration   time.Duration
	Operators  []OperatorStatus
}

// Checkpoint describes a complete checkpoint.
type Checkpoint struct {
	Number     uint64
	Time       time.Time
	Duration   time.Duration
	Bytes      int64 // written for it
	StateBytes int64 // of all state it covers
	Records    int64 // read by sources since the job first began
	Savepoint  string
	Finished   bool
}

func describe(m *checkpoint.Manifest) *Checkpoint {
	if m == nil {
		return nil
	}
	return &Checkpoint{Number: m.Checkpoint, Time: time.UnixMilli(m.TimeMs),
		Duration: time.Duration(m.Stats.DurationMs) * time.Millisecond, Bytes: m.Stats.Bytes,
		StateBytes: m.Stats.StateBytes, Records: m.Stats.RecordsIn, Savepoint: m.Savepoint, Finished: m.Finished}
}

func newJob(e *Engine, g *topology.Graph, c jobConfig, drawing []byte) *Job {
	return &Job{engine: e, name: g.Name(), graph: g, drawing: drawing, config: c, counters: actor.NewCounters(),
		started: time.Now(), state: Restoring, done: make(chan struct{}), hanging: make(chan struct{}), result: make(chan actor.JobResult, 1)}
}

// spec is the job as the actors know it.
func (j *Job) spec() *actor.JobSpec {
	c := &j.config
	return &actor.JobSpec{
		Name: j.name, Nodes: j.graph.Nodes(), Graph: j.drawing, KeyGroups: j.graph.KeyGroups(),
		Letters: j.graph.DeadLetterTopics(), Parallelism: c.parallelism, BatchSize: c.batchSize, Window: c.window,
		ExactlyOnce: c.exactly, Checkpoints: checkpoint.Config{Interval: c.every, Timeout: c.timeout, Failures: c.timeouts},
		RetainedCheckpoints: c.retained,
		Restarts:            actor.Restarts{Max: c.restarts, Backoff: c.backoff, BackoffMax: c.backoffMax},
		KillTimeout:         c.killTimeout,
		Restore: actor.Restore{Checkpoint: c.checkpoint, Savepoint: c.savepoint, FreshState: c.fresh,
			Start: c.start, Until: c.until},
		Compatible: j.compatible, Counters: j.counters, Observer: (*observer)(j),
		Done: func(r actor.JobResult) { j.result <- r },
	}
}

// compatible refuses to continue from the checkpoint of a graph whose state the
// new one cannot take over.
func (j *Job) compatible(graph []byte) error {
	var old topology.GraphJSON
	if err := json.Unmarshal(graph, &old); err != nil {
		return fmt.Errorf("the checkpoint's graph cannot be read: %w", err)
	}
	d := j.graph.Diff(old)
	if d.Compatible() || (j.config.allowLost && len(d.Changed) == 0) {
		return nil
	}
	return &IncompatibleError{Job: j.name, Diff: d, Lost: len(d.Changed) == 0}
}

// IncompatibleError says that a topology was changed so that it cannot continue
// from its checkpoint.
type IncompatibleError struct {
	Job  string
	Diff topology.Diff
	Lost bool // something is lost, and nothing changed: AllowLostState would do
}

func (e *IncompatibleError) Error() string {
	way := "give what changed another name, or begin anew with FreshState"
	if e.Lost {
		way = "allow that with AllowLostState, or begin anew with FreshState"
	}
	return fmt.Sprintf("topology %q has changed and cannot continue from its checkpoint: %s\n%s", e.Job, way, e.Diff)
}

// watch waits for the end of the job.
func (j *Job) watch() {
	r := <-j.result
	<-j.handle.Ended()
	j.mu.Lock()
	j.state = Ended
	j.report = j.reportOf(r)
	if r.Finished && j.attempt == 0 {
		j.report.AlreadyFinished, j.report.Resumed = true, j.report.Checkpoint
		j.engine.log.Info("the job had finished, and there was nothing to do; UntilEnd makes a job go on with what was added, ReplayFromBeginning and FreshState begin anew",
			"job", j.name, "checkpoint", j.report.Checkpoint.Number)
	}
	j.err = r.Err
	j.mu.Unlock()
	j.engine.forget(j)
	close(j.done)
}

func (j *Job) reportOf(r actor.JobResult) Report {
	return Report{Job: j.name, Resumed: j.resumed, Finished: r.Finished, Stopped: r.Stopped,
		Checkpoint: describe(r.Checkpoint), Restarts: r.Restarts, Duration: time.Since(j.started),
		Operators: j.operators()}
}

// Name is the name of the topology.
func (j *Job) Name() string { return j.name }

// Graph is the topology.
func (j *Job) Graph() *topology.Graph { return j.graph }

// Done is closed when the job has ended. One that hangs has not.
func (j *Job) Done() <-chan struct{} { return j.done }

// Wait waits for the end of the job and says how it ended. It returns ctx's
// error when that ends first; the job goes on. The error is ErrHanging when the
// job was to end, for whatever reason, and has not KillTimeout later.
func (j *Job) Wait(ctx context.Context) (Report, error) {
	select {
	case <-j.done:
		return j.report, j.err
	case <-j.hanging:
		return j.left()
	case <-ctx.Done():
		return Report{}, ctx.Err()
	}
}

// left is how the job was when it was given up.
func (j *Job) left() (Report, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.report, j.hung
}

// Stop ends the job in good order: sources read no further, what they have read
// goes through to the sinks, and a last checkpoint is taken. A job that has not
// ended after StopTimeout is killed; if it has not ended KillTimeout later, the
// error is ErrHanging, and says where it hangs.
func (j *Job) Stop(ctx context.Context) (Report, error) {
	j.setState(Stopping)
	j.handle.Stop()
	t := time.NewTimer(j.config.stopTimeout)
	defer t.Stop()
	select {
	case <-j.done:
		return j.report, j.err
	case <-j.hanging:
		return j.left()
	case <-ctx.Done():
		return Report{}, ctx.Err()
	case <-t.C:
	}
	return j.end(ctx, fmt.Errorf("job %q did not stop within %v and was ended without a last checkpoint: it will continue from the one before", j.name, j.config.stopTimeout))
}

// Kill ends the job at once, as a crash would: nothing is drained, and no
// checkpoint is taken. A job that has not ended after KillTimeout is ErrHanging.
func (j *Job) Kill(ctx context.Context) error {
	_, err := j.end(ctx, ErrKilled)
	if errors.Is(err, ErrKilled) && !errors.Is(err, ErrHanging) {
		return nil
	}
	return err
}

// end kills the job and waits for its end, but not for ever: user code may ignore
// that its context has ended.
func (j *Job) end(ctx context.Context, reason error) (Report, error) {
	j.handle.Kill(reason)
	return j.Wait(ctx)
}

// givenUp is the error of a job that hangs; nil: it does not.
func (j *Job) givenUp() error {
	select {
	case <-j.hanging:
		return j.hung
	default:
		return nil
	}
}

// ErrHanging: a job was to end and does not, because a source, a sink or a
// function ignores that its context has ended. The error says where, and wraps why
// the job was to end: a failure, say. It does no harm to the data: the job will
// continue from its last checkpoint. It keeps its memory and its files until the
// process ends, and cannot be started again in it.
var ErrHanging = errors.New("it hangs")

// ErrKilled: the job was ended by Kill.
var ErrKilled = errors.New("the job was killed")

// Checkpoint takes a checkpoint now and waits until it is complete. It is one that
// begins behind the call: what the job had done before is part of it.
func (j *Job) Checkpoint(ctx context.Context) (Checkpoint, error) {
	return j.take(ctx, checkpoint.Request{Asked: true})
}

// Savepoint takes a checkpoint now, and copies all its state into a savepoint of
// that name, which is kept until Engine.DeleteSavepoint; FromSavepoint begins with
// it. Names are like those of operators. One that is taken already is replaced, once
// the new one is complete.
func (j *Job) Savepoint(ctx context.Context, name string) (Checkpoint, error) {
	if err := snapshots.CheckName(name); err != nil {
		return Checkpoint{}, err
	}
	return j.take(ctx, checkpoint.Request{Savepoint: name})
}

func (j *Job) take(ctx context.Context, r checkpoint.Request) (Checkpoint, error) {
	type answer struct {
		manifest checkpoint.Manifest
		err      error
	}
	answers := make(chan answer, 1)
	j.handle.Checkpoint(r, func(m checkpoint.Manifest, err error) { answers <- answer{m, err} })
	select {
	case a := <-answers:
		if a.err != nil {
			return Checkpoint{}, fmt.Errorf("checkpoint of job %q: %w", j.name, a.err)
		}
		return *describe(&a.manifest), nil
	case <-j.done:
		return Checkpoint{}, fmt.Errorf("checkpoint of job %q: the job has ended", j.name)
	case <-ctx.Done():
		return Checkpoint{}, ctx.Err()
	}
}

// await waits for the end of the job, and stops it when ctx ends first.
func (j *Job) await(ctx context.Context) (Report, error) {
	select {
	case <-j.done:
		return j.report, j.err
	case <-j.hanging:
		return j.left()
	case <-ctx.Done():
		return j.Stop(context.WithoutCancel(ctx))
	}
}

func (j *Job) setState(s State) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != Ended && j.state != Stopping && j.state != Hanging {
		j.state = s
	}
}

// observer is the job as its actors see it.
type observer Job

func (o *observer) Began(attempt int, _ *dataflow.Plan, from *checkpoint.Manifest) {
	j := (*Job)(o)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.attempt = attempt
	if j.state != Stopping {
		j.state = Running
	}
	c := describe(from)
	if attempt == 1 {
		j.resumed = c
	}
	if c != nil {
		j.last = c
		j.engine.log.Info("resumed", "job", j.name, "checkpoint", c.Number, "records", c.Records, "state_bytes", c.StateBytes)
	}
}

func (o *observer) CheckpointCompleted(m *checkpoint.Manifest) {
	j := (*Job)(o)
	c := describe(m)
	j.mu.Lock()
	j.last = c
	j.mu.Unlock()
	j.noteMailboxes()
	j.engine.metrics.CheckpointCompleted(j.name, c.Duration)
	j.engine.log.Debug("checkpoint complete", "job", j.name, "checkpoint", c.Number, "duration", c.Duration, "bytes", c.Bytes)
}

func (o *observer) CheckpointFailed(number uint64, err error) {
	j := (*Job)(o)
	j.engine.log.Warn("checkpoint failed", "job", j.name, "checkpoint", number, "error", err)
	j.engine.metrics.CheckpointFailed(j.name, "timeout")
}

func (o *observer) CheckpointUnusable(err error) {
	j := (*Job)(o)
	j.engine.log.Error("a checkpoint cannot be used; falling back to the one before", "job", j.name, "error", err)
}

func (o *observer) Aligned(waited time.Duration) {
	j := (*Job)(o)
	j.engine.metrics.Aligned(j.name, waited)
}

func (o *observer) Failed(err error, goesOn bool, wait time.Duration) {
	j := (*Job)(o)
	j.mu.Lock()
	j.failure = err
	j.mu.Unlock()
	if !goesOn {
		j.setState(Stopping)
		j.engine.log.Error("the job failed", "job", j.name, "error", err)
		return
	}
	j.setState(Waiting)
	j.engine.log.Error("the job failed and begins again from its last checkpoint", "job", j.name, "error", err, "wait", wait)
}

func (o *observer) Hangs(names []string, r actor.JobResult) {
	j := (*Job)(o)
	where := "a place that is not known"
	if len(names) > 0 {
		where = strings.Join(names, ", ")
	}
	done := ""
	if r.Finished || r.Stopped {
		done = "is complete, and "
	}
	hung := fmt.Errorf("job %q %swas to end and has not within %v: %w in %s", j.name, done, j.config.killTimeout, ErrHanging, where)
	if r.Err != nil {
		hung = fmt.Errorf("%w; it was to end for this: %w", hung, r.Err)
	}
	j.mu.Lock()
	j.state, j.hung, j.report = Hanging, hung, j.reportOf(r)
	j.mu.Unlock()
	j.engine.log.Error("the job hangs and is left behind", "job", j.name, "error", hung)
	close(j.hanging)
}
