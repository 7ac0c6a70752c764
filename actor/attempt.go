package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/snapshots"
)

// attempt is one try at running a job: from a checkpoint, or from nothing,
// until the end or the first failure. Everything that belongs to it ends with
// its context, and the next attempt begins only when all of it has ended.
type attempt struct {
	sys      *System
	job      *pactor.PID
	coord    *pactor.PID
	spec     *JobSpec
	number   int
	store    *snapshots.Store
	manifest *checkpoint.Manifest // what it resumes from; nil: from nothing
	plan     *dataflow.Plan
	letters  *letterbox
	ready    *readyTasks
	tasks    map[taskKey]*pactor.PID // set before any task is told to begin
	// What there is from before: the newest checkpoint's number, and all that
	// are kept, oldest first.
	lastNumber uint64
	retained   []checkpoint.Retained
	back       goingBack

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	failed atomic.Bool
	calls  calls

	settlements settlements
}

// background runs the I/O of one of the attempt's actors. Sources, sinks and
// codecs may be the user's: a panic there ends the attempt, not the process.
func (a *attempt) background(who string, f func(ctx context.Context)) {
	a.group.Go(func() {
		defer a.calls.enter(who).leave()
		returned := false
		defer func() {
			if !returned {
				a.fail(who, errGoexit)
			}
		}()
		if err := a.guarded(who, f); err != nil {
			a.fail(who, err)
		}
		returned = true
	})
}

// guarded runs f and returns its panic, if there is one, as an error.
func (a *attempt) guarded(who string, f func(ctx context.Context)) error {
	if err := dataflow.Protect(func() error { f(a.ctx); return nil }); err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	return nil
}

// call runs a part of a source or sink, and names it in its error or panic.
func (a *attempt) call(n *dataflow.Node, f func() error) error {
	defer a.calls.enter(n.Title()).leave()
	return n.Call(f)
}

// tellStack logs where user code has panicked, if err says that it has.
func (a *attempt) tellStack(err error) {
	if stack := dataflow.StackOf(err); stack != "" {
		a.sys.log.Error("user code panicked", "job", a.spec.Name, "error", err, "stack", stack)
	}
}

// closing is what closes a task, which may be the user's code, too: its panic is
// an error, and the other tasks are closed all the same.
func (a *attempt) closing(who string, f func() error) func() error {
	return func() (err error) {
		defer a.calls.enter("closing " + who).leave()
		panicked := a.guarded("closing "+who, func(context.Context) { err = f() })
		a.tellStack(panicked)
		return cmp.Or(panicked, err)
	}
}

// fail ends the attempt. The first failure counts; those that follow from it
// do not.
func (a *attempt) fail(task string, err error) {
	if a.ctx.Err() == nil && a.failed.CompareAndSwap(false, true) {
		a.tellStack(err)
		a.sys.Send(a.job, attemptFailed{attempt: a.number, task: task, err: err})
	}
}

// preparing calls a sink's Prepare with a context that ends when the checkpoint has
// had its time. The time counts from the call: a barrier that was late, since there
// was much to do in front of it, is not the sink's fault.
func (a *attempt) preparing(ctx context.Context, number uint64, prepare func(context.Context) error) error {
	limit := a.spec.Checkpoints.Timeout
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errPrepareLate)
		defer cancel()
	}
	err := prepare(ctx)
	switch {
	case err == nil:
		return nil
	case context.Cause(ctx) == errPrepareLate:
		return fmt.Errorf("prepare checkpoint %d: %w (%v): %w", number, errPrepareLate, limit, err)
	default:
		return fmt.Errorf("prepare checkpoint %d: %w", number, err)
	}
}

// errPrepareLate ends the context of a Prepare.
var errPrepareLate = errors.New("it took longer than CheckpointTimeout")

func (a *attempt) now() time.Time { return time.Now() }

// incarnation is the job's fencing epoch.
func (a *attempt) incarnation() uint64 { return a.store.Incarnation() }

// closeFailed tells of a source or sink that could not be closed. A job that goes on
// from its last checkpoint has lost nothing by it.
func (a *attempt) closeFailed(err error) {
	a.sys.log.Warn("what the job reads or writes could not be closed", "job", a.spec.Name, "error", err)
}

// closeFailedLast tells of it behind the last checkpoint, which has committed all
// results: so the job has succeeded, and yet whatever the sink left for its Close
// may be missing.
func (a *attempt) closeFailedLast(err error) {
	a.sys.log.Error("the job is complete, but what it reads or writes could not be closed: look whether all of its results are there",
		"job", a.spec.Name, "error", err)
}

// close lets go of what the attempt has open. Nothing of it runs any more. complete:
// it ends behind its last checkpoint.
func (a *attempt) close(complete bool) {
	failed := a.closeFailed
	if complete {
		failed = a.closeFailedLast
	}
	if a.ready != nil {
		a.ready.close(failed)
	}
	if a.store != nil {
		_ = a.store.Close()
	}
}
