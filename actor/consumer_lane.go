package actor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/inflight"
)

// consumerLane is one partition in the hands of a consumer: a fetcher takes
// records in, and as many workers as have something to do hand them to the
// handler. A worker ends when there is nothing for it; whoever makes a record
// ready starts the workers that this takes. Both is decided under the lock, so no
// record is left lying.
type consumerLane struct {
	consumer *Consumer
	TopicPartition

	mu      sync.Mutex
	claim   group.Claim
	window  *inflight.Window[*Delivery]
	before  consumerNote // of the owner before
	origin  origin       // where to begin
	began   bool         // at that offset, which is start
	start   uint64
	stored  stored
	run     uint64 // counts starts: a fetcher of an earlier one adds nothing
	workers int
	starved chan struct{} // closed when there is room; nil: the fetcher does not wait
	open    bool          // records are handed out, unless paused
	paused  bool
	leaving bool // it will not be opened again
	dropped bool // what comes of the records at work is not wanted
	failed  error
	count   uint64 // records done
	meter   meter  // of them

	ctx    context.Context // of handlers and the fetcher
	cancel context.CancelFunc
	calm   chan struct{} // closed when something has come to its end; nil: nobody waits
}

// origin says where a lane begins.
type origin struct {
	committed bool // at next
	next      uint64
	seek      *From // or here
}

// stored is what is known to be committed.
type stored struct {
	known bool
	next  uint64
	note  string
}

func newConsumerLane(c *Consumer, a group.Assignment) *consumerLane {
	l := &consumerLane{consumer: c, TopicPartition: TopicPartition{a.Topic, a.Partition}, before: parseNote(a.Metadata)}
	l.window = inflight.New[*Delivery](c.options.Limits, int(c.concurrency.Load()), a.Next)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.give(a)
	return l
}

// give notes what the group says about the partition.
func (l *consumerLane) give(a group.Assignment) {
	l.claim = a.Claim
	l.origin = origin{committed: a.Committed, next: a.Next}
	l.stored = stored{a.Committed, a.Next, a.Metadata}
}

// begin starts to fetch and to hand out.
func (l *consumerLane) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaving {
		return
	}
	l.run++
	l.open, l.dropped = true, false
	run, ctx := l.run, l.ctx
	l.meter.look(time.Now(), l.count)
	l.consumer.sys.Go(func(context.Context) { (&consumerFetch{lane: l, run: run, ctx: ctx}).loop() })
}

// finish hands out only what is left between records that were handed out.
func (l *consumerLane) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window.Finish()
}

// hold stops handing out. With drop, nobody waits for what the handlers at work
// come to.
func (l *consumerLane) hold(drop bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = false
	if drop {
		l.dropped = true
		l.cancel()
	}
}

// restart goes on elsewhere. What is at work is ignored from now on.
func (l *consumerLane) restart(f func()) {
	l.mu.Lock()
	if !l.leaving {
		l.ctx, l.cancel = context.WithCancel(context.Background())
		l.before = consumerNote{Replay, max(l.window.Handed(), l.before.handed)}
		l.began, l.failed = false, nil
		l.window.Restart(l.window.Position())
		f()
	}
	l.mu.Unlock()
	l.begin()
}

// abandon ends the lane: completions are ignored, handlers are told by their
// context, and the position stays what it is.
func (l *consumerLane) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.leaving = false, true
	l.window.Close()
	l.cancel()
	l.settleDown()
}

// handOut starts the workers that have something to do.
func (l *consumerLane) handOut() {
	if !l.handing() {
		return
	}
	for want := l.window.Wanted(); l.workers < want; l.workers++ {
		if !l.consumer.sys.Go(func(context.Context) { l.work() }) {
			return
		}
	}
}

func (l *consumerLane) handing() bool { return l.open && !l.paused && l.failed == nil }

func (l *consumerLane) work() {
	for {
		d, ctx := l.take()
		if d == nil {
			return
		}
		if err := l.call(ctx, d); err != nil {
			l.fail(ctx, d, err)
		} else {
			l.handled(d)
		}
	}
}

// take returns the next record for a worker; nil when there is none, and the
// worker ends.
func (l *consumerLane) take() (*Delivery, context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handing() {
		if t, d, ok := l.window.Take(); ok {
			d.ticket = t
			return d, l.ctx
		}
	}
	l.workers--
	return nil, nil
}

func (l *consumerLane) call(ctx context.Context, d *Delivery) (err error) {
	defer dataflow.Recovered(&err)
	return l.consumer.handler(ctx, d)
}

func (l *consumerLane) settled(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done(d.ticket)
	l.handOut()
}

// handled is what happens when a handler returns without an error.
func (l *consumerLane) handled(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.consumer.options.ManualAck {
		l.window.Return(d.ticket) // false if it was acknowledged already
		l.settleDown()
	} else {
		l.done(d.ticket)
	}
	l.handOut()
}

func (l *consumerLane) ack(d *Delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.consumer.options.ManualAck || !l.done(d.ticket) {
		return false
	}
	l.handOut()
	return true
}

func (l *consumerLane) done(t inflight.Ticket) bool {
	if !l.window.Done(t) {
		return false
	}
	l.count++
	l.consumer.progress.Add(1)
	l.settleDown()
	if l.starved != nil && l.roomy() {
		close(l.starved)
		l.starved = nil
	}
	return true
}

// fail is what happens when a handler fails.
func (l *consumerLane) fail(ctx context.Context, d *Delivery, err error) {
	l.mu.Lock()
	unwanted := l.dropped || l.leaving
	l.mu.Unlock()
	if unwanted {
		l.putBack(d, d)
		return
	}
	switch v := l.judge(ctx, d, err); v.action {
	case verdictDone:
		l.settled(d)
	case verdictRetry:
		l.retry(d, err, v.after)
	default:
		l.stop(d, v.err)
	}
}

// judge asks the policy. One that panics stops the partition.
func (l *consumerLane) judge(ctx context.Context, d *Delivery, err error) (v Verdict) {
	panicked := dataflow.Protect(func() error {
		v = l.consumer.options.OnFailure.Failed(ctx, d, err)
		return nil
	})
	if panicked != nil {
		return Stop(errors.Join(err, panicked))
	}
	if v.action == verdictStop && v.err == nil {
		v.err = err
	}
	return v
}

// putBack takes a record from its handler without its being done.
func (l *consumerLane) putBack(d, instead *Delivery) (inflight.Ticket, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.window.Postpone(d.ticket, instead)
	l.settleDown()
	return t, ok
}

// retry delivers a record again, as another Delivery: the handler may have kept the
// one it had.
func (l *consumerLane) retry(d *Delivery, err error, after time.Duration) {
	again := *d
	again.Attempt++
	again.Cause = Nack
	if errors.Is(err, context.DeadlineExceeded) {
		again.Cause = Timeout
	}
	t, ok := l.putBack(d, &again)
	if !ok {
		return
	}
	time.AfterFunc(after, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.window.Resume(t) {
			l.handOut()
		}
	})
}

// stop ends work on the partition. The consumer keeps it: it is for people to
// decide what becomes of it.
func (l *consumerLane) stop(d *Delivery, err error) {
	if _, ok := l.putBack(d, d); ok {
		l.giveUp(&HandlerError{l.TopicPartition, d.Offset, d.Attempt, err})
	}
}

func (l *consumerLane) giveUp(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil && !l.leaving {
		l.failed = err
		l.settleDown()
		l.report(err)
	}
}

// unreadable says that nothing more can be taken in. What was is still handed out.
func (l *consumerLane) unreadable(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leaving {
		l.report(err)
	}
}

func (l *consumerLane) report(err error) { l.consumer.sys.Send(l.consumer.pid, laneStopped{l, err}) }

// settleDown tells those who wait for handlers that something has changed.
func (l *consumerLane) settleDown() {
	if l.calm != nil {
		close(l.calm)
		l.calm = nil
	}
}

// drained waits until no handler is at work, and none will be; with acked, until no
// record is in flight.
func (l *consumerLane) drained(ctx context.Context, acked bool) bool {
	for {
		l.mu.Lock()
		idle := l.window.Running() == 0 && (l.window.Idle() || !l.handing())
		if idle && (!acked || l.window.InFlight() == 0) {
			l.mu.Unlock()
			return true
		}
		if l.calm == nil {
			l.calm = make(chan struct{})
		}
		calm := l.calm
		l.mu.Unlock()
		select {
		case <-calm:
		case <-ctx.Done():
			return false
		}
	}
}

func (l *consumerLane) setPaused(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = on
	l.handOut()
}

func (l *consumerLane) setWorkers(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window.SetWorkers(n)
	l.handOut()
}

// is says whether a claim is that of the lane.
func (l *consumerLane) is(c group.Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.claim == c
}

func (l *consumerLane) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving
}

// seekEarly moves a lane that has not begun yet.
func (l *consumerLane) seekEarly(to From) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run > 0 {
		return false
	}
	l.origin = origin{seek: &to}
	return true
}

// look brings the meter up to date, and says how many records are in flight.
func (l *consumerLane) look() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meter.look(time.Now(), l.count)
	return l.window.InFlight()
}

// stand says where the lane stands; ok is false when it has not begun.
func (l *consumerLane) stand() (s laneStand, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return laneStand{l.TopicPartition, l.claim.Epoch, l.window.Position(), l.meter.look(time.Now(), l.count)}, l.began
}

// due is what there is to commit. With begun, it is where the lane began, if that
// was not committed.
func (l *consumerLane) due(begun bool) (o group.Offset, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o = group.Offset{Claim: l.claim, Next: l.window.Position()}
	if begun {
		o.Next = l.start
		return o, l.began && !l.stored.known
	}
	if handed := max(l.window.Handed(), l.before.handed); handed > o.Next {
		o.Metadata = l.note(handed)
	}
	fresh := !l.stored.known || o.Next > l.stored.next || o.Next == l.stored.next && o.Metadata != l.stored.note
	return o, l.began && fresh
}

func (l *consumerLane) note(handed uint64) string {
	cause := Crash
	switch {
	case l.before.handed > l.window.Handed():
		cause = l.before.cause // some of what the owner before had was not even begun
	case l.leaving:
		cause = Rebalance
	}
	return consumerNote{cause, handed}.String()
}

// committed notes that a commit is durable.
func (l *consumerLane) committed(o group.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.Claim == l.claim {
		l.stored = stored{true, o.Next, o.Metadata}
	}
}
