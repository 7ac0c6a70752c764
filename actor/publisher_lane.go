package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// publisherLane is a publisher's way to one partition.
//
// Batches have their sequence from the moment they are first posted, and keep
// it: so one that comes again is known. A goroutine posts them in order, as long
// as there are any. After a failure it waits until all that is under way has come
// back, and begins with the first that failed; what follows keeps its place.
type publisherLane struct {
	publisher *Publisher
	partition int
	ref       *partitionRef

	mu       sync.Mutex
	closed   bool
	running  bool
	open     *publishedBatch   // takes records
	queue    []*publishedBatch // full, or to be posted again
	posted   []*publishedBatch // under way, or failed: in order
	untold   []*publishedBatch // those that somebody still waits for: in the order of their making
	underWay int
	alone    bool   // the last that is under way expects something: nothing is posted behind it
	failed   error  // of the first batch that failed
	next     uint64 // sequence of the next batch that has none
	start    uint64 // sequence the publisher began with
	lost     bool   // what the partition has is not known: ask before anything else
	tries    int
	wake     chan struct{} // a batch has come, or has come back
}

// add adds a record to the open batch.
func (l *publisherLane) add(r *Record, size int, done func(Published, error)) (Future, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return Future{}, fmt.Errorf("the publisher: %w", ErrClosed)
	}
	b := l.open
	if b == nil {
		b = &publishedBatch{topic: l.publisher.topic.name, partition: l.partition, settled: make(chan struct{}), began: time.Now()}
		b.section.Records = sections.get()
		l.open, l.untold = b, append(l.untold, b)
	}
	f := Future{batch: b, index: b.section.Count}
	l.publisher.topic.settings.Load().add(&b.section, r)
	b.bytes += size
	if done != nil {
		if b.callbacks == nil {
			b.callbacks = callbackLists.get()
		}
		b.callbacks = append(b.callbacks, callback{f.index, done})
	}
	full := len(b.section.Records) >= l.publisher.options.BatchBytes
	if full {
		l.queue, l.open = append(l.queue, b), nil
	}
	if full || l.underWay == 0 {
		l.rouse()
	}
	return f, nil
}

// rouse makes the goroutine look, and starts it if there is none.
func (l *publisherLane) rouse() {
	if !l.running {
		l.running = true
		l.publisher.group.Go(l.run)
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *publisherLane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// awaited are the batches that are not settled. A batch leaves queue and posted
// before its callbacks are called, and a later one may be settled by another
// goroutine: so all of them count.
func (l *publisherLane) awaited() []*publishedBatch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.untold)
}

// run posts batches until there are none.
func (l *publisherLane) run() {
	for {
		b, more := l.take()
		switch {
		case b != nil:
			l.post(b)
		case !more:
			return
		case !l.wait():
			l.giveUp()
			return
		}
	}
}

func (l *publisherLane) wait() bool {
	select {
	case <-l.wake:
		return true
	case <-l.publisher.ctx.Done():
		return false
	}
}

// take returns the next batch to post. more says, when there is none, whether
// there will be.
func (l *publisherLane) take() (b *publishedBatch, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil && l.underWay == 0 {
		l.recover()
	}
	if l.failed == nil && l.lost && l.underWay == 0 && !l.ask() {
		l.failed = fmt.Errorf("%w: the partition does not say what it has", ErrUnknown)
		l.endOfSystem()
		l.rouse()
	}
	if l.failed != nil || l.alone || l.underWay >= batchesUnderWay {
		return nil, true
	}
	if len(l.queue) == 0 && l.open != nil && l.underWay == 0 {
		l.queue, l.open = append(l.queue, l.open), nil
	}
	if len(l.queue) == 0 {
		l.running = l.underWay > 0
		return nil, l.running
	}
	b = l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.number(b)
	l.posted = append(l.posted, b)
	l.underWay++
	l.alone = b.expects != nil
	return b, true
}

// number gives a batch its sequence, once.
func (l *publisherLane) number(b *publishedBatch) {
	if b.numbered {
		return
	}
	s := &b.section
	s.Producer, s.Epoch, s.First = l.publisher.options.ID, l.publisher.epoch, l.next
	l.next += uint64(s.Count)
	b.numbered = true
}

// post sends a batch to the partition. It may wait at the partition's gate.
func (l *publisherLane) post(b *publishedBatch) {
	sys := l.publisher.topic.sys
	size := sys.limits.share(b.section)
	if err := l.ref.gate.enter(l.publisher.ctx, size); err != nil {
		l.returned(b, Ack{}, fmt.Errorf("the publisher: %w", ErrClosed))
		return
	}
	begins, meter, count, began := b.section.First == l.start, l.publisher.meter, b.section.Count, l.publisher.meter.Now()
	o := &order{section: b.section, begins: begins, exact: begins, expects: b.expects}
	o.done = func(ack Ack, err error) {
		l.ref.gate.leave(size)
		meter.Sent(count, began, err)
		l.returned(b, ack, l.publisher.topic.gone(err))
	}
	sys.Send(l.ref.pid.Load(), o)
}

// returned takes the outcome of a batch in.
func (l *publisherLane) returned(b *publishedBatch, ack Ack, err error) {
	l.mu.Lock()
	i := slices.Index(l.posted, b)
	if i < 0 { // it was given up
		l.mu.Unlock()
		return
	}
	l.underWay--
	l.alone = l.alone && b.expects == nil
	ended := err == nil || b.unmet(err)
	switch {
	case err == nil:
		l.tries = 0
		b.stored(ack)
	case ended:
		l.giveBack(b)
	default:
		b.unsure = b.unsure || errors.Is(err, ErrUnknown)
		if l.failed == nil {
			l.failed = err
		}
	}
	if ended {
		l.posted = slices.Delete(l.posted, i, i+1)
	}
	l.rouse()
	l.mu.Unlock()
	if err == nil {
		releaseSection(b.section)
		b.section.Records = nil
	}
	if ended {
		l.end(b, err)
	}
}

// end settles a batch, and makes room. Why its last try failed says nothing of those
// before.
func (l *publisherLane) end(b *publishedBatch, err error) {
	if err != nil && b.unsure && !errors.Is(err, ErrUnknown) {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	l.publisher.room.leave(b.bytes)
	b.settle(l.publisher.topic.sys, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold[0] == b { // nearly always
		l.untold[0] = nil
		l.untold = l.untold[1:]
		return
	}
	l.untold = slices.DeleteFunc(l.untold, func(other *publishedBatch) bool { return other == b })
}

// transient says whether it may go well the next time.
func transient(err error) bool {
	if errors.Is(err, ErrNoTopic) {
		return false
	}
	return errors.Is(err, ErrUnknown) || errors.Is(err, ErrFull) || errors.Is(err, ErrBackpressure) || errors.Is(err, ErrOutOfSequence)
}

// recover decides about what has failed. Nothing is under way. The lock is held,
// and given back while it waits.
func (l *publisherLane) recover() {
	cause := l.publisher.topic.gone(l.failed)
	if !transient(cause) {
		l.refuse(cause)
		return
	}
	l.tries++
	l.mu.Unlock()
	waited := l.pause()
	l.mu.Lock()
	if waited != nil {
		return // the publisher is closed: run gives up
	}
	l.expire(cause)
	if errors.Is(cause, ErrOutOfSequence) {
		l.lost = true // it is the first that failed, so the partition has something else in mind
	}
	if slices.ContainsFunc(l.posted, func(b *publishedBatch) bool { return b.unsure && b.expects != nil }) {
		l.lost = true // lest a conflict be with its own record
	}
	if l.lost && !l.ask() {
		l.endOfSystem()
		l.rouse() // it is asked again
		return
	}
	l.queue = append(l.posted, l.queue...)
	l.posted, l.failed = nil, nil
}

// endOfSystem has a partition that does not answer be asked no more, if there is no
// system any more. The lock is held.
func (l *publisherLane) endOfSystem() {
	if l.publisher.topic.sys.isClosed() {
		l.failed = errSystemClosed
	}
}

// pause is the wait in front of another try: exponential backoff.
func (l *publisherLane) pause() error {
	o := &l.publisher.options
	return sleep(l.publisher.ctx, min(o.RetryBackoff<<min(l.tries-1, 20), o.RetryBackoffMax))
}

// refuse fails all there is: the error would be the same for the next.
func (l *publisherLane) refuse(cause error) {
	all := append(slices.Clone(l.posted), l.queue...)
	if l.open != nil {
		all = append(all, l.open)
	}
	l.posted, l.queue, l.open, l.failed, l.lost = nil, nil, nil, nil, true
	l.mu.Unlock()
	for _, b := range all {
		l.end(b, fmt.Errorf("publish to topic %s, partition %d: %w", b.topic, b.partition, cause))
	}
	l.mu.Lock()
}

// expire gives up what was tried for long enough. What was posted may be stored or
// not; so the partition has to be asked what it has before the next batch gets its
// sequence, lest that is taken for this one.
func (l *publisherLane) expire(cause error) {
	posted := l.expired(&l.posted)
	l.lost = l.lost || len(posted) > 0
	var waited []*publishedBatch
	if len(l.posted) == 0 {
		waited = l.expired(&l.queue)
		if len(l.queue) == 0 && l.open != nil {
			open := []*publishedBatch{l.open}
			if old := l.expired(&open); len(old) > 0 {
				waited, l.open = append(waited, old...), nil
			}
		}
	}
	l.mu.Unlock()
	for _, b := range posted {
		if !errors.Is(cause, ErrFull) {
			cause = fmt.Errorf("%w: %w", ErrUnknown, cause)
		}
		l.end(b, l.late(cause))
	}
	for _, b := range waited {
		l.end(b, l.late(cause))
	}
	l.mu.Lock()
}

func (l *publisherLane) late(cause error) error {
	return fmt.Errorf("publish to topic %s, partition %d: given up after DeliveryTimeout, %v: %w",
		l.publisher.topic.name, l.partition, l.publisher.options.DeliveryTimeout, cause)
}

// expired takes from the front of batches what is older than DeliveryTimeout.
func (l *publisherLane) expired(batches *[]*publishedBatch) []*publishedBatch {
	n := 0
	for n < len(*batches) && time.Since((*batches)[n].began) > l.publisher.options.DeliveryTimeout {
		n++
	}
	old := (*batches)[:n:n]
	*batches = (*batches)[n:]
	return old
}

// askPatience is how long a partition may take to say what it has.
const askPatience = 5 * time.Second

// ask asks the partition what it has of this producer, and numbers anew what was
// not given up. It says whether it was told.
func (l *publisherLane) ask() bool {
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.publisher.ctx, askPatience)
	at, err := askPartition[producerStand](ctx, l.publisher.topic, l.partition, askProducer{l.publisher.options.ID})
	cancel()
	l.mu.Lock()
	if err != nil {
		return false
	}
	l.lost = false
	l.renumber(at)
	return true
}

// renumber gives new sequences to the batches that the partition does not have: also
// to those that wait to be posted again, when the one in front of them failed before
// their turn came. With an old sequence they would be taken for stored once others
// have come as far. Where the newest it has is of an older epoch, it has none of them.
func (l *publisherLane) renumber(at producerStand) {
	ours := at.known && at.epoch == l.publisher.epoch
	if at.known {
		l.next = at.next
	}
	if !ours {
		l.start = l.next
	}
	for _, b := range append(slices.Clip(l.posted), l.queue...) {
		if !b.numbered {
			return // nor is any behind it
		}
		if end := b.section.First + uint64(b.section.Count); !ours || end > at.next {
			b.unsure = b.unsure && (!at.known || at.epoch > l.publisher.epoch)
			b.numbered = false
			l.number(b)
		}
	}
}

// giveUp fails what is left when the publisher is closed.
func (l *publisherLane) giveUp() {
	l.mu.Lock()
	posted, waiting := l.posted, l.queue
	if l.open != nil {
		waiting = append(waiting, l.open)
	}
	l.posted, l.queue, l.open, l.running = nil, nil, nil, false
	l.mu.Unlock()
	for _, b := range posted {
		l.end(b, fmt.Errorf("publish to topic %s, partition %d: %w: the publisher was closed", b.topic, b.partition, ErrUnknown))
	}
	for _, b := range waiting {
		l.end(b, fmt.Errorf("publish to topic %s, partition %d: the publisher: %w", b.topic, b.partition, ErrClosed))
	}
}
