package topology

import (
	"fmt"
	"strings"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
)

// Process is for what the other operators cannot do: state of several kinds for
// each key, and timers in event time and in processing time.
//
// setup declares the state, with ValueOf, ListOf and MapOf, and the handlers,
// with the methods of the Processor. It is called once for every task, and once
// when the topology is declared, so it must do nothing else.
//
//	topology.Process(byUser, "sessions", func(p *topology.Processor[string, Click, Session]) {
//		clicks := topology.ValueOf[int](p, "clicks")
//		p.OnRecord(func(c Click) {
//			clicks.Set(clicks.Get() + 1)
//			p.SetEventTimer(p.Time().Add(30 * time.Minute))
//		})
//		p.OnEventTimer(func(at time.Time) { … })
//	})
//
// Without an EventTime on the way here timers in event time fire at the end of the
// input, and so never where that has none.
//
// Handlers of one task are called one at a time. What one of them changed,
// emitted and set before it panicked is undone, except for changes in place to
// what state points to: replace values rather than change their insides.
func Process[K comparable, T, O any](s Keyed[K, T], name string, setup func(p *Processor[K, T, O]),
	opts ...ProcessOption) Stream[O] {
	set := gather(opts, ProcessOption.process)
	limits := set.limits.withDefaults()
	o := add(s.b, "process", name, dataflow.Operator, set, s.ref)
	out := output[O](o, "")
	for _, side := range set.sides {
		side.attach(o)
	}
	if setup == nil {
		o.wrong("its function is nil")
		return out
	}
	p, err := newProcessor(setup, limits, set.sides)
	o.check(err)
	for _, err := range p.state.mistakes {
		o.check(err)
	}
	o.require(err != nil || p.onRecord != nil, "its function sets no handler for records: call OnRecord")
	o.node.State, o.node.Forms = p.schema(), p.forms()
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		p, err := newProcessor(setup, limits, set.sides)
		if err != nil {
			return nil, err
		}
		return newProcess(env, policy, p)
	}
	return out
}

// Processor is what a Process works with. It belongs to one task; its methods
// are for handlers, on the goroutine that called them.
type Processor[K comparable, T, O any] struct {
	onRecord func(T)
	onTimer  [2]func(time.Time) // by timerKind

	state keyedState
	clock groupClock
	out   emitter[O]
	sides []sideBatch

	key   K
	hash  uint64
	group int
	time  int64
	in    *dataflow.Columns // of the record at hand; nil while a timer fires
	row   int
	ended bool // event time has
}

// newProcessor runs setup, which is user code.
func newProcessor[K comparable, T, O any](setup func(*Processor[K, T, O]), limits KeyLimits,
	sides []side) (p *Processor[K, T, O], err error) {
	p = &Processor[K, T, O]{clock: newGroupClock()}
	p.state.limits = limits
	p.state.key = func() any { return p.key }
	for _, s := range sides {
		p.sides = append(p.sides, s.batch())
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("its setup function panics: %v", cause)
		}
	}()
	setup(p)
	return p, nil
}

func (p *Processor[K, T, O]) states() *keyedState { return &p.state }

func (p *Processor[K, T, O]) schema() string {
	var b strings.Builder
	fmt.Fprintf(&b, "process %s", typeName[K]())
	for _, h := range p.state.handles {
		fmt.Fprintf(&b, ", %s: %s", h.declaration().name, h.schema())
	}
	return b.String()
}

func (p *Processor[K, T, O]) forms() map[string]*StateForm {
	all := map[string]*StateForm{keyForm: codec.FormOf[K]()}
	for _, h := range p.state.handles {
		all[fmt.Sprintf("state %q", h.declaration().name)] = h.form()
	}
	return all
}

// OnRecord sets what handles records.
func (p *Processor[K, T, O]) OnRecord(f func(v T)) { p.onRecord = f }

// OnEventTimer sets what handles timers in event time. They fire in order of
// time, those of one time in the order of their keys' bytes.
func (p *Processor[K, T, O]) OnEventTimer(f func(at time.Time)) { p.onTimer[inEventTime] = f }

// OnTimer sets what handles timers in processing time.
func (p *Processor[K, T, O]) OnTimer(f func(at time.Time)) { p.onTimer[inClockTime] = f }

// Key is the key of the record or timer.
func (p *Processor[K, T, O]) Key() K { return p.key }

// Time is the event time of the record, or the time of the timer, in UTC; the
// zero time for a record that has none.
func (p *Processor[K, T, O]) Time() time.Time {
	if p.time == NoTime {
		return time.Time{}
	}
	return utc(p.time)
}

// Watermark is how far event time has come; the zero time as long as nothing is
// known, and far in the future once the input has ended.
func (p *Processor[K, T, O]) Watermark() time.Time {
	if w := p.clock.of(p.group); w != watermark.Min {
		return utc(w)
	}
	return time.Time{}
}

// Now is the processing time at which the batch of the record came, or at which
// the timer fired.
func (p *Processor[K, T, O]) Now() time.Time { return utc(p.state.now) }

// Emit gives out a value, with the event time of the record or event timer.
// Timers in processing time give it none: see EmitAt.
func (p *Processor[K, T, O]) Emit(v O) { p.emitTo(&p.out, v) }

// EmitAt gives out a value with an event time of its own, in whole milliseconds.
func (p *Processor[K, T, O]) EmitAt(at time.Time, v O) {
	p.mustBeActive()
	p.out.add(v, at.UnixMilli(), p.mark(), p.in, p.row)
}

func (p *Processor[K, T, O]) emitTo(out *emitter[O], v O) {
	p.mustBeActive()
	out.add(v, p.time, p.mark(), p.in, p.row)
}

func (p *Processor[K, T, O]) sideBatch(port int) (sideBatch, int64, int64, *dataflow.Columns, int) {
	p.mustBeActive()
	if port == 0 || port > len(p.sides) {
		return nil, 0, 0, nil, 0
	}
	return p.sides[port-1], p.time, p.mark(), p.in, p.row
}

func (p *Processor[K, T, O]) mustBeActive() {
	if !p.state.active {
		panic("emit in handlers only: there is no record that the value could belong to")
	}
}

// mark is the watermark in front of what the call at hand gives out.
func (p *Processor[K, T, O]) mark() int64 {
	if p.in != nil && len(p.in.Marks) > 0 {
		return p.in.Marks[p.row]
	}
	if p.in == nil && p.time != NoTime {
		return p.time - 1
	}
	return p.clock.now
}

// SetEventTimer has OnEventTimer called for the key once the watermark reaches
// a time, in whole milliseconds. A key has one timer for each time: setting it
// again changes nothing. A timer for a time that has passed fires when event
// time next moves. At the end of the input all timers fire, and those that are
// set from then on do not: one that always sets the next would never end.
func (p *Processor[K, T, O]) SetEventTimer(at time.Time) {
	if !p.ended {
		p.setTimer(inEventTime, at)
	}
}

// SetTimer has OnTimer called for the key at a time of the clock, in whole
// milliseconds, or soon after. A key has one timer for each time; one for a
// time that has passed fires when the clock next moves. Timers are part of
// checkpoints; those that came due while the job was down fire when it
// is back. Timers that wait when the input ends do not fire.
func (p *Processor[K, T, O]) SetTimer(at time.Time) { p.setTimer(inClockTime, at) }

func (p *Processor[K, T, O]) setTimer(kind timerKind, at time.Time) {
	if p.onTimer[kind] == nil {
		panic("a timer is set that nothing handles: call " + [...]string{"OnEventTimer", "OnTimer"}[kind] + " in the setup function")
	}
	p.state.setTimer(kind, at.UnixMilli(), true)
}

// DeleteEventTimer removes a timer in event time, if it is set.
func (p *Processor[K, T, O]) DeleteEventTimer(at time.Time) {
	p.state.setTimer(inEventTime, at.UnixMilli(), false)
}

// DeleteTimer removes a timer in processing time, if it is set.
func (p *Processor[K, T, O]) DeleteTimer(at time.Time) {
	p.state.setTimer(inClockTime, at.UnixMilli(), false)
}
