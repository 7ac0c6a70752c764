package actor

import (
	"context"
	"errors"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
)

// coordinator leads the checkpoints of one attempt.
//
//	owns      the checkpoint logs of the job, as far as manifests go
//	receives  partTaken, committed and inputEnded, from tasks;
//	          requestCheckpoint, from the job
//	sends     takeCheckpoint to sources; checkpointCompleted and
//	          checkpointAborted to all tasks; attemptDone to the job
//	keeps     the newest manifest, and which older ones are still wanted
//	dies      with its attempt
type coordinator struct {
	attempt  *attempt
	self     *pactor.PID
	core     *checkpoint.Coordinator
	sources  []*pactor.PID
	tasks    []*pactor.PID
	expected expectations

	manifest   *checkpoint.Manifest  // what the next one builds on; nil: nothing
	retained   []checkpoint.Retained // complete ones that are kept, oldest first
	writing    bool
	tidying    bool
	replaced   []checkpoint.Replacement // to apply to the next manifest
	answers    map[checkpoint.Request][]func(checkpoint.Manifest, error)
	ended      map[string]bool
	throughs   []*through
	commits    map[uint64]map[string]bool // who has committed, by checkpoint
	everywhere uint64                     // the newest checkpoint that all sinks have committed
	last       *lastCheckpoint
	wake       *time.Timer
}

// expectations say whom the coordinator waits for.
type expectations struct {
	ends    int // tasks without successors: they report the end of their input
	commits int // tasks with sinks: they report that they have committed
}

// lastCheckpoint is the one after which the job ends.
type lastCheckpoint struct {
	number   uint64
	stopped  bool
	settling bool
}

// settled ends the writing of the manifest that says so.
type settled struct{ err error }

// wakeCoordinator tells the coordinator to look at the clock.
type wakeCoordinator struct{}

// Receive implements pactor.Actor.
func (c *coordinator) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		c.self = ctx.Self()
		return
	case *pactor.Stopping:
		c.stopping()
		return
	case beginCoordination:
		c.sources, c.tasks, c.throughs = m.sources, m.tasks, m.throughs
	case requestCheckpoint:
		c.request(m)
	case partTaken:
		if done := c.core.Ack(m.number, m.task, m.part); done != nil {
			c.complete(done)
		}
	case manifestWritten:
		c.manifestWritten(m)
	case tidied:
		c.tidied(m)
	case committed:
		c.committed(m)
	case inputEnded:
		c.inputEnded(m.task)
	case settled:
		c.settled(m.err)
	case wakeCoordinator:
	default:
		return
	}
	c.advance()
}

// beginCoordination tells the coordinator its tasks.
type beginCoordination struct {
	sources, tasks []*pactor.PID
	throughs       []*through
}

// through is a topic in the middle of the topology. Its readers would wait for
// more for ever: when its writers have seen the end of their input, and a
// checkpoint has made visible what they wrote, the readers are told to read to
// the end and no further.
type through struct {
	writers map[string]bool // tasks that have not ended
	readers []*pactor.PID
	commit  uint64 // checkpoint after which the readers are told; 0: none yet
	told    bool
}

// advance begins or gives up checkpoints as it is time to.
func (c *coordinator) advance() {
	now := c.attempt.now()
	if given, err := c.core.Expire(now); given != nil {
		c.attempt.spec.Observer.CheckpointFailed(given.Number, err)
		c.tell(c.tasks, checkpointAborted{number: given.Number})
	}
	// One manifest is written at a time, so a checkpoint begins only when the
	// one before it is complete.
	if !c.writing && c.last == nil {
		if p := c.core.Trigger(now); p != nil {
			c.trigger(p)
		}
	}
	c.schedule(now)
}

func (c *coordinator) trigger(p *checkpoint.Pending) {
	stop := p.Request.Stop || p.Request.Finished
	c.tell(c.sources, takeCheckpoint{number: p.Number, stop: stop})
}

func (c *coordinator) tell(to []*pactor.PID, message any) {
	for _, pid := range to {
		c.attempt.sys.Send(pid, message)
	}
}

func (c *coordinator) schedule(now time.Time) {
	at := c.core.Wake()
	if at.IsZero() || c.writing || c.last != nil {
		return
	}
	if c.wake != nil {
		c.wake.Stop()
	}
	sys, self := c.attempt.sys, c.self
	c.wake = time.AfterFunc(max(at.Sub(now), time.Millisecond), func() { sys.Send(self, wakeCoordinator{}) })
}

func (c *coordinator) request(m requestCheckpoint) {
	if m.answer != nil {
		c.answers[m.request] = append(c.answers[m.request], m.answer)
	}
	c.core.Request(m.request)
}

// inputEnded asks for the last checkpoint once every task without successors
// has seen the end.
func (c *coordinator) inputEnded(task string) {
	if c.ended[task] {
		return
	}
	c.ended[task] = true
	for _, t := range c.throughs {
		if delete(t.writers, task); len(t.writers) == 0 && t.commit == 0 {
			t.commit = c.core.Number() + 1
			c.core.Request(checkpoint.Request{})
		}
	}
	if len(c.ended) == c.expected.ends {
		c.core.Request(checkpoint.Request{Finished: true})
	}
}

// complete writes the manifest. The checkpoint is complete only once that is
// stored: the store refuses it from a coordinator that has been replaced.
func (c *coordinator) complete(p *checkpoint.Pending) {
	a := c.attempt
	parts := make([]checkpoint.Part, 0, len(p.Parts))
	for _, part := range p.Parts {
		parts = append(parts, part)
	}
	now := a.now()
	m := checkpoint.Next(c.manifest, checkpoint.Manifest{
		Job: a.spec.Name, Checkpoint: p.Number, Incarnation: a.incarnation(), TimeMs: now.UnixMilli(),
		KeyGroups: a.spec.KeyGroups, ExactlyOnce: a.spec.ExactlyOnce, Finished: p.Request.Finished,
		Bounded: p.Request.Finished && a.spec.Restore.bounded(), Savepoint: p.Request.Savepoint, Graph: a.spec.Graph, Retained: c.retained,
		Stats: checkpoint.Stats{DurationMs: now.Sub(p.Started).Milliseconds()},
	}, parts)
	m.Replace(c.replaced)
	c.replaced = nil
	c.writing = true
	a.background("the coordinator", func(ctx context.Context) {
		seq, err := a.store.WriteManifest(ctx, m)
		a.sys.Send(c.self, manifestWritten{pending: p, manifest: m, seq: seq, err: err})
	})
}

// retain adds a complete checkpoint to those that are kept, and lets go of the
// oldest that are too many. Savepoints stay.
func (c *coordinator) retain(m *checkpoint.Manifest, seq uint64) {
	chunk, _ := m.OldestChunk()
	all := append(c.retained, checkpoint.Retained{Checkpoint: m.Checkpoint, Seq: seq, Chunk: chunk, Savepoint: m.Savepoint})
	surplus := -c.attempt.spec.RetainedCheckpoints
	for _, r := range all {
		if r.Savepoint == "" {
			surplus++
		}
	}
	kept := make([]checkpoint.Retained, 0, len(all))
	for _, r := range all {
		if r.Savepoint == "" && surplus > 0 {
			surplus--
			continue
		}
		kept = append(kept, r)
	}
	c.retained = kept
}

func (c *coordinator) manifestWritten(m manifestWritten) {
	c.writing = false
	c.answer(m)
	if m.err != nil {
		c.attempt.fail("coordinator", m.err)
		return
	}
	c.manifest = m.manifest
	c.retain(m.manifest, m.seq)
	c.attempt.spec.progressed.Store(true)
	c.attempt.settlements.settled(m.manifest.Checkpoint, c.attempt.now())
	c.attempt.spec.Observer.CheckpointCompleted(m.manifest)
	c.attempt.sys.Send(c.attempt.job, checkpointNoted{m.manifest})
	if r := m.pending.Request; r.Stop || r.Finished {
		c.last = &lastCheckpoint{number: m.pending.Number, stopped: r.Stop}
	}
	c.tell(c.tasks, checkpointCompleted{number: m.pending.Number})
	c.finish()
	c.tidy()
}

func (c *coordinator) answer(m manifestWritten) {
	waiting := c.answers[m.pending.Request]
	delete(c.answers, m.pending.Request)
	for _, f := range waiting {
		f(*m.manifest, m.err)
	}
}

func (c *coordinator) committed(m committed) {
	by := c.commits[m.number]
	if by == nil {
		by = map[string]bool{}
		c.commits[m.number] = by
	}
	if by[m.task] = true; len(by) < c.expected.commits {
		return
	}
	delete(c.commits, m.number)
	c.everywhere = m.number
	for _, t := range c.throughs {
		if t.commit != 0 && t.commit <= m.number && !t.told {
			t.told = true
			c.tell(t.readers, readToEnd{})
		}
	}
	c.finish()
}

// finish ends the attempt when the last checkpoint is committed everywhere.
func (c *coordinator) finish() {
	l := c.last
	if l == nil || l.settling || (c.everywhere < l.number && c.expected.commits > 0) {
		return
	}
	if l.stopped || c.expected.commits == 0 {
		c.done()
		return
	}
	l.settling = true
	c.settle()
}

// settle writes down that nothing is left to do. A job that was killed before
// this is stored has its sinks opened once more: they then commit what the last
// checkpoint promised.
func (c *coordinator) settle() {
	a, m := c.attempt, *c.manifest
	m.Settled, m.Retained = true, c.retained
	a.background("the coordinator", func(ctx context.Context) {
		_, err := a.store.WriteManifest(ctx, &m)
		a.sys.Send(c.self, settled{err})
	})
}

func (c *coordinator) settled(err error) {
	if err != nil {
		c.attempt.sys.log.Warn("the job has finished and could not note that all is committed", "job", c.attempt.spec.Name, "error", err)
	}
	c.done()
}

func (c *coordinator) done() {
	c.attempt.sys.Send(c.attempt.job, attemptDone{attempt: c.attempt.number, manifest: c.manifest, stopped: c.last.stopped})
}

// tidy removes what no retained checkpoint needs, in the background. What was
// moved the last time has to be in a manifest first, lest it is moved again.
func (c *coordinator) tidy() {
	if c.tidying || len(c.replaced) > 0 || c.last != nil {
		return
	}
	c.tidying = true
	a, m := c.attempt, c.manifest
	oldest := c.retained[0]
	for _, r := range c.retained {
		if r.Chunk != 0 && (oldest.Chunk == 0 || r.Chunk < oldest.Chunk) {
			oldest.Chunk = r.Chunk
		}
	}
	a.background("the coordinator", func(ctx context.Context) {
		replaced, err := a.store.Tidy(ctx, m, oldest)
		a.sys.Send(c.self, tidied{replaced: replaced, err: err})
	})
}

func (c *coordinator) tidied(m tidied) {
	c.tidying = false
	c.replaced = append(c.replaced, m.replaced...)
	if m.err != nil && !errors.Is(m.err, context.Canceled) {
		if errors.Is(m.err, storage.ErrFenced) {
			c.attempt.fail("coordinator", m.err)
			return
		}
		c.attempt.sys.Logger().Warn("old checkpoints were not removed", "job", c.attempt.spec.Name, "error", m.err)
	}
}

// stopping answers those who still wait for a checkpoint.
func (c *coordinator) stopping() {
	if c.wake != nil {
		c.wake.Stop()
	}
	for _, waiting := range c.answers {
		for _, f := range waiting {
			f(checkpoint.Manifest{}, ErrStopped)
		}
	}
	c.answers = nil
}
