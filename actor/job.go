package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/storage"
)

// job keeps a topology running: it restores an attempt from the newest
// checkpoint, lets it run, and begins another when it fails.
//
//	owns      its attempt's tasks and coordinator, as children
//	receives  attemptPrepared, attemptFailed, attemptDone, attemptEnded, about
//	          the attempt; endOverdue, from its clock; stopJob, killJob and
//	          requestCheckpoint, from the engine
//	sends     begin to the tasks; the result, to whoever started it
//	keeps     how often it was restarted
//	dies      when its input has ended, when it was stopped, or when it fails
//	          more often than it may
type job struct {
	sys       *System
	spec      *JobSpec
	self      *pactor.PID
	attempt   *attempt
	number    int
	serial    uint64 // of the attempt, among all of the system
	restarts  int    // since the last complete checkpoint
	total     int
	children  map[string]*pactor.PID
	preparing bool
	running   bool
	ending    bool
	releasing bool
	stopping  bool
	outcome   *JobResult // how it ends once the attempt is gone; nil: restart
	failure   error
	reason    error       // why the attempt was ended; nil: its work was done
	overdue   *time.Timer // runs while the attempt ends
	last      *checkpoint.Manifest
	queued    []requestCheckpoint
}

// StartJob starts a job. Its actor is named "job-" and the name of the job,
// which must not be running.
func (s *System) StartJob(spec *JobSpec) (*Job, error) {
	pid, err := s.Spawn("job-"+spec.Name, func() pactor.Actor {
		return &job{sys: s, spec: spec}
	}, WithChildSupervision(failJob{s}))
	if err != nil {
		return nil, err
	}
	return &Job{sys: s, pid: pid}, nil
}

// Job is a handle on a running job.
type Job struct {
	sys *System
	pid *pactor.PID
}

// Stop asks for a last checkpoint, and ends the job behind it: sources read no
// further, what they have read is processed, written and committed.
func (j *Job) Stop() { j.sys.Send(j.pid, stopJob{}) }

// Kill ends the job at once, as a crash would.
func (j *Job) Kill(err error) { j.sys.Send(j.pid, killJob{err}) }

// Checkpoint asks for a checkpoint now and calls answer, which must not block,
// when it is complete or has failed.
func (j *Job) Checkpoint(r checkpoint.Request, answer func(checkpoint.Manifest, error)) {
	j.sys.Send(j.pid, requestCheckpoint{request: r, answer: answer})
}

// Ended returns a channel that is closed when the job's actor is gone.
func (j *Job) Ended() <-chan struct{} { return j.sys.Watch(j.pid) }

// Receive implements pactor.Actor.
func (j *job) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		j.self = ctx.Self()
		j.begin()
	case restartJob:
		if m.after == j.serial {
			j.begin()
		}
	case attemptPrepared:
		j.prepared(ctx, m)
	case attemptFailed:
		if m.attempt == j.number {
			j.failed(ctx, m.err)
		}
	case attemptDone:
		if m.attempt == j.number {
			j.last = m.manifest
			j.end(ctx, &JobResult{Finished: !m.stopped, Stopped: m.stopped})
		}
	case attemptEnded:
		j.attemptEnded(ctx, m)
	case *pactor.Terminated:
		j.childEnded(m)
	case stopJob:
		j.stop(ctx)
	case killJob:
		j.end(ctx, &JobResult{Err: m.err})
	case requestCheckpoint:
		j.request(m)
	case endOverdue:
		j.hangs(m)
	case childFailed:
		j.failed(ctx, m.err)
	case checkpointNoted:
		j.last, j.restarts = m.manifest, 0
	case *pactor.Stopping:
		j.abandon()
	case *pactor.Stopped:
		j.abandoned()
	}
}

// checkpointNoted tells the job of its progress.
type checkpointNoted struct{ manifest *checkpoint.Manifest }

// begin prepares an attempt: opening sources and sinks and restoring state is
// I/O, and happens in the background.
func (j *job) begin() {
	if j.outcome != nil {
		return
	}
	j.number++
	j.spec.Counters.restart()
	j.serial = j.sys.attempts.Add(1)
	a := &attempt{sys: j.sys, job: j.self, spec: j.spec, number: j.number}
	a.ctx, a.cancel = context.WithCancel(withCheckpoints(WithSystem(context.Background(), j.sys), j.self))
	a.letters = newLetterbox(a)
	j.attempt, j.preparing, j.running, j.ending, j.releasing, j.reason = a, true, false, false, false, nil
	j.children = map[string]*pactor.PID{}
	a.group.Go(func() {
		m := attemptPrepared{attempt: a}
		err := a.guarded("what the job reads, writes or stores cannot be opened", func(ctx context.Context) {
			m.ready, m.err = a.prepare(ctx)
		})
		if err != nil {
			m.ready, m.err = nil, err
		}
		a.tellStack(m.err)
		j.sys.Send(j.self, m)
	})
}

func (j *job) prepared(ctx pactor.Context, m attemptPrepared) {
	if m.attempt != j.attempt {
		return
	}
	j.preparing = false
	switch {
	case j.ending:
		m.attempt.ready = m.ready // to be closed, in the background
		j.teardown(ctx)
	case m.err != nil && j.number == 1:
		// Nothing has run yet: this is about how the job was set up, and would
		// be the same the next time.
		j.end(ctx, &JobResult{Err: m.err})
	case m.err != nil:
		j.failed(ctx, m.err)
	case m.ready.finished:
		j.last = m.attempt.manifest
		j.end(ctx, &JobResult{Finished: true})
	default:
		j.run(ctx, m.ready)
	}
}

// run spawns the actors of an attempt and connects them.
func (j *job) run(ctx pactor.Context, r *readyTasks) {
	a := j.attempt
	a.ready = r
	c := newCoordinatorActor(a, r)
	a.coord = j.spawn(ctx, "coordinator", c)
	tasks := map[taskKey]*pactor.PID{}
	var all, sources []*pactor.PID
	for _, t := range r.tasks {
		pid := j.spawn(ctx, t.name, t.actor, WithMailbox(t.mailboxMessages, t.mailboxBytes))
		tasks[t.key] = pid
		all = append(all, pid)
		if t.source {
			sources = append(sources, pid)
		}
	}
	a.tasks = tasks // before the first message to any of them
	j.running = true
	j.spec.Observer.Began(a.number, a.plan, a.manifest)
	j.sys.Send(a.coord, beginCoordination{sources: sources, tasks: all, throughs: r.throughPIDs(tasks)})
	for _, pid := range all {
		j.sys.Send(pid, begin{})
	}
	for _, q := range j.queued {
		j.sys.Send(a.coord, q)
	}
	j.queued = nil
	if j.stopping {
		j.sys.Send(a.coord, requestCheckpoint{request: checkpoint.Request{Stop: true}})
	}
}

func (j *job) spawn(ctx pactor.Context, name string, actor pactor.Actor, opts ...SpawnOption) *pactor.PID {
	props := j.sys.Props(func() pactor.Actor { return actor }, opts...)
	// A job of this name may have run before, and what was sent to its actor last
	// may reach this one: that a child has ended, twice for each. The name of a
	// child is used only once, so that it cannot be mistaken for one of ours.
	pid, err := ctx.SpawnNamed(props, fmt.Sprintf("%d-%s", j.serial, name))
	if err != nil {
		// The names are ours and unique; the library has no other error.
		panic(err)
	}
	ctx.Watch(pid)
	j.children[pid.Id] = pid
	return pid
}

// failed ends the attempt, and then begins another unless the failure would
// only repeat itself. It is told at once: user code may take its time to return,
// and the attempt does not end before it has.
func (j *job) failed(ctx pactor.Context, err error) {
	if j.ending || j.attempt == nil {
		return
	}
	var outcome *JobResult
	if permanent(err) || j.restarts >= j.spec.Restarts.Max {
		if j.restarts > 0 && !permanent(err) {
			err = fmt.Errorf("gave up after %d restarts: %w", j.restarts, err)
		}
		outcome = &JobResult{Err: err}
	}
	j.failure, j.reason = err, err
	j.spec.Observer.Failed(err, outcome == nil, j.pause())
	j.end(ctx, outcome)
}

// pause is the wait before the next attempt.
func (j *job) pause() time.Duration {
	return min(j.spec.Restarts.Backoff<<min(j.restarts, 20), j.spec.Restarts.BackoffMax)
}

// permanent says whether a failure would repeat itself: user code that keeps
// failing on a record, a record that nobody can read, a source that cannot be
// resumed, an owner that was replaced.
func permanent(err error) bool {
	var user *dataflow.Failure
	var record *dataflow.RecordError
	return errors.As(err, &user) || errors.As(err, &record) || errors.Is(err, storage.ErrFenced) || errors.Is(err, errNoPosition)
}

// end ends the attempt. The outcome is reported when nothing of it is left; a
// nil outcome means a restart.
func (j *job) end(ctx pactor.Context, outcome *JobResult) {
	if j.outcome == nil {
		j.outcome = outcome
	}
	if j.ending {
		return
	}
	j.ending = true
	if outcome != nil {
		j.reason = outcome.Err
	}
	j.watchEnd()
	if j.attempt == nil {
		j.finish(ctx)
		return
	}
	if j.preparing {
		j.attempt.cancel() // attemptPrepared will come, and be torn down
		return
	}
	j.teardown(ctx)
}

// endOverdue says that an attempt was to end KillTimeout ago.
type endOverdue struct{ attempt uint64 }

// watchEnd starts the clock: user code may ignore that its context has ended.
func (j *job) watchEnd() {
	if j.spec.KillTimeout <= 0 || j.attempt == nil {
		return
	}
	sys, self, attempt := j.sys, j.self, j.serial
	j.overdue = time.AfterFunc(j.spec.KillTimeout, func() { sys.Send(self, endOverdue{attempt}) })
}

func (j *job) unwatchEnd() {
	if j.overdue != nil {
		j.overdue.Stop()
		j.overdue = nil
	}
}

// hangs gives up an attempt that does not end, and the job with it: the system no
// longer waits for it when it is closed. It ends all the same, if it can, and
// does not begin again then: whoever runs it was told that it is over.
func (j *job) hangs(m endOverdue) {
	if m.attempt != j.serial || !j.ending || j.overdue == nil {
		return
	}
	j.overdue = nil
	if j.outcome == nil {
		j.outcome = &JobResult{Err: j.failure}
	}
	j.sys.abandoned.Store(true)
	j.sys.forget(j.self)
	r := j.result()
	r.Err = j.reason
	j.spec.Observer.Hangs(j.hanging(), r)
}

// teardown stops the attempt's actors, waits for its background work, and lets
// go of what it has open.
func (j *job) teardown(ctx pactor.Context) {
	a := j.attempt
	a.cancel()
	for _, pid := range j.children {
		ctx.Stop(pid)
	}
	if len(j.children) == 0 {
		j.waitForBackground()
	}
}

func (j *job) childEnded(m *pactor.Terminated) {
	if _, ok := j.children[m.Who.Id]; !ok {
		return
	}
	delete(j.children, m.Who.Id)
	if j.ending && len(j.children) == 0 {
		j.waitForBackground()
	}
}

func (j *job) waitForBackground() {
	sys, self, number := j.sys, j.self, j.attempt.number
	j.release(func() { sys.Send(self, attemptEnded{attempt: number}) })
}

// release waits for the attempt's background work, lets go of what it has open,
// and then calls done.
func (j *job) release(done func()) {
	j.releasing = true
	a, complete := j.attempt, j.outcome != nil && (j.outcome.Finished || j.outcome.Stopped)
	work := func(context.Context) {
		a.group.Wait()
		a.close(complete)
		done()
	}
	if !j.sys.Go(work) { // it was closed without waiting for this job
		go work(context.Background())
	}
}

// hanging is what the end of the attempt waits for.
func (j *job) hanging() []string {
	a := j.attempt
	if a == nil {
		return nil
	}
	names := a.calls.names()
	if a.ready == nil {
		return names
	}
	for _, t := range a.ready.tasks {
		if pid := a.tasks[t.key]; pid != nil && j.children[pid.Id] != nil {
			names = append(names, t.title(a.plan))
		}
	}
	return names
}

func (j *job) attemptEnded(ctx pactor.Context, m attemptEnded) {
	if m.attempt != j.number {
		return
	}
	j.unwatchEnd()
	if j.outcome != nil {
		j.finish(ctx)
		return
	}
	// Between two attempts there is nothing to end: whoever stops or kills the
	// job now finishes it at once.
	j.attempt, j.running, j.ending = nil, false, false
	wait := j.pause()
	j.restarts++
	j.total++
	sys, self, after := j.sys, j.self, j.serial
	time.AfterFunc(wait, func() { sys.Send(self, restartJob{after}) })
}

func (j *job) finish(ctx pactor.Context) {
	j.attempt = nil
	j.refuseQueued()
	j.spec.Done(j.result())
	j.spec.Done = func(JobResult) {}
	ctx.Stop(j.self)
}

func (j *job) result() JobResult {
	r := *j.outcome
	r.Checkpoint, r.Restarts = j.last, j.total
	return r
}

// stop takes a last checkpoint. Before the attempt runs there is nothing to
// take one of.
func (j *job) stop(ctx pactor.Context) {
	if j.stopping {
		return
	}
	j.stopping = true
	if j.running && !j.ending {
		j.sys.Send(j.attempt.coord, requestCheckpoint{request: checkpoint.Request{Stop: true}})
		return
	}
	outcome := &JobResult{Stopped: true}
	if j.failure != nil { // it has failed and not come back: that is no good order
		outcome = &JobResult{Err: fmt.Errorf("stopped without a last checkpoint, as it kept failing: %w", j.failure)}
	}
	j.end(ctx, outcome)
}

func (j *job) request(m requestCheckpoint) {
	if j.running && !j.ending {
		j.sys.Send(j.attempt.coord, m)
		return
	}
	if j.outcome != nil {
		if m.answer != nil {
			m.answer(checkpoint.Manifest{}, ErrStopped)
		}
		return
	}
	j.queued = append(j.queued, m)
}

func (j *job) refuseQueued() {
	for _, q := range j.queued {
		if q.answer != nil {
			q.answer(checkpoint.Manifest{}, ErrStopped)
		}
	}
	j.queued = nil
}

// abandon is for a job whose actor is stopped from outside: the system closes.
func (j *job) abandon() {
	j.unwatchEnd()
	if j.attempt != nil {
		j.attempt.cancel()
	}
	j.refuseQueued()
}

// abandoned comes when the tasks have ended: nothing begins work in the
// background any more, so it can be waited for.
func (j *job) abandoned() {
	if j.attempt != nil && !j.releasing {
		j.release(func() {})
	}
	j.spec.Done(JobResult{Err: errSystemClosed, Checkpoint: j.last, Restarts: j.total})
	j.spec.Done = func(JobResult) {}
}

// failJob is the supervision of a job's children. A panic in one of them is a
// mistake of ours; its state is not to be trusted, so the attempt ends.
type failJob struct{ sys *System }

// HandleFailure implements pactor.SupervisorStrategy.
func (f failJob) HandleFailure(_ *pactor.ActorSystem, supervisor pactor.Supervisor, child *pactor.PID,
	_ *pactor.RestartStatistics, reason, _ any) {
	err := fmt.Errorf("actor %s: %w", child.Id, asError(reason))
	var p *PanicError
	if errors.As(err, &p) {
		f.sys.Logger().Error("an actor failed", "actor", child.Id, "reason", p.Reason, "stack", string(p.Stack))
	}
	supervisor.StopChildren(child)
	if c, ok := supervisor.(pactor.Context); ok {
		f.sys.Send(c.Self(), childFailed{err})
	}
}

// childFailed tells the job that one of its actors panicked.
type childFailed struct{ err error }
