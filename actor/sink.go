package actor

import (
	"context"
	"errors"
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
	policy  dataflow.Policy
	writer  dataflow.SinkWriter
	in      inputs
	aligner alignment
	times   *watermark.Tracker
	metrics *dataflow.Metrics
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
	s.attempt.background(fmt.Sprintf("sink %q", s.node.Name), func(ctx context.Context) {
		s.attempt.sys.Send(s.self, sinkWorked{then: f(ctx)})
	})
}

func (s *sink) fail(err error) { s.attempt.fail(s.name, fmt.Errorf("sink %q: %w", s.node.Name, err)) }

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
	s.metrics.In.Add(int64(p.Records))
	link := s.in.channels[i].link
	s.background(func(ctx context.Context) func() {
		span := s.site.Start(p.Records, link.Columns(p.Batch).Traces)
		err := s.write(ctx, link, p.Batch)
		span.End(err)
		return func() {
			if err != nil {
				s.fail(err)
				return
			}
			s.heed(i, p)
		}
	})
}

// write writes a batch, passing over records that the sink cannot take if its
// error policy allows that.
func (s *sink) write(ctx context.Context, link dataflow.Link, batch any) error {
	defer func() { link.Release(batch) }()
	for {
		err := s.writer.Write(ctx, batch)
		var bad *dataflow.RecordError
		if !errors.As(err, &bad) {
			return err
		}
		if err := s.unwritable(link, batch, bad); err != nil {
			return err
		}
		rest := link.Tail(batch, bad.Index+1)
		link.Release(batch)
		batch = rest
	}
}

func (s *sink) unwritable(link dataflow.Link, batch any, bad *dataflow.RecordError) error {
	s.metrics.Failures.Add(1)
	switch s.policy.Then {
	case dataflow.ToTopic:
		s.metrics.DeadLetters.Add(1)
		time := dataflow.NoTime
		if times := link.Columns(batch).Times; bad.Index < len(times) {
			time = times[bad.Index]
		}
		return s.attempt.letters.put(dataflow.DeadLetter{Topic: s.policy.Topic, Node: s.node.Name,
			Value: s.writer.Encode(batch, bad.Index), Time: time, Error: bad.Error(), Attempts: 1})
	case dataflow.SkipRecord:
		s.metrics.Skipped.Add(1)
		return nil
	default:
		return fmt.Errorf("cannot write a record: %w; give the sink another error policy to pass over such records", bad)
	}
}

// heed acts on what follows a parcel's records.
func (s *sink) heed(i int, p *parcel) {
	s.in.consumed(i, p.MailboxBytes())
	if low, _, changed := s.times.Update(i, p.Watermark, p.Idle); changed {
		s.metrics.Watermark.Store(low)
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
		state, err := s.writer.Prepare(ctx, number)
		return func() {
			if err != nil {
				s.fail(fmt.Errorf("prepare checkpoint %d: %w", number, err))
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
