package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
//	keeps     the newest manifest, which older ones are still wanted, and the
//	          savepoints that are being copied
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
	waiting    []asked                  // for a checkpoint that has not begun
	begun      map[uint64][]asked       // for one under way, by number
	saves      []save                   // the first is being copied
	ended      map[string]bool
	throughs   []*through
	commits    map[uint64]map[string]bool // who has committed, by checkpoint
	everywhere uint64                     // the newest checkpoint that all sinks have committed
	reports    reporting
	last       *lastCheckpoint
	wake       *time.Timer
}

// asked is somebody who waits for a checkpoint.
type asked struct {
	request checkpoint.Request
	answer  func(checkpoint.Manifest, error)
}

func answerAll(all []asked, m *checkpoint.Manifest, err error) {
	for _, a := range all {
		a.answer(*m, err)
	}
}

// save is a complete checkpoint that is to become a savepoint.
type save struct {
	manifest *checkpoint.Manifest
	name     string
	chunk    uint64 // the oldest that it needs; 0: none
	waiting  []asked
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

// savepointWritten ends the copying of the savepoint at hand.
type savepointWritten struct {
	manifest *checkpoint.Manifest
	err      error
}

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
	case savepointWritten:
		c.savepointWritten(m)
	case reported:
		c.reported()
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
		c.waiting = append(c.begun[given.Number], c.waiting...)
		delete(c.begun, given.Number)
		if n := c.core.Exhausted(); n > 0 {
			c.attempt.fail("coordinator", fmt.Errorf("%d checkpoints in a row were given up, the last one being: %w; "+
				"see what those tasks wait for, or raise CheckpointTimeout or CheckpointFailures", n, err))
			return
		}
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

// trigger begins a checkpoint. It serves those who have asked for one like it so
// far; who asks from now on wants one that begins later.
func (c *coordinator) trigger(p *checkpoint.Pending) {
	c.waiting = slices.DeleteFunc(c.waiting, func(a asked) bool {
		if a.request == p.Request {
			c.begun[p.Number] = append(c.begun[p.Number], a)
		}
		return a.request == p.Request
	})
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
		c.waiting = append(c.waiting, asked(m))
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
			c.core.Request(checkpoint.Request{Asked: true})
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
		Bounded: p.Request.Finished && a.spec.Restore.bounded(),
		Graph:   a.spec.Graph, Retained: checkpoint.Keep(c.retained, a.spec.RetainedCheckpoints-1),
		Stats: checkpoint.Stats{DurationMs: now.Sub(p.Started).Milliseconds()},
	}, parts)
	m.Replace(c.replaced)
	c.replaced = nil
	c.writing = true
	a.background("the coordinator", func(ctx context.Context) {
		kept, err := a.store.WriteManifest(ctx, m)
		a.sys.Send(c.self, manifestWritten{pending: p, manifest: m, kept: kept, err: err})
	})
}

func (c *coordinator) manifestWritten(m manifestWritten) {
	c.writing = false
	waiting, name := c.begun[m.pending.Number], m.pending.Request.Savepoint
	delete(c.begun, m.pending.Number)
	if m.err != nil || name == "" {
		answerAll(waiting, m.manifest, m.err)
	}
	if m.err != nil {
		c.attempt.fail("coordinator", m.err)
		return
	}
	c.manifest = m.manifest
	c.retained = checkpoint.Keep(append(c.retained, m.kept), c.attempt.spec.RetainedCheckpoints)
	if name != "" {
		c.save(save{manifest: m.manifest, name: name, chunk: m.kept.Chunk, waiting: waiting})
	}
	c.attempt.spec.progressed.Store(true)
	c.attempt.settlements.settled(m.manifest.Checkpoint, c.attempt.now())
	c.attempt.spec.Observer.CheckpointCompleted(m.manifest)
	c.attempt.sys.Send(c.attempt.job, checkpointNoted{m.manifest})
	if r := m.pending.Request; r.Stop || r.Finished {
		c.last = &lastCheckpoint{number: m.pending.Number, stopped: r.Stop}
	}
	c.tell(c.tasks, checkpointCompleted{number: m.pending.Number})
	c.report(m.manifest)
	c.finish()
	c.tidy()
}

// save has a checkpoint copied into a savepoint, one at a time. Checkpoints go on
// meanwhile; what the copy needs is not removed.
func (c *coordinator) save(s save) {
	if c.saves = append(c.saves, s); len(c.saves) == 1 {
		c.copySavepoint()
	}
}

func (c *coordinator) copySavepoint() {
	a, s := c.attempt, c.saves[0]
	a.background("the coordinator", func(ctx context.Context) {
		m, err := a.store.Save(ctx, s.manifest, s.name)
		a.sys.Send(c.self, savepointWritten{m, err})
	})
}

// savepointWritten answers those who wait for it. A savepoint that could not be
// written is their concern: the job has its checkpoint.
func (c *coordinator) savepointWritten(m savepointWritten) {
	s := c.saves[0]
	if m.err != nil {
		m.manifest = s.manifest
	}
	answerAll(s.waiting, m.manifest, m.err)
	if c.saves = c.saves[1:]; len(c.saves) > 0 {
		c.copySavepoint()
	}
	c.finish()
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

// finish ends the attempt when the last checkpoint is committed everywhere and
// reported, and the savepoints that were asked for before it are there.
func (c *coordinator) finish() {
	l := c.last
	if l == nil || l.settling || len(c.saves) > 0 || c.reports.busy || (c.everywhere < l.number && c.expected.commits > 0) {
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
	m.Settled, m.Retained = true, c.retained[:len(c.retained)-1] // it takes the place of the last
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
	needs := func(chunk uint64) {
		if chunk != 0 && (oldest.Chunk == 0 || chunk < oldest.Chunk) {
			oldest.Chunk = chunk
		}
	}
	for _, r := range c.retained {
		needs(r.Chunk)
	}
	for _, s := range c.saves {
		needs(s.chunk)
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
	all := c.waiting
	for _, begun := range c.begun {
		all = append(all, begun...)
	}
	for _, s := range c.saves {
		all = append(all, s.waiting...)
	}
	answerAll(all, new(checkpoint.Manifest), ErrStopped)
	c.waiting, c.begun, c.saves = nil, nil, nil
}
