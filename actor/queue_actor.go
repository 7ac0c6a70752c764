package actor

import (
	"context"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/telemetry"
)

// queueActor is a queue.
//
//	owns      the queue's state (internal/queue)
//	receives  what its logs have, from feeds; subscribe, settle and other commands,
//	          from consumers and handles; journalDurable, from its shard
//	sends     events and snapshots to its shard; messages to consumers; credit to feeds
//	keeps     what may not go out before the events it rests on are durable; of
//	          messages only those whose bodies are being read
//	has under way at most one journalWrite, of all events since the one before
//	dies      after drain, or when the queue is deleted; when it panics it is started
//	          again and reads its state from the journal
type queueActor struct {
	sys    *System
	info   *queueInfo
	shard  *pactor.PID
	ctx    pactor.Context
	self   *pactor.PID
	config queue.Config
	intake func(log, queue uint32) (intake, uint64, bool)
	run    uint64 // of this start: what is for an earlier one is ignored
	clock  int64  // never goes back

	core   *queue.Queue // nil: its state is still to come
	err    error        // why it never will
	parked []sentWith   // come before it

	consumers map[string]*queueConsumer
	feeds     map[uint32]*pactor.PID // by log

	events   []byte // since the last journalWrite
	spare    []byte // those of the last one, to be used again
	flying   bool   // a journalWrite is under way
	durable  uint64 // of the core's Sequence
	held     []heldBack
	snapshot queueSnapshots
	linger   journalLinger
	timer    *time.Timer
	aging    *time.Timer // of the oldest change without a snapshot
	letters  letterWriter
	meter    queueMeter
	tally    queueTally
	delivers *telemetry.TopicMeter
	dropped  [queue.Reasons]uint64 // that it was said of

	waiting queue.Counter // as publishers know it
	paused  bool

	moving bool        // messages are being moved, and deliveries wait
	asked  *pactor.PID // whom to answer then

	draining bool
}

// queueTick lets time pass.
type queueTick struct{ run uint64 }

// IgnoreDeadLetterLogging: the timer outlives the queue.
func (queueTick) IgnoreDeadLetterLogging() {}

// queueParked is how much waits for a queue to be read.
const queueParked = 16_384

func newQueueActor(s *shard, info *queueInfo) *queueActor {
	return &queueActor{sys: s.sys, shard: s.self, intake: s.config.intake, info: info, config: info.config().core(), run: partitionRuns.Add(1),
		delivers: s.sys.messaging.Topic(info.name)}
}

// Receive implements pactor.Actor.
func (q *queueActor) Receive(ctx pactor.Context) {
	q.ctx = ctx
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		q.self = ctx.Self()
		q.sys.Send(q.shard, askQueueState{q.info.id, q.run, q.self})
		return
	case queueState:
		q.restore(m)
	case *pactor.Stopping:
		q.end(fmt.Errorf("queue %s: %w", q.info.name, ErrStopped))
		return
	case *pactor.Restarting:
		q.end(fmt.Errorf("queue %s: %w", q.info.name, ErrQueueFailed))
		return
	case queueDeleted:
		q.delete()
		return
	case drain:
		q.drain()
	default:
		if q.core == nil {
			q.park(sentWith{m, ctx.Sender()})
			return
		}
		q.handle(m, ctx.Sender())
	}
	q.advance()
}

func (q *queueActor) handle(message any, sender *pactor.PID) {
	switch m := message.(type) {
	case fed:
		q.take(m)
	case settle:
		q.settle(m)
	case journalDurable:
		q.written(m)
	case lingered:
		q.lingered()
	case queueTick:
		if m.run == q.run {
			q.apply(queue.Tick{})
		}
	case bodiesRead:
		q.bodiesRead(m)
	case chunkRead:
		q.chunkRead(m)
	default:
		q.handleRarely(message, sender)
	}
}

func (q *queueActor) handleRarely(message any, sender *pactor.PID) {
	switch m := message.(type) {
	case subscribe:
		q.subscribe(m, sender)
	case queueRequest:
		q.request(m, sender)
	case askQueue:
		q.hold(heldBack{to: sender, message: m.look(q.core)})
	case askQueueStats:
		q.tell(sender, q.stats())
	case askQueueLogs:
		q.tell(sender, q.progress())
	case *pactor.Terminated:
		q.consumersGone(m.Who)
	case feedStarted:
		q.feeds[m.log] = m.feed
		q.follow(m.log, m.feed)
	case snapshotQueue:
		q.snapshot.asked(m.round)
	case snapshotDue:
		if m.run == q.run {
			q.snapshot.aged()
		}
	case queueAltered:
		q.configure()
	case lettersWritten:
		q.lettersWritten(m)
	case moveMessages:
		q.move(m, sender)
	case moveEnded:
		q.moveEnded(m)
	}
}

// park keeps what comes before the queue has its state; what is for an earlier start
// means nothing now.
func (q *queueActor) park(r sentWith) {
	switch r.message.(type) {
	case queueRequest, subscribe, askQueue, askQueueStats, askQueueLogs, moveMessages:
		if q.err == nil && len(q.parked) < queueParked {
			q.parked = append(q.parked, r)
			return
		}
		err := q.err
		if err == nil {
			err = fmt.Errorf("queue %s: %w", q.info.name, ErrBackpressure)
		}
		q.tell(r.sender, err)
	case feedStarted, snapshotQueue, queueAltered:
		if q.err == nil {
			q.parked = append(q.parked, r)
		}
	}
}

// restore makes the queue of what the journal has of it.
func (q *queueActor) restore(m queueState) {
	if m.run != q.run || q.core != nil || q.draining {
		return
	}
	if m.err != nil { // it may go better next time
		panic(fmt.Errorf("queue %s: read its journal: %w", q.info.name, m.err))
	}
	core, releases, err := restoreQueue(q.config, m.state)
	if err != nil {
		q.unreadable(err)
		return
	}
	q.sys.release(q.info.id, releases, core.Relocated())
	q.core, q.consumers, q.feeds = core, map[string]*queueConsumer{}, map[uint32]*pactor.PID{}
	if m.state.bytes() > 0 {
		q.apply(queue.Recover{})
	} else {
		q.apply(queue.Tick{}) // from now on it is unused
	}
	q.waiting, q.paused = core.Waiting(), core.Paused().Publishing
	q.info.figures.opens(core)
	q.info.admission.opens(q.waiting, q.paused)
	for len(q.parked) > 0 { // one that panics is told so, and those behind it
		q.handle(q.parked[0].message, q.parked[0].sender)
		q.parked = q.parked[1:]
	}
}

// restoreQueue returns the queue, and what its snapshot releases.
func restoreQueue(c queue.Config, s *queueJournal) (core *queue.Queue, releases []queue.Release, err error) {
	if len(s.snapshot) > 0 {
		core, err = queue.Restore(c, s.snapshot)
	} else {
		core, err = queue.New(c)
	}
	if err == nil {
		releases = core.Releases()
	}
	if err == nil && len(s.events) > 0 {
		err = core.Replay(s.events)
	}
	return core, releases, err
}

// unreadable: its users are told so, and its neighbours go on.
func (q *queueActor) unreadable(err error) {
	q.err = fmt.Errorf("queue %s cannot be used: its journal: %w", q.info.name, err)
	q.sys.log.Error("a queue cannot be restored; delete it to go on without its messages", "queue", q.info.name, "error", err)
	q.sys.Send(q.shard, queueUnreadable{q.info.id, q.err})
	q.refuseParked(q.err)
}

func (q *queueActor) refuseParked(err error) {
	for _, r := range q.parked {
		q.tell(r.sender, err)
	}
	q.parked = nil
}

// now never goes back, though the clock of the machine may.
func (q *queueActor) now() int64 {
	q.clock = max(q.clock, time.Now().UnixMilli())
	return q.clock
}

// apply carries a command out, and holds back what it gives rise to.
func (q *queueActor) apply(c queue.Command) error {
	events, effects, err := q.core.Apply(q.now(), c)
	q.events = append(q.events, events...)
	for _, e := range effects {
		q.effect(e)
	}
	return err
}

// request carries out a command, and answers when it is durable.
func (q *queueActor) request(m queueRequest, sender *pactor.PID) {
	err := q.apply(m.command)
	q.answer(sender, err)
}

// answer tells an error at once, and that all went well when it is durable.
func (q *queueActor) answer(to *pactor.PID, err error) {
	if err != nil {
		q.tell(to, fmt.Errorf("queue %s: %w", q.info.name, ofQueue(err)))
		return
	}
	q.hold(heldBack{to: to, message: queueDone{}})
}

func (q *queueActor) tell(to *pactor.PID, message any) {
	if to != nil {
		q.sys.Send(to, message)
	}
}

// configure takes a changed declaration over.
func (q *queueActor) configure() {
	config := q.info.config().core()
	if err := q.apply(queue.Configure{Config: config}); err != nil {
		q.sys.log.Error("a queue cannot be configured, and goes on as before", "queue", q.info.name, "error", err)
		return
	}
	q.config = config
}

// drain gives back what consumers have, and ends when that is durable.
func (q *queueActor) drain() {
	if q.core == nil {
		q.sys.Stop(q.self)
		return
	}
	if q.draining {
		return
	}
	q.draining = true
	if q.letters.underWay == 0 {
		q.conclude()
		return
	}
	time.AfterFunc(lettersLast, q.letters.cancel)
}

// conclude is for when nothing is under way any more.
func (q *queueActor) conclude() {
	q.apply(queue.Stop{})
	q.snapshot.last()
}

// delete ends a queue that is not in the directory any more.
func (q *queueActor) delete() {
	q.end(fmt.Errorf("%w: %s was deleted", ErrNoQueue, q.info.name))
	q.sys.Stop(q.self)
}

// end tells everybody that the queue ends, or begins anew.
func (q *queueActor) end(err error) {
	for name, k := range q.consumers {
		q.tell(k.pid, consumerEnded{name, err})
	}
	for _, h := range q.held {
		if h.effect == nil {
			q.tell(h.to, fmt.Errorf("%w: %w", ErrUnknown, err))
		}
	}
	q.refuseParked(err)
	q.tell(q.asked, err)
	for _, f := range q.feeds {
		q.tell(f, unfollow{q.info.id})
	}
	for _, t := range []*time.Timer{q.timer, q.aging, q.linger.timer} {
		if t != nil {
			t.Stop()
		}
	}
	q.core, q.err, q.held, q.consumers, q.feeds = nil, err, nil, nil, nil
	q.moving, q.asked = false, nil
	q.letters.stop()
}

func (q *queueActor) background(io func(context.Context) any) {
	sys, self := q.sys, q.self
	sys.Go(func(ctx context.Context) { sys.Send(self, io(ctx)) })
}
