package actor

import (
	"context"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
)

const (
	parcelsPerTurn  = 4  // processed before control messages are looked at
	parcelsPerFlush = 16 // processed before what is gathered goes out, at the latest
)

// stage runs one task of a chain that is fed by other tasks.
//
//	owns      its dataflow.Task: operators and their keyed state
//	receives  parcels, from the tasks before it; granted, from those behind it;
//	          checkpointCompleted and checkpointAborted, from the coordinator
//	sends     parcels and granted to its neighbours; its part of every
//	          checkpoint, and inputEnded when nothing follows, to the coordinator
//	keeps     parcels that have come in and cannot be processed yet, within the
//	          credit it has granted; parcels that wait for credit
//	dies      with its attempt
type stage struct {
	taskCore
	in      inputs
	aligner alignment
	unsent  int             // parcels processed since the last flush
	at      int             // input of the parcel that is delivered
	parcel  *parcel         // which is this one
	site    *telemetry.Site // of its spans; nil: none
}

// taskCore is what stages and sources share.
type taskCore struct {
	attempt *attempt
	name    string
	self    *pactor.PID
	task    *dataflow.Task
	out     []*outEdge
	worker  worker
	snap    snapshotting
	again   bool // a resume is under way to this actor
	resting bool // and a rested
	ended   bool
	ticking bool

	connected bool // to its neighbours
}

func (c *taskCore) start(ctx pactor.Context) {
	c.self = ctx.Self()
	c.snap = snapshotting{attempt: c.attempt, self: c.self, name: c.name, task: c.task}
	c.worker.bounded = c.task.Chain.Bounded()
	for _, e := range c.out {
		e.worker = &c.worker
	}
}

// connect connects the task to its neighbours.
//
// What comes from a neighbour may arrive before the job's own begin, so it is
// the first message of whatever kind that does this.
func (c *taskCore) connect() {
	if c.connected {
		return
	}
	c.connected = true
	for i, w := range c.task.Chain.Out {
		for t := range c.out[i].channels {
			c.out[i].channels[t].to = c.attempt.tasks[taskKey{w.To.ID, t}]
		}
	}
	c.ticking = c.task.Ticks()
	c.scheduleTick()
}

// stalled says whether output waits for credit.
func (c *taskCore) stalled() bool {
	for _, e := range c.out {
		if e.waiting > 0 {
			return true
		}
	}
	return false
}

// later makes the actor go on after the control messages that wait.
func (c *taskCore) later() {
	if !c.again {
		c.again = true
		c.attempt.sys.Send(c.self, resume{})
	}
}

func (c *taskCore) fail(err error) { c.attempt.fail(c.name, err) }

// end tells everybody downstream, or the coordinator when there is nobody, that
// the task has no more to say. It still takes part in checkpoints.
func (c *taskCore) end() {
	c.ended = true
	c.task.Flush()
	c.task.End()
	if len(c.out) == 0 {
		c.attempt.sys.Send(c.attempt.coord, inputEnded{task: c.name})
	}
}

// common handles the messages that stages and sources have in common.
func (c *taskCore) common(message any) (handled bool) {
	switch m := message.(type) {
	case granted:
		c.out[m.edge].granted(m.target, m.grant)
	case chunkWritten:
		c.snap.chunkWritten(m)
	case lettersStored:
		c.snap.lettersStored(m)
	case checkpointCompleted:
		c.completed(m.number)
	case tick:
		c.tick()
	case rested:
		c.resting = false
	case resume:
		c.again = false
	default:
		return false
	}
	return true
}

func (c *taskCore) completed(number uint64) {
	c.snap.completed(number)
	if err := c.task.CommitSinks(c.attempt.ctx, number); err != nil {
		c.fail(fmt.Errorf("commit checkpoint %d: %w", number, err))
		return
	}
	if c.task.HasSinks() {
		c.attempt.sys.Send(c.attempt.coord, committed{number: number, task: c.name})
	}
}

// snapshot takes the task's part of a checkpoint.
func (c *taskCore) snapshot(number uint64, part checkpoint.Part) {
	err := c.attempt.preparing(c.attempt.ctx, number, func(ctx context.Context) (err error) {
		part.Sinks, err = c.task.PrepareSinks(ctx, number)
		return err
	})
	if err != nil {
		c.fail(err)
		return
	}
	c.snap.begin(number, part)
}

// encodeBehind goes on with a snapshot behind a batch, for a share of the time that the
// batch took: so a small one does not make the next one late, and with slow functions
// a checkpoint comes to its end all the same.
func (c *taskCore) encodeBehind() {
	if c.snap.advance(encodeLeast + int(c.worker.busy.Microseconds())*encodeShare) {
		c.later()
	}
}

// encodeAlone goes on with a snapshot while there is no input, with rests: the
// tasks would have all processors otherwise until the store has enough to write, and
// those that bring the next input would wait.
func (c *taskCore) encodeAlone() {
	if !c.resting && c.snap.advance(encodeAlone) {
		c.resting = true
		sys, self := c.attempt.sys, c.self
		time.AfterFunc(encodeRest, func() { sys.Send(self, rested{}) })
	}
}

// Receive implements pactor.Actor.
func (s *stage) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		s.start(ctx)
		return
	case *pactor.Stopped:
		s.worker.halt()
		return
	case begin:
		s.connect()
		return
	case *parcel:
		s.connect()
		s.in.accept(m)
	case checkpointAborted:
		s.aligner.Abort(m.number)
	default:
		if !s.common(m) {
			return
		}
	}
	s.work()
}

// work processes what has come in, as far as credit allows, and comes back for
// the rest after letting control messages in.
func (s *stage) work() {
	for range parcelsPerTurn {
		if s.attempt.failed.Load() {
			return
		}
		i := -1
		if s.ready() {
			i = s.in.next(s.aligner.Blocked)
		}
		if i < 0 {
			s.idle()
			return
		}
		s.process(i)
		s.encodeBehind()
	}
	s.later()
}

func (s *stage) idle() {
	s.flush()
	s.encodeAlone()
}

func (s *stage) flush() {
	if s.unsent > 0 && !s.stalled() {
		s.unsent = 0
		s.task.Flush()
	}
}

func (s *stage) process(i int) {
	s.at, s.parcel = i, s.in.channels[i].queue.pop()
	s.do((*delivery)(s))
}

// delivery is the work of running a parcel through the operators.
type delivery stage

func (d *delivery) run() error {
	c, p := &d.in.channels[d.at], d.parcel
	if p.Batch == nil {
		return d.task.Deliver(c.head, c.channel, &p.Parcel)
	}
	span := d.site.Start(p.Records, c.link.Columns(p.Batch).Traces)
	err := d.task.Deliver(c.head, c.channel, &p.Parcel)
	span.End(err)
	c.link.Release(p.Batch)
	return err
}

func (d *delivery) done() { (*stage)(d).heed(d.parcel) }

// heed acts on what follows a parcel's records and watermark.
func (s *stage) heed(p *parcel) {
	s.in.consumed(s.at, p.MailboxBytes())
	if s.unsent++; s.unsent >= parcelsPerFlush {
		s.flush()
	}
	if p.Barrier != 0 && s.aligner.barrier(s.at, p.Barrier) {
		s.snapshot(p.Barrier, s.snap.newPart())
	}
	if p.End {
		s.do((*channelEnd)(s))
	}
}

// channelEnd is the work of ending the input that the parcel came by.
type channelEnd stage

func (e *channelEnd) run() error {
	c := &e.in.channels[e.at]
	return e.task.EndOrigin(e.task.Origin(c.head, c.channel))
}

func (e *channelEnd) done() {
	if e.in.end(e.at) {
		(*stage)(e).end()
	}
}
