package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/queue"
)

// fateKind is what becomes of a message.
type fateKind uint8

const (
	fateNone     fateKind = iota // it is not settled
	fateAck                      // done
	fateFailed                   // an attempt, after the delay of the queue's policy
	fateRetry                    // an attempt, after a delay of its own
	fateRejected                 // for good
	fateReturned                 // not worked on
)

// fate is that with what belongs to it.
type fate struct {
	kind  fateKind
	delay time.Duration
	why   string // the error that says so
}

// retryFate: to the queue, no delay is a negative one.
func retryFate(delay time.Duration) fate {
	if delay <= 0 {
		delay = -1
	}
	return fate{kind: fateRetry, delay: delay}
}

// fateOf is what the result of a handler says.
func fateOf(err error) fate {
	if err == nil {
		return fate{kind: fateAck}
	}
	var again *retryIn // behind the return: it is allocated
	v := fate{kind: fateFailed}
	switch {
	case errors.Is(err, ErrReject):
		v.kind = fateRejected
	case errors.Is(err, ErrReturn):
		return fate{kind: fateReturned}
	case errors.As(err, &again):
		v = retryFate(again.delay)
	}
	v.why = whyOf(err)
	return v
}

// whyOf is what an error says, as much as a dead letter keeps of it.
func whyOf(err error) (text string) {
	failed := dataflow.Protect(func() error { text = err.Error(); return nil })
	if failed != nil {
		text = "the error does not say: " + failed.Error()
	}
	if len(text) > DeathErrorBytes {
		text = strings.Clone(text[:DeathErrorBytes]) // what is long is not kept for it
	}
	return strings.ToValidUTF8(text, "")
}

// is says whether a nack is for such fates.
func (v fate) is(n *queue.Nack) bool {
	m := v.nack()
	return n.Requeue == m.Requeue && n.Returned == m.Returned && n.Delay == m.Delay && n.Error == m.Error
}

func (v fate) nack() queue.Nack {
	return queue.Nack{Requeue: v.kind != fateRejected, Returned: v.kind == fateReturned, Delay: v.delay, Error: v.why}
}

// Settlements of a consumer go to its queue together. The first goes at once. While it
// is under way the others collect; they go when it is answered, or when they have
// become settleChunk: so the queue can go on delivering while its journal is on the way
// to the disk. How many can be under way bounds what collects in the queue.
const (
	settleChunks    = 4  // a prefetch full of settlements makes that many messages
	settlesUnderWay = 16 // messages
	settlesPatient  = 8  // with more of them the queue is to hurry
)

// queueSettling is what a consumer has to tell its queue about deliveries. The
// consumer's lock guards it.
type queueSettling struct {
	chunk    int
	acks     []uint64
	nacks    []queue.Nack
	count    int // of both
	seq      uint64
	underWay int
	waiting  map[uint64]chan error    // for the answer to a message
	charging map[uint64]chan struct{} // for the Charged of a tag
}

func (s *queueSettling) add(tag uint64, v fate) {
	s.count++
	if v.kind == fateAck {
		s.acks = append(s.acks, tag)
		return
	}
	if last := len(s.nacks) - 1; last >= 0 && v.is(&s.nacks[last]) {
		s.nacks[last].Tags = append(s.nacks[last].Tags, tag)
		return
	}
	n := v.nack()
	n.Tags = []uint64{tag}
	s.nacks = append(s.nacks, n)
}

// due says whether what has collected is to go. starving: the consumer has nothing else,
// and gets nothing before the queue hears of it.
func (s *queueSettling) due(starving bool) bool {
	return s.count > 0 && (s.underWay == 0 || (starving || s.count >= s.chunk) && s.underWay < settlesUnderWay)
}

// end is the end of the subscription: nothing is answered any more.
func (s *queueSettling) end(err error) {
	for _, answer := range s.waiting {
		answer <- err
	}
	for _, charged := range s.charging {
		close(charged)
	}
	*s = queueSettling{chunk: s.chunk}
}

// flush lets go what is due. The lock is held.
func (c *QueueConsumer) flush() {
	s := &c.settling
	starving := c.hand.fresh == 0 && c.hand.open+s.count >= c.options.Prefetch
	if !s.due(starving) {
		return
	}
	m := settle{acks: s.acks, nacks: s.nacks, hurry: s.underWay >= settlesPatient}
	s.acks, s.nacks, s.count = make([]uint64, 0, min(cap(s.acks), 2*s.chunk)), nil, 0
	c.send(m)
}

// send sends a message. The lock is held, so that messages keep their order.
func (c *QueueConsumer) send(m settle) uint64 {
	s := &c.settling
	s.seq++
	s.underWay++
	m.consumer, m.seq = c.run.id, s.seq
	c.sys.Send(c.run.queue, m)
	return s.seq
}

// settled is the answer.
func (c *QueueConsumer) settled(m deliveriesSettled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.run.is(m.consumer) {
		return
	}
	s := &c.settling
	s.underWay--
	c.stats.Refused += uint64(len(m.refused))
	if answer := s.waiting[m.seq]; answer != nil {
		delete(s.waiting, m.seq)
		answer <- errors.Join(m.refused...)
	}
	c.flush()
	c.settleDown()
}

// settle settles a delivery.
func (c *QueueConsumer) settle(d *QueueDelivery, v fate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := d.isSettled(); err != nil {
		c.stats.Refused++
		return err
	}
	c.close(d, v)
	c.flush()
	c.settleDown()
	return nil
}

// close notes what became of an open delivery. The lock is held.
func (c *QueueConsumer) close(d *QueueDelivery, v fate) {
	c.settling.add(d.Tag, v)
	c.count(v)
	c.hand.close(d, deliverySettled)
}

func (c *QueueConsumer) count(v fate) {
	switch v.kind {
	case fateAck:
		c.stats.Acked++
	case fateFailed, fateRetry:
		c.stats.Failed++
	case fateRejected:
		c.stats.Rejected++
	case fateReturned:
		c.stats.Returned++
	}
}

// settleUpTo settles a delivery and all that was handed out before it.
func (c *QueueConsumer) settleUpTo(d *QueueDelivery, v fate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := d.isSettled(); err != nil {
		c.stats.Refused++
		return err
	}
	for _, d := range c.hand.upTo(d.Tag) {
		c.close(d, v)
	}
	c.flush()
	c.settleDown()
	return nil
}

// ackSync acknowledges a delivery in a message of its own: so the answer is about it.
func (c *QueueConsumer) ackSync(ctx context.Context, d *QueueDelivery) error {
	answer, err := c.ackAlone(d)
	if err != nil {
		return err
	}
	select {
	case err = <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("queue %s: acknowledge message %v: it is not known whether it is durable: %w", c.queue, d.Ref, ctx.Err())
	}
}

func (c *QueueConsumer) ackAlone(d *QueueDelivery) (chan error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := d.isSettled(); err != nil {
		c.stats.Refused++
		return nil, err
	}
	c.count(fate{kind: fateAck})
	c.hand.close(d, deliverySettled)
	if c.settling.waiting == nil {
		c.settling.waiting = map[uint64]chan error{}
	}
	answer := make(chan error, 1)
	c.settling.waiting[c.send(settle{acks: []uint64{d.Tag}, hurry: true})] = answer
	c.settleDown()
	return answer, nil
}

// Flush waits until everything that was settled so far is durable. The error is an
// ErrSettled if that is not known, since the subscription has ended meanwhile, and within
// ctx its error. Those who settle at the same time hold it up.
func (c *QueueConsumer) Flush(ctx context.Context) error {
	c.mu.Lock()
	run := c.run
	c.mu.Unlock()
	err := c.until(ctx, func() bool { return run.over != nil || c.settling.count == 0 && c.settling.underWay == 0 })
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case run.over != nil:
		return fmt.Errorf("%w: the subscription has ended before it was durable: %w", queue.ErrSettled, run.over)
	case err != nil:
		return fmt.Errorf("queue %s: it is not known whether all that was settled is durable: %w", c.queue, err)
	}
	return nil
}

// charge has the attempt at a delivery on probation be durable before its handler runs.
// It returns false if that is not to be: the message was taken back.
func (c *QueueConsumer) charge(ctx context.Context, d *QueueDelivery) bool {
	charged := c.beginCharge(d)
	if charged != nil {
		select {
		case <-charged:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.settling.charging, d.Tag)
	return d.isSettled() == nil && ctx.Err() == nil
}

func (c *QueueConsumer) beginCharge(d *QueueDelivery) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.isSettled() != nil {
		return nil
	}
	if c.settling.charging == nil {
		c.settling.charging = map[uint64]chan struct{}{}
	}
	charged := make(chan struct{})
	c.settling.charging[d.Tag] = charged
	d.started = true
	c.send(settle{started: []uint64{d.Tag}})
	return charged
}

// charged lets whoever waits for it go on.
func (c *QueueConsumer) charged(m queue.Charged) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run.is(m.Consumer) {
		c.goOn(m.Tag)
	}
}

func (c *QueueConsumer) goOn(tag uint64) {
	if charged := c.settling.charging[tag]; charged != nil {
		delete(c.settling.charging, tag)
		close(charged)
	}
}

// extend tells the queue that handlers are at work, or that messages wait for them; and
// what was handed out since it did so last: should the consumer be lost, that counts as
// tried.
func (c *QueueConsumer) extend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run.over != nil || c.run.queue == nil {
		return
	}
	m := settle{extend: c.handler != nil && (c.working() > 0 || c.hand.fresh > 0)}
	if c.options.Hold {
		m.extend = c.hand.open > 0
	} else {
		m.started = c.hand.unannounced()
	}
	if m.extend || len(m.started) > 0 {
		c.send(m)
	}
}
