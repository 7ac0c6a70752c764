package actor

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/flow"
	"github.com/troupestream/troupe/internal/snapshots"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/internal/watermark"
)

// taskKey names a task: a chain of the plan, and which of its copies.
type taskKey struct{ chain, index int }

// readyTasks are the tasks of an attempt, restored and not yet running.
type readyTasks struct {
	finished bool // the checkpoint says that there is nothing left to do
	tasks    []readyTask
}

type readyTask struct {
	key             taskKey
	name            string
	actor           pactor.Actor
	source          bool
	writes, reads   string // topic of a Through that it is half of
	sinks           bool
	mailboxMessages int
	mailboxBytes    int64
	close           func() error
}

// title is what the task is called in errors: it, and the operators it runs.
func (t *readyTask) title(p *dataflow.Plan) string {
	var names []string
	for _, n := range p.Chains[t.key.chain].Nodes {
		names = append(names, n.Name)
	}
	return fmt.Sprintf("task %s (%s)", t.name, strings.Join(names, ", "))
}

// close lets go of what the tasks have open, and tells of each that could not be
// closed. Nothing depends on it any more.
func (r *readyTasks) close(failed func(error)) {
	for _, t := range r.tasks {
		if err := t.close(); err != nil {
			failed(err)
		}
	}
}

// throughPIDs are the topics in the middle, with the actors of both halves.
func (r *readyTasks) throughPIDs(tasks map[taskKey]*pactor.PID) []*through {
	byTopic := map[string]*through{}
	of := func(topic string) *through {
		if byTopic[topic] == nil {
			byTopic[topic] = &through{writers: map[string]bool{}}
		}
		return byTopic[topic]
	}
	for _, t := range r.tasks {
		if t.writes != "" {
			of(t.writes).writers[t.name] = true
		}
		if t.reads != "" {
			th := of(t.reads)
			th.readers = append(th.readers, tasks[t.key])
		}
	}
	var all []*through
	for _, t := range byTopic {
		all = append(all, t)
	}
	return all
}

// prepare builds the attempt's tasks, restored from the newest checkpoint that
// can be read.
func (a *attempt) prepare(ctx context.Context) (*readyTasks, error) {
	store, err := snapshots.Open(ctx, a.sys.store, a.spec.Name)
	if err != nil {
		return nil, err
	}
	a.store = store
	defer store.ReleaseCache()
	candidates, err := a.candidates(ctx)
	if err != nil {
		return nil, err
	}
	splits, err := a.planTasks(ctx, a.finished(candidates[0]))
	if err != nil {
		return nil, err
	}
	if err := a.letters.open(ctx); err != nil {
		return nil, err
	}
	for i, m := range candidates {
		// Only the one to continue from has to fit: older ones may be of a graph
		// that was changed since.
		if err := a.compatible(m); err != nil {
			return nil, err
		}
		ready, err := a.restore(ctx, m, splits)
		if err == nil {
			return ready, nil
		}
		if m == nil || !damaged(err) {
			return nil, err
		}
		err = fmt.Errorf("checkpoint %d of job %q: %w", m.Checkpoint, a.spec.Name, err)
		if i == len(candidates)-1 {
			return nil, noneReadable(a.spec.Name, err)
		}
		a.spec.Observer.CheckpointUnusable(err)
	}
	return nil, fmt.Errorf("internal: no checkpoint to restore")
}

// damagedState is an error about the state that a checkpoint refers to. An older
// checkpoint may do then; it would not help against a source that is gone, or a
// topic that is damaged.
type damagedState struct{ error }

func (d damagedState) Unwrap() error { return d.error }

// damaged says whether stored state cannot be read, as opposed to a store that
// cannot be reached.
func damaged(err error) bool {
	var d damagedState
	var s *dataflow.StateError
	return errors.As(err, &d) && !errors.As(err, &s) && (errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrNotFound) ||
		errors.Is(err, dataflow.ErrCorrupt))
}

// noneReadable refuses to begin from nothing where there was something.
func noneReadable(job string, err error) error {
	return fmt.Errorf("no checkpoint of job %q can be read; restore its data directory from a backup, or begin anew with FreshState: %w", job, err)
}

// finished says whether nothing is left to do behind a checkpoint.
func (a *attempt) finished(m *checkpoint.Manifest) bool {
	return m != nil && m.Finished && !m.Bounded && !a.fresh(m) && !a.replays(m)
}

// planTasks lists the splits of the sources and plans the tasks. A job that has
// finished needs its input no more, so that may be gone.
func (a *attempt) planTasks(ctx context.Context, finished bool) (map[*dataflow.Node][]string, error) {
	splits, counts := map[*dataflow.Node][]string{}, map[int]int{}
	for _, n := range a.spec.Nodes {
		if n.Role != dataflow.Source {
			continue
		}
		err := a.call(n, func() (err error) {
			if splits[n], err = n.Source.Splits(ctx); err == nil {
				err = checkSplits(splits[n])
			}
			return err
		})
		if err != nil && !finished {
			return nil, err
		}
		counts[n.ID] = len(splits[n])
	}
	plan, err := dataflow.NewPlan(a.spec.Nodes, a.spec.Parallelism, counts)
	a.plan = plan
	return splits, err
}

// checkSplits refuses splits that cannot be told apart: what a checkpoint knows of
// one it keeps by its id.
func checkSplits(ids []string) error {
	seen := make(map[string]bool, len(ids))
	for i, id := range ids {
		if id == "" {
			return fmt.Errorf("its Splits has returned an empty id, at index %d of %d: every split needs one, and the same each time", i, len(ids))
		}
		if seen[id] {
			return fmt.Errorf("its Splits has returned the id %.100q twice: give every split its own, since positions are kept by them", id)
		}
		seen[id] = true
	}
	return nil
}

// candidates are the checkpoints to restore from, best first; a nil one stands
// for beginning from nothing. It is an error, and not a fresh start, when there
// are checkpoints and none can be used.
func (a *attempt) candidates(ctx context.Context) ([]*checkpoint.Manifest, error) {
	found, unreadable, err := a.store.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, err := range unreadable {
		a.spec.Observer.CheckpointUnusable(err)
	}
	var why error
	if len(unreadable) > 0 {
		why = unreadable[len(unreadable)-1]
	}
	return a.choose(ctx, found, why)
}

// choose picks from the checkpoints, newest first, what the job is to begin
// with. unreadable says why one is not among them.
func (a *attempt) choose(ctx context.Context, found []snapshots.Found, unreadable error) ([]*checkpoint.Manifest, error) {
	r := a.spec.Restore
	for _, f := range found {
		a.lastNumber = max(a.lastNumber, f.Checkpoint)
		a.retained = append([]checkpoint.Retained{f.Kept()}, a.retained...)
	}
	a.back = goingBack{wanted: a.goesBack(found) && (len(found) > 0 || unreadable != nil),
		again: len(found) > 0 && found[0].Back != nil}
	if r.Savepoint != "" && a.told() {
		return a.chooseSavepoint(ctx, found)
	}
	if len(found) == 0 && unreadable != nil && !a.fresh(nil) {
		return nil, noneReadable(a.spec.Name, unreadable)
	}
	if r.Checkpoint != 0 && a.told() {
		for _, f := range found {
			if f.Checkpoint == r.Checkpoint {
				return []*checkpoint.Manifest{f.Manifest}, nil
			}
		}
		return nil, fmt.Errorf("job %q has no such checkpoint: asked for %s; it has %s", a.spec.Name, r, listed(found))
	}
	var all []*checkpoint.Manifest
	for _, f := range found {
		all = append(all, f.Manifest)
	}
	if len(all) == 0 {
		all = append(all, nil)
	}
	return all, nil
}

// String names the checkpoint asked for.
// chooseSavepoint has the state of the savepoint that was asked for copied to the
// job's. Savepoints of format 1 are among the job's checkpoints.
func (a *attempt) chooseSavepoint(ctx context.Context, found []snapshots.Found) ([]*checkpoint.Manifest, error) {
	r := a.spec.Restore
	m, err := a.store.Import(ctx, r.Savepoint)
	if errors.Is(err, snapshots.ErrNoSavepoint) {
		for _, f := range found {
			if f.Savepoint == r.Savepoint {
				m, err = f.Manifest, nil
				break
			}
		}
	}
	if errors.Is(err, snapshots.ErrNoSavepoint) {
		return nil, fmt.Errorf("%w; it has %s", err, a.savepoints(ctx))
	}
	if err != nil {
		return nil, err
	}
	if r.Checkpoint != 0 && m.Checkpoint != r.Checkpoint {
		return nil, fmt.Errorf("job %q: %s is of checkpoint %d, and not of %d", a.spec.Name, r, m.Checkpoint, r.Checkpoint)
	}
	a.lastNumber = max(a.lastNumber, m.Checkpoint)
	return []*checkpoint.Manifest{m}, nil
}

// savepoints lists those that the job has.
func (a *attempt) savepoints(ctx context.Context) string {
	all, err := snapshots.Savepoints(ctx, a.sys.store, a.spec.Name)
	var names []string
	for _, m := range all {
		names = append(names, fmt.Sprintf("%q", m.Savepoint))
	}
	if len(names) == 0 {
		names = append(names, "none")
	}
	if err != nil {
		names = append(names, fmt.Sprintf("and some that cannot be read (%v)", err))
	}
	return strings.Join(names, ", ")
}

func (r Restore) String() string {
	if r.Savepoint != "" {
		return fmt.Sprintf("savepoint %q", r.Savepoint)
	}
	return fmt.Sprintf("checkpoint %d", r.Checkpoint)
}

func listed(found []snapshots.Found) string {
	var names []string
	for _, f := range found {
		name := fmt.Sprint(f.Checkpoint)
		if f.Savepoint != "" {
			name += fmt.Sprintf(" (savepoint %q)", f.Savepoint)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(slices.Compact(names), ", ") // the last one of a job is stored twice
}

// compatible refuses a checkpoint whose state would not fit.
func (a *attempt) compatible(m *checkpoint.Manifest) error {
	if m == nil || a.fresh(m) {
		return nil
	}
	if m.KeyGroups != a.spec.KeyGroups {
		return fmt.Errorf("job %q was begun with %d key groups and cannot go on with %d: give its topology topology.KeyGroups(%d) again, or begin anew with FreshState",
			a.spec.Name, m.KeyGroups, a.spec.KeyGroups, m.KeyGroups)
	}
	return a.spec.Compatible(m.Graph)
}

// restore builds all tasks from a manifest; nil: from nothing.
func (a *attempt) restore(ctx context.Context, m *checkpoint.Manifest, splits map[*dataflow.Node][]string) (*readyTasks, error) {
	b := &taskBuilder{attempt: a, ctx: ctx, manifest: a.known(m), splits: splits,
		fresh: a.fresh(m), replay: a.replays(m), start: a.start(m)}
	if b.fresh {
		b.manifest = nil
	}
	a.manifest = b.manifest
	a.tellBack(m)
	if a.finished(b.manifest) {
		return &readyTasks{finished: true}, b.recommit()
	}
	// Sinks come last. To open a sink is to commit what the checkpoint promised,
	// and to take back what was written since; so all state must have been read
	// by then, lest an older checkpoint has to be used after all, and it must be
	// on record if the job goes back.
	r := &readyTasks{}
	err := b.buildAll(r, func(c *dataflow.Chain) bool { return c.Sink == nil })
	if err == nil {
		err = b.restoreStates()
	}
	if err == nil {
		err = b.goBack()
	}
	if err == nil {
		err = b.openInlineSinks()
	}
	if err == nil {
		err = b.buildAll(r, func(c *dataflow.Chain) bool { return c.Sink != nil })
	}
	if err != nil {
		r.close(a.closeFailed)
		return nil, err
	}
	return r, nil
}

// buildAll builds the tasks of some of the chains.
func (b *taskBuilder) buildAll(r *readyTasks, wanted func(*dataflow.Chain) bool) error {
	for _, c := range b.attempt.plan.Chains {
		for i := range c.Parallelism {
			if !wanted(c) {
				continue
			}
			t, err := b.build(c, i)
			if err != nil {
				return err
			}
			t.close = b.attempt.closing(t.name, t.close)
			r.tasks = append(r.tasks, t)
		}
	}
	return nil
}

// known is the manifest without the state of operators that the graph no longer
// has: were one of that name to come back later, it must not find what has been
// out of date since.
func (a *attempt) known(m *checkpoint.Manifest) *checkpoint.Manifest {
	if m == nil {
		return nil
	}
	kept := *m
	kept.Segments = map[string][][]checkpoint.Ref{}
	for _, n := range a.spec.Nodes {
		if groups := m.Segments[n.Name]; groups != nil && n.State != "" {
			kept.Segments[n.Name] = groups
		}
	}
	if m.Bounded {
		a.goOn(&kept)
	}
	return &kept
}

// goOn makes a checkpoint of a job that came to the end it was told one to go on
// from: sources where they were, with what keys have. Event time had come to its
// end, too, and begins anew.
func (a *attempt) goOn(m *checkpoint.Manifest) {
	m.Finished, m.Settled = false, false
	positions := m.Positions
	m.Positions = map[string]map[string][]byte{}
	for _, n := range a.spec.Nodes {
		if saved := positions[n.Name]; saved != nil && n.Role == dataflow.Source {
			m.Positions[n.Name] = saved
		}
	}
}

// recommit opens the sinks of a job that has finished, and closes them, if the
// process died before all of them had committed the last checkpoint.
func (b *taskBuilder) recommit() error {
	if b.manifest.Settled {
		return nil
	}
	if err := b.goBack(); err != nil {
		return err
	}
	err := b.eachSink(func(n *dataflow.Node, o dataflow.SinkOpen) error {
		w, err := n.Sink.Open(b.ctx, o)
		if err != nil {
			return err
		}
		return w.Close()
	})
	if err != nil {
		return fmt.Errorf("the job has finished, but its last results may not be out: %w", err)
	}
	return nil
}

// eachSink calls f for each writer of each sink.
func (b *taskBuilder) eachSink(f func(*dataflow.Node, dataflow.SinkOpen) error) error {
	for _, c := range b.attempt.plan.Chains {
		for _, n := range c.Nodes {
			if n.Role != dataflow.Sink {
				continue
			}
			for i := range c.Parallelism {
				if err := b.attempt.call(n, func() error { return f(n, b.sinkOpen(n, c, i)) }); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// openInlineSinks opens those that run in the tasks of operators.
func (b *taskBuilder) openInlineSinks() error {
	for _, task := range b.restored {
		if err := b.openInline(task); err != nil {
			return err
		}
	}
	return nil
}

func (b *taskBuilder) openInline(task *dataflow.Task) error {
	defer b.attempt.calls.enter("opening the sinks of " + task.Chain.Name()).leave()
	return task.OpenSinks()
}

// taskBuilder builds the tasks of an attempt.
type taskBuilder struct {
	attempt  *attempt
	ctx      context.Context
	manifest *checkpoint.Manifest
	splits   map[*dataflow.Node][]string
	fresh    bool             // without state
	replay   bool             // sources begin elsewhere than where they were
	start    dataflow.Start   // where sources begin that have no position
	restored []*dataflow.Task // tasks whose state is yet to be read
}

func (b *taskBuilder) build(c *dataflow.Chain, index int) (readyTask, error) {
	r := readyTask{key: taskKey{c.ID, index}, name: fmt.Sprintf("%s-%d", c.Name(), index)}
	in := b.inputs(c, index)
	w := b.attempt.spec.Window
	// A split whose reader was replaced may have filled batches of both waiting.
	r.mailboxMessages = (len(in.channels)+1)*(w.Parcels+2) + 2*readAhead*(len(b.splits[c.Source])+1)
	// A parcel may pass the window by its own size, which is bounded by a
	// batch; the factor leaves room for that, not for a second window.
	r.mailboxBytes = int64(len(in.channels)+1)*int64(w.Bytes)*4 + 64<<20
	if c.Sink != nil {
		return b.buildSink(r, c, index, in)
	}
	return b.buildTask(r, c, index, in)
}

// inputs are the channels of a task, from every task of the chains before it.
func (b *taskBuilder) inputs(c *dataflow.Chain, index int) inputs {
	in := inputs{attempt: b.attempt}
	for head, w := range c.In {
		for ch := range w.From.Parallelism {
			in.channels = append(in.channels, inChannel{
				head: head, channel: ch, link: w.Link, sender: taskKey{w.From.ID, ch},
				edge: edgeIndex(w), target: index,
				credit: flow.NewReceiver(uint64(b.attempt.number), b.attempt.spec.Window),
			})
		}
	}
	in.live = len(in.channels)
	return in
}

// edgeIndex is the position of a wire among those that leave its chain.
func edgeIndex(w *dataflow.Wire) int {
	for i, o := range w.From.Out {
		if o == w {
			return i
		}
	}
	return -1
}

func (b *taskBuilder) edges(c *dataflow.Chain, index int) (map[*dataflow.Wire]*outEdge, []*outEdge) {
	byWire, list := map[*dataflow.Wire]*outEdge{}, []*outEdge{}
	for _, w := range c.Out {
		base := 0 // of this wire's channels among the receiver's inputs
		for _, o := range w.To.In {
			if o == w {
				break
			}
			base += o.From.Parallelism
		}
		e := &outEdge{attempt: b.attempt}
		name := w.From.Name() + "-" + w.To.Name()
		for target := range w.To.Parallelism {
			e.channels = append(e.channels, outChannel{input: base + index,
				credit: flow.NewSender(uint64(b.attempt.number), b.attempt.spec.Window),
				stats:  b.attempt.spec.Counters.edge(name, index, target)})
		}
		byWire[w] = e
		list = append(list, e)
	}
	return byWire, list
}

func (b *taskBuilder) buildSink(r readyTask, c *dataflow.Chain, index int, in inputs) (readyTask, error) {
	n, a := c.Sink, b.attempt
	var w dataflow.SinkWriter
	err := a.call(n, func() (err error) { w, err = n.Sink.Open(b.ctx, b.sinkOpen(n, c, index)); return err })
	if err != nil {
		return r, err
	}
	env := &dataflow.Env{Context: a.ctx, Job: a.spec.Name, Node: n.Name, Task: index, Tasks: c.Parallelism, Origins: c.Origins(),
		Now: a.now, Metrics: a.spec.Counters.Of(n.Name, index), DeadLetter: a.letters.put, Warn: a.sys.log.Warn}
	r.sinks, r.close, r.writes = true, func() error { return n.Call(w.Close) }, n.Topic
	s := &sink{attempt: a, name: r.name, node: n, index: index, env: env, writer: w, in: in,
		aligner: newAlignment(a, len(in.channels)), times: watermark.NewTracker(len(in.channels))}
	if dataflow.TopicOf(n.Sink) == "" { // a topic's writer makes a span for each partition, when it appends
		s.site = a.sys.tracer.Site(telemetry.Send, b.place(n.Name, index))
	}
	r.actor = s
	return r, nil
}

// place is what the spans of an operator name as their place.
func (b *taskBuilder) place(node string, index int) telemetry.Place {
	return telemetry.Place{Job: b.attempt.spec.Name, Operator: node, Task: index}
}

func (b *taskBuilder) sinkOpen(n *dataflow.Node, c *dataflow.Chain, index int) dataflow.SinkOpen {
	o := dataflow.SinkOpen{Job: b.attempt.spec.Name, Sink: n.Name, Task: index, Tasks: c.Parallelism,
		Incarnation: b.attempt.incarnation(), ExactlyOnce: b.attempt.spec.ExactlyOnce, Resumed: b.manifest != nil}
	if b.manifest != nil && index == 0 {
		o.States = b.manifest.Sinks[n.Name]
	}
	return o
}

func (b *taskBuilder) buildTask(r readyTask, c *dataflow.Chain, index int, in inputs) (readyTask, error) {
	a := b.attempt
	byWire, out := b.edges(c, index)
	defer a.calls.enter(r.title(a.plan)).leave()
	task, err := dataflow.NewTask(a.plan, c, index, b.options(c, index, byWire))
	if err != nil {
		return r, err
	}
	r.close, r.sinks = task.Close, task.HasSinks()
	b.restored = append(b.restored, task)
	core := taskCore{attempt: a, name: r.name, task: task, out: out}
	if c.Source == nil {
		r.actor = &stage{taskCore: core, in: in, aligner: newAlignment(a, len(in.channels)),
			site: a.sys.tracer.Site(telemetry.Process, b.place(c.Name(), index))}
		return r, nil
	}
	return b.buildSource(r, c, index, core)
}

func (b *taskBuilder) options(c *dataflow.Chain, index int, edges map[*dataflow.Wire]*outEdge) dataflow.TaskOptions {
	a := b.attempt
	o := dataflow.TaskOptions{
		Context: a.ctx, Job: a.spec.Name, KeyGroups: a.spec.KeyGroups, BatchSize: a.spec.BatchSize,
		Incarnation: a.incarnation(), ExactlyOnce: a.spec.ExactlyOnce, Resumed: b.manifest != nil,
		Now: a.now, DeadLetter: a.letters.put, Warn: a.sys.log.Warn,
		Metrics:    func(node string) *dataflow.Metrics { return a.spec.Counters.Of(node, index) },
		Edge:       func(w *dataflow.Wire) dataflow.Edge { return edges[w] },
		SinkStates: map[string][][]byte{}, SinksLater: true,
	}
	if c.Source != nil {
		o.Origins = b.splitsOf(c, index)
	}
	if b.manifest != nil && index == 0 {
		o.SinkStates = b.manifest.Sinks
	}
	return o
}

// restoreStates reads the state of the tasks, of as many at once as there are
// processors: decoding it is most of what a restart takes.
func (b *taskBuilder) restoreStates() error {
	if b.manifest == nil {
		return nil
	}
	errs, turns := make([]error, len(b.restored)), make(chan struct{}, goruntime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for i, task := range b.restored {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			panicked := b.attempt.guarded("restoring "+task.Chain.Name(), func(context.Context) { errs[i] = b.restoreState(task) })
			if panicked != nil {
				errs[i] = panicked
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *taskBuilder) restoreState(task *dataflow.Task) error {
	err := task.Restore(dataflow.Snapshot{
		Positions: b.manifest.Positions,
		Segments: func(node string, group int, f func([]byte) error) error {
			return b.attempt.store.Segments(b.ctx, b.manifest, node, group, f)
		},
	})
	if err != nil {
		return damagedState{err}
	}
	return nil
}

// splitsOf deals the splits of a source out to its tasks.
func (b *taskBuilder) splitsOf(c *dataflow.Chain, index int) []string {
	var own []string
	for i, id := range b.splits[c.Source] {
		if i%c.Parallelism == index {
			own = append(own, id)
		}
	}
	return own
}

func (b *taskBuilder) buildSource(r readyTask, c *dataflow.Chain, index int, core taskCore) (readyTask, error) {
	n := c.Source
	s := &source{taskCore: core, node: n, policy: n.Policy, metrics: b.attempt.spec.Counters.Of(n.Name, index)}
	if n.Topic == "" { // whether a record of a Through is traced was decided where it came in
		s.sampler = b.attempt.sys.tracer.Sampler(b.attempt.incarnation()<<16 + uint64(index))
	}
	r.source, r.reads = true, n.Topic
	closeTask := r.close
	r.close = func() error { return errors.Join(s.closeReaders(), closeTask()) }
	for _, id := range b.splitsOf(c, index) {
		request := b.openRequest(n, id)
		sp := &split{id: id, position: request.Position, observed: b.observe(n, core.task.Chain.Name(), index, id)}
		if err := b.attempt.call(n, func() error { return sp.open(b.ctx, n.Source, request) }); err != nil {
			return r, errors.Join(err, r.close())
		}
		s.splits = append(s.splits, sp)
	}
	if index == 0 && b.continues(n) {
		s.absent = b.absentSplits(n)
	}
	b.attempt.spec.Counters.setLag(n.Name, index, s.lag)
	r.actor = s
	return r, nil
}

// observe returns the spans and metrics of a split. Those of a topic's partition
// have it as their destination.
func (b *taskBuilder) observe(n *dataflow.Node, chain string, index int, split string) observed {
	sys, topic, place := b.attempt.sys, dataflow.TopicOf(n.Source), b.place(n.Name, index)
	o := observed{create: sys.tracer.Site(telemetry.Create, place)}
	if partition, err := strconv.Atoi(split); err == nil && topic != "" {
		place.Topic, place.Partition = topic, partition
		o.meter = sys.meter(topic)
		o.receive, o.settle = sys.tracer.Site(telemetry.Receive, place), sys.tracer.Site(telemetry.Settle, place)
	}
	place.Operator = chain
	o.process = sys.tracer.Site(telemetry.Process, place)
	return o
}

func (sp *split) open(ctx context.Context, driver dataflow.SourceDriver, r dataflow.OpenRequest) error {
	reader, err := driver.Open(ctx, r)
	if err != nil {
		return err
	}
	sp.reader = reader
	if sp.position == nil {
		// Where a source begins may depend on when it is asked: at the end of a
		// topic, say. A checkpoint in front of the first record must not pass over
		// what comes until the job resumes.
		sp.position = reader.Position()
	}
	return nil
}

// openRequest says what of a split to read. Where a replay begins and where
// reading ends is about what comes into the topology. The topic in the middle of
// a Through is fed by what is replayed: to read it from its beginning as well
// would be to count what it holds twice, and to end where it ends now would be to
// leave out what is about to be written. So it is read on from where it was; when
// all begins anew, from its end.
func (b *taskBuilder) openRequest(n *dataflow.Node, id string) dataflow.OpenRequest {
	r := dataflow.OpenRequest{Split: id}
	if b.continues(n) {
		r.Position = b.manifest.Positions[n.Name][id]
	}
	switch {
	case n.Topic == "":
		r.Start, r.Until = b.start, b.attempt.spec.Restore.Until
	case b.fresh:
		r.Start.Kind = dataflow.StartEnd
	}
	return r
}

// continues says whether a source is read on from where the checkpoint was.
func (b *taskBuilder) continues(n *dataflow.Node) bool {
	return b.manifest != nil && (!b.replay || n.Topic != "")
}

// absentSplits are the positions of splits that the source had and has no more:
// a file was taken away, say. They are kept, for if one comes back it must not
// be read again from its beginning.
func (b *taskBuilder) absentSplits(n *dataflow.Node) map[string][]byte {
	absent := map[string][]byte{}
	if b.manifest == nil {
		return absent
	}
	for id, position := range b.manifest.Positions[n.Name] {
		if !slices.Contains(b.splits[n], id) {
			absent[id] = position
			b.attempt.sys.log.Warn("a source no longer has a split that the job has read from; its position is kept",
				"job", b.attempt.spec.Name, "source", n.Name, "split", id)
		}
	}
	return absent
}

// closeReaders closes what the source reads from. Nobody reads any more.
func (s *source) closeReaders() error {
	var errs []error
	for _, sp := range s.splits {
		if sp.reader == nil {
			continue
		}
		if err := s.node.Call(sp.reader.Close); err != nil {
			errs = append(errs, fmt.Errorf("split %q of %w", sp.id, err))
		}
	}
	return errors.Join(errs...)
}

// lag is how many records are known to wait in the source's splits, or -1.
func (s *source) lag() int64 {
	sum := int64(0)
	for _, sp := range s.splits {
		n := sp.lag.Load()
		if n < 0 {
			return -1
		}
		sum += n
	}
	return sum
}

// newCoordinatorActor returns the coordinator of an attempt.
func newCoordinatorActor(a *attempt, r *readyTasks) *coordinator {
	var names []string
	for _, t := range r.tasks {
		names = append(names, t.name)
	}
	c := &coordinator{attempt: a, core: checkpoint.NewCoordinator(a.spec.Checkpoints, names, a.lastNumber, a.now()),
		begun: map[uint64][]asked{}, ended: map[string]bool{},
		commits: map[uint64]map[string]bool{}, manifest: a.manifest, retained: a.retained}
	for _, t := range r.tasks {
		if len(a.plan.Chains[t.key.chain].Out) == 0 {
			c.expected.ends++
		}
		if t.sinks {
			c.expected.commits++
		}
	}
	return c
}
