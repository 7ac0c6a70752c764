package actor

import (
	"context"
	"fmt"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/internal/watermark"
)

// sink writes for one task of a sink, one call at a time, in the background.
//
//	owns      its writer
//	receives  parcels, from the tasks before it; sinkWorked, from its own
//	          background; checkpointCompleted and checkpointAborted, from the
//	          coordinator
//	sends     granted to the tasks before it; its part of every checkpoint,
//	          committed, and inputEnded to the coordinator
//	keeps     parcels that wait to be written, within the credit it has granted
//	dies      with its attempt
type sink struct {
	attempt *attempt
	name    string
	self    *pactor.PID
	node    *dataflow.Node
	index   int
	env     *dataflow.Env
	writer  dataflow.SinkWriter
	in      inputs
	aligner alignment
	times   *watermark.Tracker
	site    *telemetry.Site // of its spans; nil: none

	busy    bool
	commits []uint64 // checkpoints to commit before anything else is written
	letters uint64   // checkpoint that waits for dead letters; 0: none
	part    checkpoint.Part
}

// sinkWorked ends one call of the writer.
type sinkWorked struct{ then func() }

// Receive implements pactor.Actor.
func (s *sink) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		s.self = ctx.Self()
		return
	case begin:
		return
	case *parcel:
		s.in.accept(m)
	case checkpointAborted:
		s.aligner.Abort(m.number)
	case checkpointCompleted:
		s.commits = append(s.commits, m.number)
	case lettersStored:
		s.lettersStored(m)
	case sinkWorked:
		s.busy = false
		m.then()
	default:
		return
	}
	s.work()
}

// background runs one call of the writer, and then, back in the actor, what it
// returns.
func (s *sink) background(f func(ctx context.Context) (then func())) {
	s.busy = true
	s.attempt.background(s.node.Title(), func(ctx context.Context) {
		s.attempt.sys.Send(s.self, sinkWorked{then: f(ctx)})
	})
}

func (s *sink) fail(err error) { s.attempt.fail(s.name, fmt.Errorf("%s: %w", s.node.Title(), err)) }

func (s *sink) work() {
	for !s.busy && !s.attempt.failed.Load() {
		if len(s.commits) > 0 {
			s.commit()
			return
		}
		i := s.in.next(s.aligner.Blocked)
		if i < 0 {
			return
		}
		s.take(i)
	}
}

// take writes a parcel's records, and then heeds the rest of it.
func (s *sink) take(i int) {
	p := s.in.channels[i].queue.pop()
	if p.Batch == nil {
		s.heed(i, p)
		return
	}
	s.env.Metrics.In.Add(int64(p.Records))
	link := s.in.channels[i].link
	s.background(func(context.Context) func() {
		defer link.Release(p.Batch)
		c := link.Columns(p.Batch)
		c.Origin = i
		span := s.site.Start(p.Records, c.Traces)
		err := dataflow.WriteBatch(s.env, s.node.Policy, link, s.writer, p.Batch)
		span.End(err)
		return func() {
			if err != nil {
				s.attempt.fail(s.name, err) // it names the sink
				return
			}
			s.heed(i, p)
		}
	})
}

// heed acts on what follows a parcel's records.
func (s *sink) heed(i int, p *parcel) {
	s.in.consumed(i, p.MailboxBytes())
	if low, _, changed := s.times.Update(i, p.Watermark, p.Idle); changed {
		s.env.Metrics.Watermark.Store(low)
	}
	if p.Barrier != 0 && s.aligner.barrier(i, p.Barrier) {
		s.prepare(p.Barrier)
	}
	if p.End && s.in.end(i) {
		s.attempt.sys.Send(s.attempt.coord, inputEnded{task: s.name})
	}
}

func (s *sink) prepare(number uint64) {
	s.background(func(ctx context.Context) func() {
		var state []byte
		err := s.attempt.preparing(ctx, number, func(ctx context.Context) (err error) {
			state, err = s.writer.Prepare(ctx, number)
			return err
		})
		return func() {
			if err != nil {
				s.fail(err)
				return
			}
			s.prepared(number, state)
		}
	})
}

func (s *sink) prepared(number uint64, state []byte) {
	s.letters = number
	s.part = checkpoint.Part{Sinks: map[string][]byte{s.node.Name: state}, Task: s.index, Bytes: int64(len(state))}
	s.attempt.letters.flush(s.attempt, func(err error) {
		s.attempt.sys.Send(s.self, lettersStored{number: number, err: err})
	})
}

func (s *sink) lettersStored(m lettersStored) {
	if m.number != s.letters {
		return
	}
	if m.err != nil {
		s.fail(fmt.Errorf("store dead letters: %w", m.err))
		return
	}
	s.letters = 0
	s.attempt.sys.Send(s.attempt.coord, partTaken{number: m.number, task: s.name, part: s.part})
}

func (s *sink) commit() {
	number := s.commits[0]
	s.commits = s.commits[1:]
	s.background(func(ctx context.Context) func() {
		err := s.writer.Commit(ctx, number)
		return func() {
			if err != nil {
				s.fail(fmt.Errorf("commit checkpoint %d: %w", number, err))
				return
			}
			s.attempt.sys.Send(s.attempt.coord, committed{number: number, task: s.name})
		}
	})
}
