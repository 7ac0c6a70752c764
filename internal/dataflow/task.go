package dataflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/keygroup"
)

// TaskOptions are what a task needs from whoever runs it.
type TaskOptions struct {
	Context     context.Context
	Job         string
	KeyGroups   int
	BatchSize   int
	Incarnation uint64
	ExactlyOnce bool
	Resumed     bool
	Now         func() time.Time
	DeadLetter  func(DeadLetter) error
	Warn        func(msg string, args ...any)
	// Metrics returns the counters of a node in this task.
	Metrics func(node string) *Metrics
	// Edge returns the way out for a wire that leaves the chain.
	Edge func(*Wire) Edge
	// Origins are the ids of the splits of a source's task. Those of other
	// tasks follow from the plan.
	Origins []string
	// Sleep waits, for instance before user code is tried again; nil: until
	// the time has passed or Context ends.
	Sleep func(time.Duration) error
	// SinkStates are the states of inline sinks, by node, as of SinkOpen.States.
	SinkStates map[string][][]byte
	// SinksLater leaves inline sinks to be opened by OpenSinks.
	SinksLater bool
}

// Task is one of the parallel copies of a chain: instances of its operators,
// connected. It is driven from one goroutine.
type Task struct {
	Chain     *Chain
	Index     int
	heads     []Head // by position in Chain.In; the source's own in front, if any
	origins   []int  // first origin of each head
	senders   []Sender
	instances []namedInstance
	sinks     []*inlineSink
	encoding  int // instance whose snapshot is being encoded
	options   TaskOptions
}

type namedInstance struct {
	node *Node
	Instance
}

type inlineSink struct {
	node   *Node
	writer SinkWriter // nil before OpenSinks
}

// NewTask builds and connects the instances of one task of a chain.
func NewTask(p *Plan, c *Chain, index int, o TaskOptions) (*Task, error) {
	t := &Task{Chain: c, Index: index, options: o}
	t.addHeads()
	inputs := map[*Node]func(int) any{}
	for _, n := range c.Nodes {
		if err := t.add(n, inputs); err != nil {
			return nil, err
		}
	}
	if err := t.connect(p, inputs); err != nil || o.SinksLater {
		return t, err
	}
	if err := t.OpenSinks(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// addHeads makes the receiving ends. Channels of different heads are different
// origins: their event times need not have anything to do with each other.
func (t *Task) addHeads() {
	first := 0
	add := func(link Link, channels int) {
		h := link.NewHead(channels)
		h.number(first)
		t.heads, t.origins = append(t.heads, h), append(t.origins, first)
		first += channels
	}
	if c := t.Chain; c.Source != nil {
		add(c.Source.Outputs[0].Link, max(1, len(t.options.Origins)))
		return
	}
	t.options.Origins = t.Chain.Origins()
	for _, w := range t.Chain.In {
		add(w.Link, w.From.Parallelism)
	}
}

// Origin returns the origin, as of Columns.Origin and EndOrigin, of a head's
// channel.
func (t *Task) Origin(head, channel int) int { return t.origins[head] + channel }

// Env returns what an instance of a node knows of this task.
func (t *Task) Env(n *Node) *Env {
	o := &t.options
	return &Env{Context: o.Context, Job: o.Job, Node: n.Name, Task: t.Index, Tasks: t.Chain.Parallelism,
		KeyGroups: o.KeyGroups, Groups: keygroup.RangeOf(t.Index, o.KeyGroups, t.Chain.Parallelism),
		BatchSize: o.BatchSize, Origins: o.Origins, Now: o.Now, Metrics: o.Metrics(n.Name),
		DeadLetter: o.DeadLetter, Warn: o.Warn, Sleep: o.Sleep}
}

// add makes the instance of a node and notes how to reach its inputs.
func (t *Task) add(n *Node, inputs map[*Node]func(int) any) error {
	switch n.Role {
	case Operator:
		var i Instance
		if err := n.Call(func() (err error) { i, err = n.NewInstance(t.Env(n)); return err }); err != nil {
			return err
		}
		t.instances = append(t.instances, namedInstance{n, i})
		inputs[n] = i.Input
	case Sink:
		if t.Chain.Sink == n {
			return nil // the actor feeds the writer itself
		}
		t.addInlineSink(n, inputs)
	}
	return nil
}

func (t *Task) addInlineSink(n *Node, inputs map[*Node]func(int) any) {
	s := &inlineSink{node: n}
	t.sinks = append(t.sinks, s)
	in := n.Inputs[0]
	env, link := t.Env(n), t.linkOf(in)
	inputs[n] = func(int) any {
		return link.Tap(env.Metrics, func(batch any) error {
			return WriteBatch(env, n.Policy, link, s.writer, batch)
		})
	}
}

// OpenSinks opens the inline sinks. The task must be closed if it fails.
func (t *Task) OpenSinks() error {
	o := &t.options
	for _, s := range t.sinks {
		n := s.node
		request := SinkOpen{Job: o.Job, Sink: n.Name, Task: t.Index, Tasks: t.Chain.Parallelism,
			Incarnation: o.Incarnation, ExactlyOnce: o.ExactlyOnce, Resumed: o.Resumed, States: o.SinkStates[n.Name]}
		var w SinkWriter
		if err := n.Call(func() (err error) { w, err = n.Sink.Open(o.Context, request); return err }); err != nil {
			return err
		}
		s.writer = w
	}
	return nil
}

// linkOf finds the link of an output within the chain.
func (t *Task) linkOf(in Input) Link {
	for _, n := range t.Chain.Nodes {
		if n.ID == in.Node {
			return n.Outputs[in.Port].Link
		}
	}
	return nil
}

// connect joins heads, instances and senders.
func (t *Task) connect(p *Plan, inputs map[*Node]func(int) any) error {
	for _, n := range t.Chain.Nodes {
		for i, in := range n.Inputs {
			if input := inputs[n]; input != nil && t.within(in) {
				if err := t.output(p.Nodes[in.Node], in.Port, input(i)); err != nil {
					return err
				}
			}
		}
	}
	for i, w := range t.Chain.In {
		for _, r := range w.Readers {
			if input := inputs[r.Node]; input != nil {
				if err := t.heads[i+t.sourceHeads()].Connect(input(r.Input)); err != nil {
					return err
				}
			}
		}
	}
	for _, w := range t.Chain.Out {
		n := w.Node
		if w.Key != nil {
			n = w.Key
		}
		s := w.Link.NewSender(t.Env(n), t.options.Edge(w))
		t.senders = append(t.senders, s)
		if err := t.output(w.Node, w.Port, s); err != nil {
			return err
		}
	}
	return nil
}

func (t *Task) within(in Input) bool {
	for _, n := range t.Chain.Nodes {
		if n.ID == in.Node {
			return true
		}
	}
	return false
}

func (t *Task) sourceHeads() int {
	if t.Chain.Source != nil {
		return 1
	}
	return 0
}

// output connects a reader to an output of a node of this chain.
func (t *Task) output(n *Node, port int, reader any) error {
	if n == t.Chain.Source {
		return t.heads[0].Connect(reader)
	}
	for _, i := range t.instances {
		if i.node == n {
			return i.Connect(port, reader)
		}
	}
	return fmt.Errorf("internal: operator %q is not in chain %q", n.Name, t.Chain.Name())
}

// Deliver runs a parcel through the chain. head counts the source's own head,
// if there is one, as 0, and the chain's wires from there on.
func (t *Task) Deliver(head, channel int, p *Parcel) error {
	return t.heads[head].Deliver(channel, p)
}

// EndOrigin says that one split or channel of several has ended.
func (t *Task) EndOrigin(origin int) error {
	for _, i := range t.instances {
		if e, ok := i.Instance.(OriginEnder); ok {
			if err := e.EndOrigin(origin); err != nil {
				return err
			}
		}
	}
	return nil
}

// Watermark returns the lowest watermark over the task's heads.
func (t *Task) Watermark() int64 {
	low, _ := t.heads[0].Watermark()
	for _, h := range t.heads[1:] {
		w, _ := h.Watermark()
		low = min(low, w)
	}
	return low
}

// Flush sends all that is gathered.
func (t *Task) Flush() {
	for _, s := range t.senders {
		s.Flush()
	}
}

// Barrier sends a barrier down every wire, behind all that was sent before.
func (t *Task) Barrier(checkpoint uint64) {
	for _, s := range t.senders {
		s.Barrier(checkpoint)
	}
}

// End tells all that follow that nothing more will come.
func (t *Task) End() {
	for _, s := range t.senders {
		s.End()
	}
}

// Ticks says whether any operator acts on processing time.
func (t *Task) Ticks() bool {
	for _, i := range t.instances {
		if _, ok := i.Instance.(Ticker); ok {
			return true
		}
	}
	return false
}

// HasSinks says whether the task has inline sinks.
func (t *Task) HasSinks() bool { return len(t.sinks) > 0 }

// Tick lets operators act on processing time, and returns when to tick next.
func (t *Task) Tick(now int64) (next int64, ok bool, err error) {
	for _, i := range t.instances {
		k, is := i.Instance.(Ticker)
		if !is {
			continue
		}
		if err := k.Tick(now); err != nil {
			return 0, false, err
		}
		if at, wants := k.NextTick(); wants && (!ok || at < next) {
			next, ok = at, true
		}
	}
	return next, ok, nil
}

// Freeze begins a snapshot: see Stateful.
func (t *Task) Freeze() {
	t.encoding = 0
	for _, i := range t.instances {
		if s, ok := i.Instance.(Stateful); ok {
			s.Freeze()
		}
	}
}

// Encode goes on with the snapshot: see Stateful.
func (t *Task) Encode(budget int, emit func(node string, group int, segment []byte)) (more bool, err error) {
	for t.encoding < len(t.instances) && budget > 0 {
		i := t.instances[t.encoding]
		s, ok := i.Instance.(Stateful)
		if !ok {
			t.encoding++
			continue
		}
		left, err := s.Encode(budget, func(group int, segment []byte) {
			budget -= len(segment)
			emit(i.node.Name, group, segment)
		})
		if err != nil {
			return false, fmt.Errorf("operator %q: %w", i.node.Name, err)
		}
		if left {
			return true, nil
		}
		t.encoding++
	}
	return t.encoding < len(t.instances), nil
}

// SavePositions returns what belongs to origins, by node.
func (t *Task) SavePositions() map[string]map[string][]byte {
	all := map[string]map[string][]byte{}
	for _, i := range t.instances {
		if p, ok := i.Instance.(Positioned); ok {
			all[i.node.Name] = p.SavePositions()
		}
	}
	return all
}

// Snapshot is what a task is restored from.
type Snapshot struct {
	// Segments calls f with every segment of a node's key group, oldest first.
	// Their bytes stay as they are until the next call.
	Segments  func(node string, group int, f func(segment []byte) error) error
	Positions map[string]map[string][]byte // by node: what all its tasks saved
}

// Restore loads the state of the groups that the task owns.
func (t *Task) Restore(s Snapshot) error {
	groups := keygroup.RangeOf(t.Index, t.options.KeyGroups, t.Chain.Parallelism)
	for _, i := range t.instances {
		err := restore(i, groups, s)
		var state *StateError
		if errors.As(err, &state) {
			state.Operator, state.State = i.node.Name, i.node.State
			return state
		}
		if err != nil {
			return fmt.Errorf("operator %q: %w", i.node.Name, err)
		}
	}
	return nil
}

func restore(i namedInstance, groups keygroup.Range, s Snapshot) error {
	if p, ok := i.Instance.(Positioned); ok {
		if err := p.RestorePositions(s.Positions[i.node.Name]); err != nil {
			return err
		}
	}
	st, ok := i.Instance.(Stateful)
	if !ok {
		return nil
	}
	return restoreGroups(st, i.node.Name, groups, s)
}

// restoreGroups restores one group after the other. A group's segments are read
// as a whole before any of its entries is decoded: where a job has taken many
// checkpoints, most of them may be out of date. So the segments of a group lie
// in memory at once, for each task that is being restored.
func restoreGroups(st Stateful, node string, groups keygroup.Range, s Snapshot) error {
	n, segments, entries := new(newest), [][]byte(nil), []Entry(nil)
	for g := groups.First; g < groups.End; g++ {
		segments = segments[:0]
		err := s.Segments(node, g, func(segment []byte) error {
			segments = append(segments, segment)
			return nil
		})
		if err == nil {
			err = n.read(segments)
		}
		if entries = n.held(entries[:0]); err == nil && len(entries) > 0 {
			err = st.Restore(g, entries)
		}
		if err != nil {
			return fmt.Errorf("key group %d: %w", g, err)
		}
	}
	return st.Restored()
}

// PrepareSinks prepares the inline sinks, and returns their states by node.
func (t *Task) PrepareSinks(ctx context.Context, checkpoint uint64) (map[string][]byte, error) {
	states := map[string][]byte{}
	for _, s := range t.sinks {
		err := s.node.Call(func() (err error) { states[s.node.Name], err = s.writer.Prepare(ctx, checkpoint); return err })
		if err != nil {
			return nil, err
		}
	}
	return states, nil
}

// CommitSinks commits the inline sinks.
func (t *Task) CommitSinks(ctx context.Context, checkpoint uint64) error {
	for _, s := range t.sinks {
		if err := s.node.Call(func() error { return s.writer.Commit(ctx, checkpoint) }); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the inline sinks.
func (t *Task) Close() error {
	var errs []error
	for _, s := range t.sinks {
		if s.writer != nil {
			errs = append(errs, s.node.Call(s.writer.Close))
		}
	}
	return errors.Join(errs...)
}
