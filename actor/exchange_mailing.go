package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// mailing is a message on its way: it knows what has to be done once all its appends have
// ended. It is used again for another message then.
type mailing struct {
	publisher *ExchangePublisher
	conf      Confirmation
	claim     claim
	done      func(Confirmation, error)
	queues    []*queueInfo // that admit it
	bytes     int
	left      atomic.Int32

	mu  sync.Mutex
	err error // of the first append that failed

	stored, storedElsewhere func(Published, error) // made once
}

func newMailing(p *ExchangePublisher) *mailing {
	a := &mailing{publisher: p}
	a.stored = a.queuesEnded
	a.storedElsewhere = func(_ Published, err error) { a.ended(err) }
	return a
}

// mail returns one for a draft with so many appends.
func (p *ExchangePublisher) mail(d *draft, conf Confirmation, claim claim, done func(Confirmation, error), appends int) *mailing {
	a := p.mailings.Get().(*mailing)
	a.conf, a.claim, a.done, a.bytes, a.err = conf, claim, done, len(d.record.Value), nil
	a.queues = append(a.queues[:0], d.queues...)
	a.left.Store(int32(appends))
	return a
}

// discard is for a mailing that was not sent.
func (a *mailing) discard() {
	a.done, a.claim = nil, claim{}
	clear(a.queues)
	a.publisher.mailings.Put(a)
}

// queuesEnded says what became of the append for the queues. If it failed, nobody will
// index the message, or so it seems: they get their room back.
func (a *mailing) queuesEnded(_ Published, err error) {
	if err != nil {
		for _, q := range a.queues {
			q.admission.abandon(a.bytes)
		}
	}
	a.ended(err)
}

// ended counts the end of an append. With the last everything is known.
func (a *mailing) ended(err error) {
	if err != nil {
		a.mu.Lock()
		if a.err == nil {
			a.err = err
		}
		a.mu.Unlock()
	}
	if a.left.Add(-1) == 0 {
		a.settle()
	}
}

func (a *mailing) settle() {
	p, conf, err := a.publisher, a.conf, a.err // all others are through with it
	if err != nil {
		conf = Confirmation{}
		p.failed.Add(1)
	} else {
		p.published.Add(1)
		p.exchange.figures.published.Add(1)
		p.deadLettered.Add(uint64(conf.DeadLettered))
	}
	p.settle(a.claim, conf, err)
	done := a.done
	a.discard()
	if done != nil {
		done(conf, err)
	}
}

// Receipt is what becomes of a message that is being published.
type Receipt struct {
	conf   Confirmation
	future Future         // of its one append
	more   []Receipt      // of several
	err    error          // one of them was not begun
	first  *earlierReport // it is a duplicate of one that is under way
}

// Wait waits until it is known what became of the message. When ctx ends first, the
// message is tried for all the same.
func (r Receipt) Wait(ctx context.Context) (Confirmation, error) {
	if r.first != nil {
		return r.first.wait(ctx)
	}
	err := r.err
	if r.future.batch != nil {
		_, err = r.future.Wait(ctx)
	}
	for _, part := range r.more {
		_, failed := part.Wait(ctx)
		err = errors.Join(err, failed)
	}
	if err != nil {
		return Confirmation{}, err
	}
	return r.conf, nil
}

// earlierReport is what becomes of an earlier message of the same id.
type earlierReport struct {
	known chan struct{}
	conf  Confirmation
	err   error
}

func (e *earlierReport) tell(conf Confirmation, err error) {
	e.conf, e.err = conf, err
	close(e.known)
}

func (e *earlierReport) wait(ctx context.Context) (Confirmation, error) {
	select {
	case <-e.known:
		return e.conf, e.err
	case <-ctx.Done():
		return Confirmation{}, fmt.Errorf("wait for an earlier message of the same id: %w", ctx.Err())
	}
}
