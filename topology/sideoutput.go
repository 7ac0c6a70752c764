package topology

import (
	"fmt"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Side is an output of a Process besides its main one. It is an option of the
// Process that it belongs to.
type Side[T any] struct {
	name   string
	port   int // of the node; 0: not attached yet
	stream Stream[T]
}

// SideOutput returns an output for a Process:
//
//	alerts := topology.SideOutput[Alert]("alerts")
//	totals := topology.Process(byUser, "watch", setup, alerts)
//	topology.To(alerts.Stream(), "alert-log", sink)
//
// In handlers, alerts.Emit(p, alert) gives out a value there. Build insists
// that somebody reads it.
func SideOutput[T any](name string) *Side[T] { return &Side[T]{name: name} }

// Stream is what is given out. It is to be called once the output has been
// given to its Process.
func (s *Side[T]) Stream() Stream[T] { return s.stream }

// SideEmitter is a Processor that has side outputs.
type SideEmitter interface {
	sideBatch(port int) (b sideBatch, time, mark int64, in *dataflow.Columns, row int)
}

// Emit gives out a value, with the event time of the record or event timer.
func (s *Side[T]) Emit(p SideEmitter, v T) {
	b, time, mark, in, row := p.sideBatch(s.port)
	e, ok := b.(*emitter[T])
	if !ok {
		panic(fmt.Errorf("side output %q does not belong to this Process: give it to it as an option", s.name))
	}
	e.add(v, time, mark, in, row)
}

func (s *Side[T]) process(set *settings) { set.sides = append(set.sides, s) }

// side is a Side of whatever type.
type side interface {
	attach(o *operator)
	batch() sideBatch
}

func (s *Side[T]) attach(o *operator) {
	if s.port != 0 {
		o.wrong("side output %q belongs to another Process already: each needs its own", s.name)
		return
	}
	o.check(checkName("side output", s.name))
	for _, out := range o.node.Outputs {
		o.require(out.Name != s.name, "it has two side outputs %q", s.name)
	}
	s.stream = output[T](o, s.name)
	s.port = s.stream.port
}

func (s *Side[T]) batch() sideBatch { return &emitter[T]{} }

// sideBatch is an emitter of whatever type.
type sideBatch interface {
	connect(reader any) error
	len() int
	truncate(n int)
	flush(m *dataflow.Metrics) error
	watermark(time int64, idle bool) error
}

// emitter gathers what handlers give out at one output.
type emitter[T any] struct {
	port dataflow.Port[T]
	out  dataflow.Batch[T]
}

// add adds a value. in and row say which record it is due to, if any: its trace
// goes on in the value.
func (e *emitter[T]) add(v T, time, mark int64, in *dataflow.Columns, row int) {
	if in != nil {
		for _, t := range in.Traces {
			if t.Index == row {
				e.out.Traces = append(e.out.Traces, dataflow.Trace{Index: len(e.out.Values), Context: t.Context})
			}
		}
	}
	e.out.Append(v, time, mark)
}

func (e *emitter[T]) connect(reader any) error { return e.port.Connect(reader) }
func (e *emitter[T]) len() int                 { return len(e.out.Values) }
func (e *emitter[T]) truncate(n int)           { e.out.Truncate(n) }

func (e *emitter[T]) flush(m *dataflow.Metrics) error {
	m.Out.Add(int64(len(e.out.Values)))
	err := e.port.Receive(&e.out)
	e.out.Reset()
	return err
}

func (e *emitter[T]) watermark(time int64, idle bool) error { return e.port.Watermark(time, idle) }
