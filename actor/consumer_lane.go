package actor

import (
	"context"
	"sync"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/inflight"
	"github.com/troupestream/troupe/internal/telemetry"
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

	group  *Group // that has given it
	member string
	// incarnation is that of the topic: the lane reads and commits nothing of another.
	incarnation    uint64
	delay          time.Duration // of a delay topic; 0: it is none
	parking        *parking      // nil: what is parked is not known yet
	parkingChanged bool          // since the group was asked what is parked
	telling        int           // commands to the group under way
	end            uint64        // of the partition, as far as was looked at; 0: it was not
	site           *telemetry.Site
	finishing      bool // no replay begins any more

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

func newConsumerLane(c *Consumer, g *Group, member string, a group.Assignment) *consumerLane {
	l := &consumerLane{consumer: c, group: g, member: member, incarnation: a.Incarnation, TopicPartition: TopicPartition{a.Topic, a.Partition}, before: parseNote(a.Metadata)}
	l.delay, _ = delayOf(c.options.Group, a.Topic)
	l.site = c.sys.tracer.Site(telemetry.Process, telemetry.Place{Topic: a.Topic, Partition: a.Partition, Group: c.options.Group})
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
	l.finishing = true
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
		l.began, l.failed, l.parking = false, nil, nil
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

// settleDown tells those who wait for handlers that something has changed.
func (l *consumerLane) settleDown() {
	if l.calm != nil {
		close(l.calm)
		l.calm = nil
	}
}

func (l *consumerLane) calmness() <-chan struct{} {
	if l.calm == nil {
		l.calm = make(chan struct{})
	}
	return l.calm
}

// drained waits until no handler is at work, and none will be; with acked, until no
// record is in flight.
func (l *consumerLane) drained(ctx context.Context, acked bool) bool {
	for {
		l.mu.Lock()
		idle := l.window.Running() == 0 && (l.window.Idle() || !l.handing()) && !l.parking.tended()
		if idle && (!acked || l.window.InFlight() == 0) {
			l.mu.Unlock()
			return true
		}
		calm := l.calmness()
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
