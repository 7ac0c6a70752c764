package actor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync/atomic"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/internal/watermark"
)

// readAhead is how many batches of a split may be read before they are
// processed.
const readAhead = 2

// source runs one task of a chain that begins with a source.
//
//	owns      its dataflow.Task, and the readers of its splits
//	receives  filled, from the goroutines that read; granted, from the tasks
//	          behind it; takeCheckpoint, checkpointCompleted, from the coordinator
//	sends     parcels to the tasks behind it; its part of every checkpoint, and
//	          inputEnded when nothing follows, to the coordinator
//	keeps     at most readAhead batches a split; parcels that wait for credit
//	dies      with its attempt
type source struct {
	taskCore
	node    *dataflow.Node
	policy  dataflow.Policy
	splits  []*split
	absent  map[string][]byte // positions of splits that are gone
	queue   []*filled         // read, not yet processed
	live    int
	stopped bool    // behind the barrier of a last checkpoint
	orders  []any   // checkpoints and ends to be taken between two batches
	at      *filled // being delivered
	ending  int     // split that is
	unsent  int
	records int64 // processed since the last complete checkpoint
	taken   []recordsTaken
	metrics *dataflow.Metrics
	parcel  dataflow.Parcel    // the one being delivered
	portion atomic.Int64       // records to read at once
	sampler *telemetry.Sampler // chooses the records that begin a trace; nil: none
}

type recordsTaken struct {
	number  uint64
	records int64
}

// split is one part of the source and how far it was read.
type split struct {
	id       string
	reader   dataflow.SplitReader
	position []byte // behind what was processed
	lag      atomic.Int64
	ended    bool
	closing  bool // it was told to read to the end
	observed observed

	session int // counts the readers it has had
	tokens  chan struct{}
	stop    context.CancelFunc
	stopped chan struct{} // closed when nobody reads any more
}

// MailboxBytes makes a filled batch data: control messages pass it.
func (f *filled) MailboxBytes() int { return parcelOverhead }

// Refused ends the attempt: what was read would be lost.
func (f *filled) Refused(err error) { f.attempt.fail("source", err) }

// Receive implements pactor.Actor.
func (s *source) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		s.start(ctx)
		return
	case *pactor.Stopped:
		s.worker.halt()
		return
	case begin:
		s.connect()
		s.portion.Store(int64(min(portionFirst, s.attempt.spec.BatchSize)))
		s.startReading()
	case *filled:
		s.queue = append(s.queue, m)
	case takeCheckpoint:
		s.connect()
		s.orders = append(s.orders, m)
	case readToEnd:
		s.orders = append(s.orders, m)
	case reopened:
		s.reopened(m)
	case checkpointCompleted:
		s.confirm(m.number)
		s.common(m)
	default:
		if !s.common(m) {
			return
		}
	}
	s.work()
}

func (s *source) startReading() {
	s.live = len(s.splits)
	if s.live == 0 {
		s.do((*splitEnd)(s))
		return
	}
	for i := range s.splits {
		s.startSplit(i)
	}
}

// readToEnd ends every split where it ends now: its reader is replaced by one
// that knows its end. What was read and not yet processed is read again.
func (s *source) readToEnd() {
	for i, sp := range s.splits {
		if sp.ended || sp.closing {
			continue
		}
		sp.closing = true
		sp.stop()
		done, request := sp.stopped, dataflow.OpenRequest{Split: sp.id, Position: sp.position,
			Start: s.attempt.spec.Restore.Start, Until: dataflow.Until{End: true}}
		s.attempt.background(s.who(), func(ctx context.Context) {
			<-done
			s.attempt.sys.Send(s.self, reopened{split: i, err: sp.reopen(ctx, s.node.Source, request)})
		})
	}
}

// reopen replaces the reader. Nobody reads meanwhile; the actor leaves the field
// alone until it is told that this is done.
func (sp *split) reopen(ctx context.Context, driver dataflow.SourceDriver, r dataflow.OpenRequest) error {
	old := sp.reader
	sp.reader = nil
	if err := old.Close(); err != nil {
		return err
	}
	next, err := driver.Open(ctx, r)
	if err == nil {
		sp.reader = next
	}
	return err
}

// reopened says that a split has the reader that knows where it ends.
type reopened struct {
	split int
	err   error
}

func (s *source) who() string { return fmt.Sprintf("source %q", s.node.Name) }

func (s *source) reopened(m reopened) {
	if m.err != nil {
		s.fail(fmt.Errorf("source %q, split %q: %w", s.node.Name, s.splits[m.split].id, m.err))
		return
	}
	s.startSplit(m.split)
}

// startSplit begins to read a split with the reader it has now.
func (s *source) startSplit(i int) {
	sp := s.splits[i]
	sp.session++
	sp.tokens = make(chan struct{}, readAhead)
	for range readAhead {
		sp.tokens <- struct{}{}
	}
	ctx, cancel := context.WithCancel(s.attempt.ctx)
	done := make(chan struct{})
	sp.stop, sp.stopped = cancel, done
	reader, session, tokens := sp.reader, sp.session, sp.tokens
	clock := func() time.Time { return time.Time{} }
	if sp.observed.receive != nil {
		clock = s.attempt.now
	}
	s.attempt.background(s.who(), func(context.Context) {
		defer close(done)
		s.read(ctx, i, session, reader, clock, tokens)
	})
}

// read is the goroutine that reads a split, one batch for each token.
func (s *source) read(ctx context.Context, i, session int, reader dataflow.SplitReader, clock func() time.Time, tokens chan struct{}) {
	for {
		select {
		case <-tokens:
		case <-ctx.Done():
			return
		}
		began := clock()
		batch, n, err := reader.Read(ctx, int(s.portion.Load()))
		if ctx.Err() != nil {
			return
		}
		s.attempt.sys.Send(s.self, &filled{attempt: s.attempt, split: i, session: session, batch: batch, records: n, err: err,
			position: reader.Position(), lag: reader.Lag(), began: began, ended: clock()})
		if err != nil && !passedOver(err) {
			return
		}
	}
}

// passedOver says whether an error is about one record, behind which the reader
// goes on.
func passedOver(err error) bool {
	var bad *dataflow.RecordError
	return errors.As(err, &bad)
}

// work processes what was read, as far as credit allows.
func (s *source) work() {
	for range parcelsPerTurn {
		if s.attempt.failed.Load() {
			return
		}
		ready := s.ready()
		s.obey()
		if !ready || len(s.queue) == 0 || s.stopped {
			s.idle()
			return
		}
		f := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		s.process(f)
		s.encodeBehind()
	}
	s.later()
}

func (s *source) idle() {
	if s.unsent > 0 && !s.stalled() {
		s.unsent = 0
		s.task.Flush()
	}
	s.encodeAlone()
}

// obey does what waited for the end of a batch that was under way.
func (s *source) obey() {
	for len(s.orders) > 0 && !s.worker.under {
		order := s.orders[0]
		s.orders = s.orders[1:]
		switch m := order.(type) {
		case takeCheckpoint:
			s.takeCheckpoint(m)
		case readToEnd:
			s.readToEnd()
		}
	}
}

func (s *source) process(f *filled) {
	sp := s.splits[f.split]
	if f.session == sp.session && !(sp.closing && sp.session == 1) {
		s.at = f
		s.do((*reading)(s))
	}
}

// reading is the work of running what was read through the operators.
type reading source

func (r *reading) run() error {
	if r.at.batch == nil {
		return nil
	}
	return (*source)(r).deliver(r.at)
}

func (r *reading) done() {
	s := (*source)(r)
	s.portion.Store(int64(nextPortion(int(s.portion.Load()), s.attempt.spec.BatchSize, s.at.records, s.worker.busy)))
	if err := s.processed(s.at); err != nil {
		s.fail(err)
	}
}

// What is under way in a batch can be neither stopped nor part of a checkpoint.
// So a source whose functions are slow reads less at once.
const (
	portionFirst   = 32
	portionTooLong = 100 * time.Millisecond // a batch that takes longer makes the next one smaller
	portionQuick   = 20 * time.Millisecond  // one that takes less makes it twice as large
)

// nextPortion is how many records to read next, after a batch of some has taken
// so long.
func nextPortion(portion, most, records int, took time.Duration) int {
	switch {
	case took > portionTooLong:
		return max(1, min(portion, int(float64(records)*float64(portionQuick)/float64(took))))
	case took < portionQuick:
		return min(most, max(portion, 2*records))
	default:
		return portion
	}
}

// processed notes how far the split has come, and lets its reader go on.
func (s *source) processed(f *filled) error {
	sp := s.splits[f.split]
	if f.position == nil && f.records > 0 && s.attempt.spec.ExactlyOnce {
		return fmt.Errorf("source %q, split %q: %w", s.node.Name, sp.id, errNoPosition)
	}
	sp.position = f.position
	sp.lag.Store(f.lag)
	if s.unsent++; s.unsent >= parcelsPerFlush {
		s.unsent = 0
		s.task.Flush()
	}
	if f.err != nil {
		return s.stumbled(f)
	}
	sp.tokens <- struct{}{}
	return nil
}

// errNoPosition: a reader has returned records and does not say where it is.
var errNoPosition = errors.New("its reader's Position is nil behind records it has returned, so a resumed job would read them again: " +
	"return what Open needs to go on behind them, or run the job without ExactlyOnce")

// stumbled deals with what the reader reported behind its last batch.
func (s *source) stumbled(f *filled) error {
	sp := s.splits[f.split]
	if errors.Is(f.err, io.EOF) {
		s.endSplit(f.split)
		return nil
	}
	var bad *dataflow.RecordError
	if !errors.As(f.err, &bad) {
		return fmt.Errorf("source %q, split %q: %w", s.node.Name, sp.id, f.err)
	}
	if err := s.unreadable(sp, bad); err != nil {
		return err
	}
	sp.tokens <- struct{}{}
	return nil
}

func (s *source) deliver(f *filled) error {
	link := s.node.Outputs[0].Link
	if f.records > 0 {
		s.records += int64(f.records)
		s.metrics.In.Add(int64(f.records))
		s.metrics.Out.Add(int64(f.records))
		if err := s.deliverRecords(f, link.Columns(f.batch)); err != nil {
			return err
		}
	}
	link.Release(f.batch)
	return nil
}

func (s *source) deliverRecords(f *filled, columns *dataflow.Columns) error {
	o := &s.splits[f.split].observed
	s.sampler.Sample(o.create, columns, f.records, s.sampleTime())
	o.received(f, columns.Traces)
	began, span := o.meter.Now(), o.process.Start(f.records, columns.Traces)
	s.parcel = dataflow.Parcel{Batch: f.batch, Records: f.records, Watermark: watermark.Min}
	err := s.task.Deliver(0, f.split, &s.parcel)
	span.End(err)
	o.meter.Processed(began, err)
	return err
}

// sampleTime reads the clock, once a batch and only if somebody looks at it.
func (s *source) sampleTime() int64 {
	if s.sampler == nil {
		return 0
	}
	return s.attempt.now().UnixMilli()
}

// unreadable treats a record that the reader could not make sense of as the
// source's error policy says.
func (s *source) unreadable(sp *split, bad *dataflow.RecordError) error {
	s.metrics.Failures.Add(1)
	switch s.policy.Then {
	case dataflow.ToTopic:
		s.metrics.DeadLetters.Add(1)
		return s.attempt.letters.put(dataflow.DeadLetter{Topic: s.policy.Topic, Node: s.node.Name, Value: bad.Raw,
			Time: dataflow.NoTime, Error: bad.Error(), Stack: bad.Stack, Attempts: 1, Origin: bad.Where})
	case dataflow.SkipRecord:
		s.metrics.Skipped.Add(1)
		return nil
	default:
		return &Unreadable{Source: s.node.Name, Split: sp.id, Err: bad}
	}
}

// Unreadable is a record that a source could not make sense of, and whose error
// policy is to fail.
type Unreadable struct {
	Source, Split string
	Err           *dataflow.RecordError
}

func (e *Unreadable) Error() string {
	return fmt.Sprintf("source %q cannot read a record: %v; give the source another error policy (OnError) to pass over such records", e.Source, e.Err)
}

// Unwrap returns the record's error.
func (e *Unreadable) Unwrap() error { return e.Err }

func (s *source) endSplit(i int) {
	s.splits[i].ended = true
	s.live--
	s.ending = i
	s.do((*splitEnd)(s))
}

// splitEnd is the work of ending a split; a task without any has one to end, too.
type splitEnd source

func (e *splitEnd) run() error {
	if len(e.splits) > 0 {
		if err := e.task.EndOrigin(e.ending); err != nil {
			return err
		}
	}
	return e.task.Deliver(0, e.ending, &dataflow.Parcel{Watermark: watermark.Max})
}

func (e *splitEnd) done() {
	if e.live == 0 {
		e.metrics.Watermark.Store(watermark.Max)
		(*source)(e).end()
	}
}

func (s *source) takeCheckpoint(m takeCheckpoint) {
	s.stopped = s.stopped || m.stop
	part := s.snap.newPart()
	positions := map[string][]byte{}
	maps.Copy(positions, s.absent)
	for _, sp := range s.splits {
		positions[sp.id] = sp.position
		s.attempt.settlements.await(m.number, s.attempt.now(), &sp.observed)
	}
	part.Positions[s.node.Name] = positions
	part.RecordsIn = s.records
	s.taken = append(s.taken, recordsTaken{m.number, s.records})
	s.snapshot(m.number, part)
}

// confirm forgets the records that a complete checkpoint has counted.
func (s *source) confirm(number uint64) {
	for len(s.taken) > 0 && s.taken[0].number <= number {
		if s.taken[0].number == number {
			done := s.taken[0].records
			s.records -= done
			for i := range s.taken {
				s.taken[i].records -= done
			}
		}
		s.taken = s.taken[1:]
	}
}
