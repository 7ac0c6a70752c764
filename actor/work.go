package actor

import "time"

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
// For that, the work has a goroutine of its own, and the actor hands over to it and
// back: one of them waits at any time. The work stops in Edge.Send only, which
// operators reach when they hand on a batch: user code is never on the stack then,
// and state is as it is between two records. iter.Pull would cost less than these
// handovers, each of which lets others have the processor first, but the process
// dies when user code locks its thread in a coroutine.
//
// Operators of which none makes more of a batch than it holds need none of this.
// Their work is done where it stands, and what it gives rise to waits as a whole.
type worker struct {
	bounded  bool
	resume   chan struct{}  // closed when the work is to be given up
	yielded  chan workState // unbuffered, like resume
	gone     chan struct{}  // closed when the goroutine has ended
	work     work
	err      error
	panicked *PanicError
	under    bool          // work is under way: it has stopped half-way, or runs
	inside   bool          // it runs
	busy     time.Duration // how long the work at hand has run so far
}

type workState uint8

const (
	workEnded workState = iota
	workPaused
	workPanicked
)

// proceed runs the work at hand, until it ends or stops half-way.
func (w *worker) proceed() (ended bool, err error) {
	if w.bounded {
		began := time.Now()
		err := w.work.run()
		w.busy += time.Since(began)
		return true, err
	}
	if w.resume == nil {
		w.resume, w.yielded, w.gone = make(chan struct{}), make(chan workState), make(chan struct{})
		go w.loop()
	}
	w.under, w.inside = true, true
	began := time.Now()
	w.resume <- struct{}{}
	state := <-w.yielded
	w.busy += time.Since(began)
	w.inside = false
	if state == workPanicked {
		panic(w.panicked)
	}
	w.under = state == workPaused
	return !w.under, w.err
}

func (w *worker) loop() {
	ended := false
	defer func() {
		defer close(w.gone)
		reason := recover()
		if ended || reason == any(halted{}) {
			return
		}
		if reason == nil { // it is not a panic, and not a return
			reason = errGoexit
		}
		w.panicked = panicError(reason)
		w.yielded <- workPanicked
	}()
	for range w.resume {
		w.err = w.work.run()
		w.yielded <- workEnded
	}
	ended = true
}

// halted unwinds work that will not be finished.
type halted struct{}

// pause stops the work half-way.
func (w *worker) pause() {
	w.yielded <- workPaused
	if _, ok := <-w.resume; !ok {
		panic(halted{})
	}
}

// halt gives up work that is under way.
func (w *worker) halt() {
	if w.resume != nil && w.panicked == nil {
		close(w.resume)
		<-w.gone
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
