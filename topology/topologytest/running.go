package topologytest

import (
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/dataflow"
)

// running is a plan at work: all of its tasks, and the parcels between them.
type running struct {
	d      *Driver
	plan   *dataflow.Plan
	chains [][]*task // by chain and index
	tasks  []*task   // all of them, inputs first
	broken error     // a promise of the kernel's that a task did not keep
	ended  bool      // every task has, and the sinks are committed
}

// newRunning starts the tasks. Sinks are opened before sources, so that a
// topic between the two knows that it is being written.
func newRunning(d *Driver, s *Snapshot) (*running, error) {
	r := &running{d: d}
	if err := s.fits(d.graph); err != nil {
		return r, err
	}
	splits, err := listSplits(d)
	if err != nil {
		return r, err
	}
	counts := map[int]int{}
	for id, ids := range splits {
		counts[id] = len(ids)
	}
	if r.plan, err = dataflow.NewPlan(d.graph.Nodes(), d.options.parallelism, counts); err != nil {
		return r, err
	}
	r.chains = make([][]*task, len(r.plan.Chains))
	for _, c := range r.plan.Chains {
		for i := range c.Parallelism {
			r.addTask(newTask(r, c, i))
		}
	}
	return r, r.openAll(s, splits)
}

func listSplits(d *Driver) (map[int][]string, error) {
	splits := map[int][]string{}
	for _, n := range d.graph.Nodes() {
		if n.Role != dataflow.Source {
			continue
		}
		ids, err := n.Source.Splits(d.ctx)
		if err != nil {
			return nil, fmt.Errorf("source %q: %w", n.Name, err)
		}
		splits[n.ID] = ids
	}
	return splits, nil
}

func (r *running) addTask(t *task) {
	r.chains[t.chain.ID] = append(r.chains[t.chain.ID], t)
	r.tasks = append(r.tasks, t)
}

func (r *running) openAll(s *Snapshot, splits map[int][]string) error {
	for _, t := range r.tasks {
		var mine []string
		if t.chain.Source != nil {
			mine = share(splits[t.chain.Source.ID], t.index, t.chain.Parallelism)
		}
		if err := t.open(s, mine); err != nil {
			return err
		}
	}
	for _, t := range r.tasks {
		if err := t.openReaders(s); err != nil {
			return err
		}
	}
	return nil
}

// share is the part of the splits that one task reads.
func share(splits []string, task, tasks int) (mine []string) {
	for i := task; i < len(splits); i += tasks {
		mine = append(mine, splits[i])
	}
	return mine
}

// settle works until there is nothing left to do.
func (r *running) settle() error {
	for {
		worked, err := r.step()
		if err != nil {
			return err
		}
		if worked {
			continue
		}
		if _, _, err := r.tick(); err != nil {
			return err
		}
		if !r.pending() {
			return r.finish()
		}
	}
}

// drain delivers all that is between tasks, and reads nothing new.
func (r *running) drain() error {
	for {
		ms := r.moves(false)
		if len(ms) == 0 {
			return r.broken
		}
		if err := r.choose(ms)(); err != nil {
			return err
		}
	}
}

// step does one thing of those that can be done.
func (r *running) step() (worked bool, err error) {
	ms := r.moves(true)
	if len(ms) == 0 {
		return false, r.broken
	}
	return true, errors.Join(r.choose(ms)(), r.broken)
}

type move func() error

// choose takes a move at random, or without a seed the first.
func (r *running) choose(ms []move) move {
	if r.d.random == nil {
		return ms[0]
	}
	return ms[r.d.random.IntN(len(ms))]
}

// moves lists what can be done: deliveries first, those at the end of the
// graph in front, then flushes, and the reading of sources last. In that order
// little is ever in flight.
func (r *running) moves(read bool) (ms []move) {
	for i := len(r.tasks) - 1; i >= 0; i-- {
		ms = append(ms, r.tasks[i].deliveries()...)
	}
	for _, t := range r.tasks {
		if t.unflushed {
			ms = append(ms, t.flush)
		}
	}
	if !read {
		return ms
	}
	for _, t := range r.tasks {
		ms = append(ms, t.reads()...)
	}
	return ms
}

func (r *running) pending() bool { return len(r.moves(true)) > 0 }

// tick lets operators act on the clock, and returns when next to do so.
func (r *running) tick() (next int64, ok bool, err error) {
	now := r.d.now.UnixMilli()
	for _, t := range r.tasks {
		if t.ended {
			continue
		}
		at, wants, err := t.Tick(now)
		if err != nil {
			return 0, false, err
		}
		t.Flush()
		if wants && (!ok || at < next) {
			next, ok = at, true
		}
	}
	return next, ok, nil
}

// wake lets sources that had nothing more be asked again.
func (r *running) wake() {
	for _, t := range r.tasks {
		for _, s := range t.splits {
			s.waits = false
		}
	}
}

// finish commits the sinks once everything has ended.
func (r *running) finish() error {
	if r.ended || r.unfinished() != nil {
		return nil
	}
	r.ended = true
	r.d.number++
	if _, err := r.prepareSinks(r.d.number); err != nil {
		return err
	}
	return r.commitSinks(r.d.number)
}

// unfinished says what still waits, if anything does.
func (r *running) unfinished() error {
	for _, t := range r.tasks {
		for _, s := range t.splits {
			if !s.ended {
				return fmt.Errorf("source %q has not ended: its split %q waits for more", t.chain.Source.Name, s.id)
			}
		}
	}
	for _, t := range r.tasks {
		if !t.ended {
			return fmt.Errorf("operator %q has not ended", t.chain.Name())
		}
	}
	return nil
}

// prepareSinks returns the state of every writer, by sink.
func (r *running) prepareSinks(number uint64) (map[string][][]byte, error) {
	states := map[string][][]byte{}
	for _, t := range r.tasks {
		mine, err := t.prepare(number)
		if err != nil {
			return nil, err
		}
		for sink, state := range mine {
			states[sink] = append(states[sink], state)
		}
	}
	return states, nil
}

func (r *running) commitSinks(number uint64) error {
	for _, t := range r.tasks {
		if err := t.commit(number); err != nil {
			return err
		}
	}
	return nil
}

func (r *running) close() error {
	var all []error
	for _, t := range r.tasks {
		all = append(all, t.close())
	}
	return errors.Join(all...)
}

// edge carries parcels from one task along a wire.
type edge struct {
	run  *running
	wire *dataflow.Wire
	from int
}

func (e edge) Targets() int { return e.wire.To.Parallelism }

func (e edge) Send(target int, p dataflow.Parcel) {
	e.run.chains[e.wire.To.ID][target].accept(e.wire, e.from, p)
}

func sinkOpen(r *running, n *dataflow.Node, index, tasks int, s *Snapshot) dataflow.SinkOpen {
	o := dataflow.SinkOpen{Job: r.d.graph.Name(), Sink: n.Name, Task: index, Tasks: tasks,
		Incarnation: r.d.starts, ExactlyOnce: true, Resumed: s != nil}
	if s != nil && index == 0 {
		o.States = s.sinks[n.Name]
	}
	return o
}
