package actor

import (
	"iter"
	"runtime/debug"
	"time"
)

// parcelsAhead is how many parcels of one channel wait for credit before the
// work that gives rise to them stops half-way.
const parcelsAhead = 8

// work is something a task does with its operators: it delivers a batch, say.
type work interface {
	run() error
	done() // once run has ended without an error
}

// worker runs the work of a task in such a way that it can stop half-way, where
// its output waits for credit, and go on later. What one batch gives rise to has
// no bound: a record can become a thousand, and a watermark can end a million
// windows. So it must not be finished first and sent later.
//
// It is a coroutine (iter.Pull), because the calls to be interrupted go through
// any number of operators. It stops in Edge.Send only, which operators reach when
// they hand on a batch: user code is never on the stack then, and state is as it
// is between two records.
type worker struct {
	next     func() (ended, ok bool)
	stop     func()
	yield    func(ended bool) bool
	work     work
	err      error
	panicked *PanicError
	under    bool          // work is under way: it has stopped half-way, or runs
	inside   bool          // it runs
	busy     time.Duration // how long the work at hand has run so far
}

// proceed runs the work at hand, until it ends or stops half-way.
func (w *worker) proceed() (ended bool, err error) {
	if w.next == nil {
		w.next, w.stop = iter.Pull(w.loop)
	}
	w.under, w.inside = true, true
	began := time.Now()
	ended, ok := w.next()
	w.busy += time.Since(began)
	w.inside = false
	if !ok && w.panicked != nil {
		panic(w.panicked)
	}
	w.under = !ended
	return ended, w.err
}

func (w *worker) loop(yield func(ended bool) bool) {
	defer func() {
		if reason := recover(); reason != nil && reason != any(halted{}) {
			w.panicked = &PanicError{Reason: reason, Stack: debug.Stack()}
		}
	}()
	for w.yield = yield; ; {
		w.err = w.work.run()
		if !yield(true) {
			return
		}
	}
}

// halted unwinds work that will not be finished.
type halted struct{}

// pause stops the work half-way.
func (w *worker) pause() {
	if !w.yield(false) {
		panic(halted{})
	}
}

// halt gives up work that is under way.
func (w *worker) halt() {
	if w.stop != nil {
		w.stop()
	}
}

// do begins work. What is under way must have ended.
func (c *taskCore) do(w work) {
	c.worker.work, c.worker.busy = w, 0
	c.proceed()
}

// proceed goes on with the work at hand.
func (c *taskCore) proceed() {
	ended, err := c.worker.proceed()
	if err != nil {
		c.fail(err)
		return
	}
	if ended {
		c.worker.work.done()
	}
}

// ready says whether the task can begin something new. Work that has stopped
// half-way goes on as soon as there is credit.
func (c *taskCore) ready() bool {
	for c.worker.under && !c.stalled() && !c.attempt.failed.Load() {
		c.proceed()
	}
	return !c.worker.under && !c.stalled()
}
