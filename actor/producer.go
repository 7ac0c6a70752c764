package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/telemetry"
)

// Defaults of a producer.
const (
	DefaultWindowBytes   = 8 << 20
	DefaultWindowAppends = 1_024
)

// ProducerOptions configure a Producer.
type ProducerOptions struct {
	// ID makes the producer idempotent: an append that is repeated is stored
	// once. Whoever resumes under an id takes it over with a higher Epoch, and
	// appends with lower ones are refused. Empty: an append that is repeated is
	// stored again.
	ID    string
	Epoch uint64
	// Next says, for partitions where the producer resumes, the sequence of its
	// next record: what Sequence returned when its position was saved. Where it
	// is not given, the sequence begins at 0.
	Next map[int]uint64
	// WindowBytes and WindowAppends bound what is under way. Defaults:
	// DefaultWindowBytes, DefaultWindowAppends.
	WindowBytes   int
	WindowAppends int
	// FailFast: an append that would have to wait for room fails with
	// ErrBackpressure instead.
	FailFast bool
}

// Producer appends records to a topic. It is safe for concurrent use; appends
// from one goroutine to one partition keep their order.
//
// After an append of an idempotent producer has failed, those behind it fail
// too, with ErrOutOfSequence. Append and Flush, once they have reported the
// failure or waited for all that was under way, take the producer back to the
// sequence of the first that failed: append the same records again, in the same
// order. What had been stored after all is told from it and stored only once.
type Producer struct {
	topic   *Topic
	options ProducerOptions
	window  *gate
	lanes   []producerLane
	meter   *telemetry.TopicMeter

	mu      sync.Mutex
	closed  bool
	pending int
	idle    chan struct{} // closed when pending is 0
}

// producerLane is the sequence of an idempotent producer in one partition.
type producerLane struct {
	mu      sync.Mutex
	start   uint64 // sequence the producer began with
	next    uint64
	pending int
	failed  error  // of the first append that failed, until the caller knows
	rewind  uint64 // its sequence
}

// NewProducer returns a producer. Close it.
func (t *Topic) NewProducer(o ProducerOptions) (*Producer, error) {
	if limit := codec.DefaultLimits().ProducerBytes; len(o.ID) > limit {
		return nil, fmt.Errorf("a producer id of %d bytes for topic %s: the limit ProducerBytes is %d", len(o.ID), t.name, limit)
	}
	if o.WindowBytes <= 0 {
		o.WindowBytes = DefaultWindowBytes
	}
	if o.WindowAppends <= 0 {
		o.WindowAppends = DefaultWindowAppends
	}
	p := &Producer{topic: t, options: o, window: newGate(o.WindowBytes), lanes: make([]producerLane, t.Partitions()), meter: t.sys.meter(t.name)}
	for i := range p.lanes {
		p.lanes[i].start, p.lanes[i].next = o.Next[i], o.Next[i]
	}
	return p, nil
}

// Append appends records to a partition, all or none, and waits until they are
// as durable as the topic promises. When ctx ends first the error is that of
// ctx, and the records may or may not be stored.
func (p *Producer) Append(ctx context.Context, partition int, records []Record) (Ack, error) {
	return p.appendWait(ctx, partition, records, nil)
}

// AppendIf is Append, provided that the newest record of a key is where the caller
// believes it to be: if it is not, nothing is stored, and the error is a
// KeyConflictError that says where it is. So events of one thing can be appended by
// many who have each read what there was before. The topic must be declared with
// KeyIndex, and the partition be that of the key. The records need not be of the key.
//
// What an idempotent producer sends again, with the sequence that it had, does not
// conflict with itself: it gets the answer it got the first time. Without an ID, or
// under another sequence, it does, when the first was stored after all.
func (p *Producer) AppendIf(ctx context.Context, partition int, e Expected, records []Record) (Ack, error) {
	if e.Key == nil {
		return Ack{Partition: partition, Offset: NoOffset}, fmt.Errorf("append to topic %s, partition %d: an expectation needs a key", p.topic.name, partition)
	}
	e.Key = slices.Clone(e.Key)
	ack, err := p.appendWait(ctx, partition, records, &e)
	var conflict *KeyConflictError
	if errors.As(err, &conflict) {
		conflict.Topic, conflict.Partition = p.topic.name, partition
	}
	return ack, err
}

func (p *Producer) appendWait(ctx context.Context, partition int, records []Record, e *Expected) (Ack, error) {
	type result struct {
		ack Ack
		err error
	}
	done := make(chan result, 1)
	err := p.appendAsync(ctx, partition, records, e, func(ack Ack, err error) { done <- result{ack, err} })
	if err != nil {
		return Ack{Partition: partition, Offset: NoOffset}, err
	}
	select {
	case r := <-done:
		if r.err != nil {
			p.lanes[partition].goBack()
		}
		return r.ack, r.err
	case <-ctx.Done():
		return Ack{Partition: partition, Offset: NoOffset}, fmt.Errorf("append to topic %s, partition %d: %w: %w",
			p.topic.name, partition, ErrUnknown, ctx.Err())
	}
}

// AppendAsync begins to append records to a partition, all or none. It waits
// only for room in the window, within ctx. If it returns nil, done is called
// exactly once, on another goroutine or even before AppendAsync returns; it must
// not block, and if it panics, that is logged. The records may be changed as soon as
// AppendAsync returns.
func (p *Producer) AppendAsync(ctx context.Context, partition int, records []Record, done func(Ack, error)) error {
	return p.appendAsync(ctx, partition, records, nil, done)
}

func (p *Producer) appendAsync(ctx context.Context, partition int, records []Record, e *Expected, done func(Ack, error)) error {
	ref, err := p.topic.partition(partition)
	if err != nil {
		return err
	}
	section, err := p.encode(records)
	if err != nil {
		return fmt.Errorf("append to topic %s, partition %d: %w", p.topic.name, partition, err)
	}
	ticket := p.ticket(section)
	if err := p.enter(ctx, ref, ticket); err != nil {
		releaseSection(section)
		return fmt.Errorf("append to topic %s, partition %d: %w", p.topic.name, partition, err)
	}
	lane, began := &p.lanes[partition], p.meter.Now()
	o := &order{section: section, expects: e}
	o.done = func(ack Ack, err error) {
		err = p.topic.gone(err)
		p.meter.Sent(section.Count, began, err)
		p.returned(lane, o, err)
		p.leave(ref, ticket)
		ack.Partition = partition
		p.topic.sys.guard(p.topic.name, func() { done(ack, err) })
		p.finish()
	}
	if err := p.post(ref, lane, o); err != nil {
		o.settled.Store(true)
		p.leave(ref, ticket)
		p.finish()
		return fmt.Errorf("append to topic %s, partition %d: %w", p.topic.name, partition, err)
	}
	return nil
}

// sections holds buffers of records that were stored.
var sections slicePool[byte]

func (p *Producer) encode(records []codec.Record) (codec.Section, error) {
	s := codec.Section{Records: sections.get()}
	most := p.topic.sys.limits.SectionBytes
	s.Records = slices.Grow(s.Records, min(roomFor(records), most))
	settings := p.topic.settings.Load()
	for i := range records {
		err := recordLimits.Check(&records[i])
		if err == nil && settings.Compaction.Enabled && records[i].Key == nil {
			err = ErrNoKey
		}
		if err != nil {
			return s, fmt.Errorf("record %d: %w", i, err)
		}
		settings.add(&s, &records[i])
		if len(s.Records) > most {
			return s, fmt.Errorf("%w: the limit SectionBytes is %d: split it", ErrTooLarge, most)
		}
	}
	if s.Count == 0 {
		return s, errors.New("an append needs at least one record")
	}
	s.Producer, s.Epoch = p.options.ID, p.options.Epoch
	return s, nil
}

// recordOverhead is about what a record takes besides its key and its value.
const recordOverhead = 24

// roomFor is about what records take when encoded, headers apart: so a section
// is allocated once, and not grown bit by bit.
func roomFor(records []codec.Record) (n int) {
	for i := range records {
		n += len(records[i].Key) + len(records[i].Value) + recordOverhead
	}
	return n
}

// releaseSection keeps the buffer for the next append. Nobody may use it any
// more: so it is called for what was stored or never sent, and not for what
// failed, which the partition may still be reading.
func releaseSection(s codec.Section) { sections.put(s.Records) }

// ticket is what an append costs at the gates: at least so much that the
// number of appends is bounded, too.
type ticket struct{ window, partition int }

func (p *Producer) ticket(s codec.Section) ticket {
	bytes := len(s.Records) + orderOverhead
	return ticket{
		window:    max(bytes, p.options.WindowBytes/p.options.WindowAppends),
		partition: p.topic.sys.limits.share(s),
	}
}

func (p *Producer) enter(ctx context.Context, ref *partitionRef, t ticket) error {
	if err := p.begin(); err != nil {
		return err
	}
	err := pass(ctx, p.window, t.window, p.options.FailFast)
	if err == nil {
		if err = pass(ctx, ref.gate, t.partition, p.options.FailFast); err != nil {
			p.window.leave(t.window)
		}
	}
	if err != nil {
		p.finish()
	}
	return err
}

func pass(ctx context.Context, g *gate, n int, failFast bool) error {
	if failFast && !g.tryEnter(n) {
		return ErrBackpressure
	}
	if failFast {
		return nil
	}
	return g.enter(ctx, n)
}

func (p *Producer) leave(ref *partitionRef, t ticket) {
	ref.gate.leave(t.partition)
	p.window.leave(t.window)
}

// post gives the append its sequence and sends it. Both happen under the lock of
// the lane, so that appends reach the partition in the order of their sequences.
func (p *Producer) post(ref *partitionRef, l *producerLane, o *order) error {
	pid := ref.pid.Load()
	if p.options.ID == "" {
		p.topic.sys.Send(pid, o)
		return nil
	}
	l.mu.Lock()
	if l.failed != nil {
		err := l.failed
		l.mu.Unlock()
		return fmt.Errorf("%w: an append before it has failed: %w", ErrOutOfSequence, err)
	}
	o.section.First, o.begins = l.next, l.next == l.start
	l.next += uint64(o.section.Count)
	l.pending++
	l.mu.Unlock()
	p.topic.sys.Send(pid, o)
	return nil
}

// returned takes the outcome of an append in.
func (p *Producer) returned(l *producerLane, o *order, err error) {
	if err == nil {
		releaseSection(o.section)
	}
	if p.options.ID == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending--
	if err != nil && (l.failed == nil || o.section.First < l.rewind) {
		l.failed, l.rewind = err, o.section.First
	}
}

// goBack lets the lane take appends again after a failure, from the sequence of
// the first that failed. This must not happen by itself when the last one under
// way is back: whoever appends without waiting may not have heard of the failure
// yet, and its next records would get the sequence, and so the place, of those
// that failed.
func (l *producerLane) goBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil && l.pending == 0 {
		l.next, l.failed = l.rewind, nil
	}
}

// Sequence returns the sequence that the next record for a partition will get.
// Once Flush has returned nil, everything below it is stored.
func (p *Producer) Sequence(partition int) uint64 {
	l := &p.lanes[partition]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

func (p *Producer) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("the producer: %w", ErrClosed)
	}
	if p.pending++; p.pending == 1 {
		p.idle = make(chan struct{})
	}
	return nil
}

func (p *Producer) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending--; p.pending == 0 {
		close(p.idle)
	}
}

// Flush waits until no append is under way. How each of them ended, its own
// function was told.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	idle, pending := p.idle, p.pending
	p.mu.Unlock()
	if pending == 0 {
		p.goBack()
		return nil
	}
	select {
	case <-idle:
		p.goBack()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush the producer of topic %s: %w", p.topic.name, ctx.Err())
	}
}

func (p *Producer) goBack() {
	for i := range p.lanes {
		p.lanes[i].goBack()
	}
}

// Close refuses further appends and waits for those under way.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	return p.Flush(ctx)
}
