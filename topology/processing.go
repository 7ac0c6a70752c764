package topology

import (
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
)

// process is a Process at work. The table makes it Stateful.
type process[K comparable, T, O any] struct {
	*dataflow.Table[K, keyState]
	*Processor[K, T, O]
	env     *dataflow.Env
	hashOf  func(K) uint64
	outputs []sideBatch // by port
	records recordLoop[K, T, O]
	timers  timerLoop[K, T, O]
	agendas [2]dataflow.Agenda // by timerKind
	passed  []passedTimer      // in event time, to go on the agenda before it next moves
	lengths []int              // of the outputs, before the call at hand
	sweep   sweep
	ticked  int64 // time of the last Tick
}

// passedTimer was set when its time had come already. It waits: were it to fire at
// once, a handler that always sets the next would never end.
type passedTimer struct {
	at  int64
	key dataflow.Ref
}

func newProcess[K comparable, T, O any](env *dataflow.Env, policy dataflow.Policy,
	p *Processor[K, T, O]) (*process[K, T, O], error) {
	form, err := stateForm[K, keyState](p.state.limits)
	if err != nil {
		return nil, err
	}
	form.AppendValue, form.DecodeValue = p.state.encode, p.state.decode
	o := &process[K, T, O]{Table: dataflow.NewTable(env.KeyGroups, env.Groups, form), Processor: p, env: env,
		hashOf: form.Hash, outputs: append([]sideBatch{&p.out}, p.sides...)}
	o.lengths = make([]int, len(o.outputs))
	o.records = recordLoop[K, T, O]{keyedLooper: newKeyedLooper[K, T](env, policy, form.AppendKey), process: o}
	o.timers = timerLoop[K, T, O]{process: o, guard: dataflow.NewGuard(env, policy), encode: form.AppendKey}
	o.sweep = newSweep(p.state.handles)
	p.state.open = o.open
	p.state.expired = func(n int) { env.Metrics.Expired.Add(int64(n)) }
	return o, nil
}

func (o *process[K, T, O]) Input(int) any { return o }
func (o *process[K, T, O]) Connect(port int, reader any) error {
	return o.outputs[port].connect(reader)
}

func (o *process[K, T, O]) ReceiveKeyed(in *dataflow.KeyedBatch[K, T]) error {
	o.state.now = o.env.Now().UnixMilli()
	err := o.records.each(in, &o.records)
	o.Processor.in = nil
	o.env.Metrics.Keys.Store(int64(o.Keys()))
	return err
}

// Watermark fires the timers that are due, and hands on the watermark behind
// what they give out.
func (o *process[K, T, O]) Watermark(time int64, idle bool) error {
	o.state.now = o.env.Now().UnixMilli()
	if err := o.advance(time); err != nil {
		return err
	}
	o.env.Metrics.Keys.Store(int64(o.Keys()))
	o.env.Metrics.Watermark.Store(o.clock.now)
	for _, out := range o.outputs {
		if err := out.watermark(time, idle); err != nil {
			return err
		}
	}
	return nil
}

// advance moves event time, timer by timer. Where it does not move, nothing
// fires: otherwise it would depend on batches when a timer fires that was set
// for a time that has passed.
func (o *process[K, T, O]) advance(to int64) error {
	if to <= o.clock.now {
		return nil
	}
	o.ended = o.ended || to == watermark.Max
	for _, t := range o.passed {
		o.agendas[inEventTime].Add(t.at, t.key)
	}
	o.passed = o.passed[:0]
	for at, ok := o.agendas[inEventTime].Next(); ok && at <= to; at, ok = o.agendas[inEventTime].Next() {
		o.clock.advance(at)
		o.timers.due = o.timers.due[:0]
		if err := o.timers.collect(inEventTime); err != nil {
			return err
		}
		if err := o.timers.fire(inEventTime); err != nil {
			return err
		}
	}
	o.clock.advance(to)
	return nil
}

// Tick implements dataflow.Ticker. Timers that handlers set for a time that has
// passed wait until the clock has moved on: otherwise the task might never do
// anything else.
func (o *process[K, T, O]) Tick(now int64) error {
	if now <= o.ticked {
		return nil
	}
	o.ticked, o.state.now = now, now
	o.timers.due = o.timers.due[:0]
	for at, ok := o.agendas[inClockTime].Next(); ok && at <= now; at, ok = o.agendas[inClockTime].Next() {
		if err := o.timers.collect(inClockTime); err != nil {
			return err
		}
	}
	if err := o.timers.fire(inClockTime); err != nil {
		return err
	}
	o.sweepExpired(now)
	o.env.Metrics.Keys.Store(int64(o.Keys()))
	return nil
}

// NextTick implements dataflow.Ticker.
func (o *process[K, T, O]) NextTick() (int64, bool) {
	at, ok := o.agendas[inClockTime].Next()
	at = max(at, o.ticked+1)
	if o.sweep.step > 0 && o.Keys() > 0 {
		if !ok {
			return o.sweep.next, true
		}
		at = min(at, o.sweep.next)
	}
	return at, ok
}

// begin prepares for a call of a handler.
func (o *process[K, T, O]) begin(key K, hash uint64, at int64, in *dataflow.Columns, row int) {
	p := o.Processor
	p.key, p.hash, p.group, p.time, p.in, p.row = key, hash, o.GroupOf(hash), at, in, row
	p.state.at, p.state.active = nil, true
	for i, out := range o.outputs {
		o.lengths[i] = out.len()
	}
}

// open returns the state of the key at hand, ready to be changed.
func (o *process[K, T, O]) open(write bool) *keyState {
	if write {
		return o.Upsert(o.hash, o.key)
	}
	if r, ok := o.Find(o.hash, o.key); ok {
		return o.Touch(r)
	}
	return nil
}

// keep ends a call that went well.
func (o *process[K, T, O]) keep() {
	for _, c := range o.state.timers {
		if r, _ := o.Find(o.hash, o.key); c.added && c.kind == inEventTime && c.at <= o.clock.now {
			o.passed = append(o.passed, passedTimer{c.at, r})
		} else if c.added {
			o.agendas[c.kind].Add(c.at, r)
		} else {
			o.agendas[c.kind].Strike(func(at int64, r dataflow.Ref) bool { return o.holds(c.kind, at, r) })
		}
	}
	o.state.keep()
	o.tidy()
}

// undo takes back what a call has done that panicked.
func (o *process[K, T, O]) undo() {
	o.state.undo()
	for i, out := range o.outputs {
		out.truncate(o.lengths[i])
	}
	o.tidy()
}

// tidy removes a key of which nothing is left.
func (o *process[K, T, O]) tidy() {
	if st := o.state.at; st != nil && o.state.empty(st) {
		o.state.purge(st)
		o.Delete(o.hash, o.key)
	}
	o.state.at = nil
}

// fires says whether there is a timer to fire when event time moves.
func (o *process[K, T, O]) fires(to int64) bool {
	at, ok := o.agendas[inEventTime].Next()
	return len(o.passed) > 0 || ok && at <= to
}

// holds says whether a key still has a timer.
func (o *process[K, T, O]) holds(kind timerKind, at int64, r dataflow.Ref) bool {
	if !o.Live(r) {
		return false
	}
	_, st := o.Peek(r)
	return st.has(kind, at)
}

func (o *process[K, T, O]) flush() error {
	for _, out := range o.outputs {
		if err := out.flush(o.env.Metrics); err != nil {
			return err
		}
	}
	return nil
}

// full says whether it is time to hand on what was given out.
func (o *process[K, T, O]) full() bool {
	n := 0
	for _, out := range o.outputs {
		n += out.len()
	}
	return n >= o.env.BatchSize
}

// SavePositions implements dataflow.Positioned: the event time of each group.
func (o *process[K, T, O]) SavePositions() map[string][]byte { return o.clock.save(o.env.Groups) }

// RestorePositions implements dataflow.Positioned.
func (o *process[K, T, O]) RestorePositions(saved map[string][]byte) error {
	return o.clock.restore(o.env.Groups, saved)
}

// Restored puts every timer back on its agenda. What expired meanwhile is gone.
func (o *process[K, T, O]) Restored() error {
	o.state.now = o.env.Now().UnixMilli()
	for r := range o.All() {
		_, st := o.Peek(r)
		if o.state.empty(st) {
			o.DeleteAt(r)
			continue
		}
		for kind, times := range st.timers {
			for _, at := range times {
				o.agendas[kind].Add(at, r)
			}
		}
	}
	o.env.Metrics.Keys.Store(int64(o.Keys()))
	return nil
}
