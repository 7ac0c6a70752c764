package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Unroutable says what becomes of messages that no binding matches.
type Unroutable uint8

// The ways to treat them.
const (
	FailUnroutable Unroutable = iota // the publisher is told: ErrUnroutable; the default. RabbitMQ's mandatory.
	DropUnroutable                   // they are dropped, and counted: see ExchangePublisherStats
)

// ExchangePublisherOptions configure an ExchangePublisher. The zero value is one with
// the defaults.
type ExchangePublisherOptions struct {
	Unroutable Unroutable
	// WaitWhenFull: where a queue with RejectPublish is full, or publishing to a queue is
	// paused, Publish waits, within its context. Otherwise that is an error.
	WaitWhenFull bool
	// FailFast: where there is no room for the message, or a queue is behind with what
	// was published to it, that is an ErrBackpressure. Otherwise Publish waits, within its
	// context.
	FailFast bool
	// BufferBytes bounds the messages that wait or are under way to one log, and
	// BatchBytes is the size from which on a batch takes no more. Defaults 32 MiB, 256 KiB.
	BufferBytes, BatchBytes int
	// DeliveryTimeout is how long a message is tried for. Default 2 minutes.
	DeliveryTimeout time.Duration
	// inside: it is for messages that were published before.
	inside bool
}

func (o *ExchangePublisherOptions) publisher() PublisherOptions {
	return PublisherOptions{BufferBytes: o.BufferBytes, BatchBytes: o.BatchBytes, FailFast: o.FailFast, DeliveryTimeout: o.DeliveryTimeout, inside: o.inside}
}

// Confirmation says what was done with a message. It is as durable as was asked for by
// then.
type Confirmation struct {
	Queues, Topics int // that it has reached
	// DeadLettered is how many queues were full and had it dead-lettered, by
	// RejectPublishDLX.
	DeadLettered int
	// Duplicate: a message of that id was published before, and has reached the queues
	// and topics; this one was not published.
	Duplicate bool
}

// ExchangePublisherStats are what a publisher has done so far.
type ExchangePublisherStats struct {
	Published    uint64 // confirmed
	Failed       uint64 // of those that Publish has accepted
	Dropped      uint64 // because they were unroutable
	Duplicates   uint64
	DeadLettered uint64
}

// ExchangePublisher publishes messages to one exchange. It is safe for concurrent use.
//
// However many queues a message is for, it is appended once, to the log of the exchange;
// and once to each topic that is bound. Messages that wait while others are on their way
// to the disk share the next append, and none waits for time to pass. What fails in a
// way that may pass is tried again until DeliveryTimeout, and is stored once whatever
// was lost on the way. Messages of one goroutine keep their order in each queue, unless
// the exchange has several partitions and their Keys differ.
//
// A queue that is slow to index what was published to it, or full, slows down those who
// publish to it, and nobody else.
type ExchangePublisher struct {
	sys      *System
	d        *queueDirectory
	exchange *exchangeInfo
	options  ExchangePublisherOptions

	published, failed, dropped, duplicates, deadLettered atomic.Uint64

	own      [QueueShards][2]atomic.Pointer[outlet] // logs of the exchange: of the default one by shard; [1] transient
	topics   shared[string, *outlet]                // that are bound
	letters  shared[string, *ExchangePublisher]     // for RejectPublishDLX, by exchange
	drafts   sync.Pool                              // of *draft
	mailings sync.Pool                              // of *mailing

	mu     sync.Mutex // held to make outlets and letters
	closed bool
}

// NewPublisher returns a publisher to the exchange. Close it.
func (x *Exchange) NewPublisher(ctx context.Context, o ExchangePublisherOptions) (*ExchangePublisher, error) {
	p, err := newExchangePublisher(ctx, x.d, x.info, o)
	if err != nil {
		return nil, fmt.Errorf("publish to exchange %q: %w", x.info.name, err)
	}
	return p, nil
}

func newExchangePublisher(ctx context.Context, d *queueDirectory, x *exchangeInfo, o ExchangePublisherOptions) (*ExchangePublisher, error) {
	checked := o.publisher()
	checked.withDefaults()
	if err := checked.check(); err != nil {
		return nil, err
	}
	if o.Unroutable > DropUnroutable {
		return nil, fmt.Errorf("%w: there is no Unroutable %d", ErrInvalid, o.Unroutable)
	}
	p := &ExchangePublisher{sys: d.sys, d: d, exchange: x, options: o}
	p.drafts.New = func() any { return &draft{router: d.table.Router()} }
	p.mailings.New = func() any { return newMailing(p) }
	if err := x.recall(ctx, d); err != nil {
		return nil, err
	}
	return p, nil
}

// Publish begins to publish a message and returns what becomes of it. It waits only for
// room, within ctx. It fails, and nothing is published, if there is something wrong with
// the message or no queue takes it. The message may be changed as soon as Publish returns.
func (p *ExchangePublisher) Publish(ctx context.Context, m *Message) (Receipt, error) {
	return p.publish(ctx, m, nil)
}

// PublishFunc is like Publish and calls done exactly once, unless it returns an error:
// maybe before it returns. done must not block; if it panics, that is logged. It is called
// where a partition does its work: so it cannot call Flush or Close, nor wait for another
// message, and may publish only where that does not wait (with FailFast).
func (p *ExchangePublisher) PublishFunc(ctx context.Context, m *Message, done func(Confirmation, error)) error {
	_, err := p.publish(ctx, m, done)
	return err
}

// PublishSync publishes a message and waits until it is as durable as it asks for.
func (p *ExchangePublisher) PublishSync(ctx context.Context, m *Message) (Confirmation, error) {
	r, err := p.Publish(ctx, m)
	if err != nil {
		return Confirmation{}, err
	}
	return r.Wait(ctx)
}

func (p *ExchangePublisher) publish(ctx context.Context, m *Message, done func(Confirmation, error)) (Receipt, error) {
	d := p.drafts.Get().(*draft)
	defer d.back(p)
	err := d.write(m, p.exchange.name)
	if p.sys.hasEnded.Load() {
		err = errSystemClosed
	}
	var r Receipt
	if err == nil {
		r, err = p.send(ctx, d, done)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("publish to exchange %q: %w", p.exchange.name, err)
	}
	return r, nil
}

// Stats returns what the publisher has done so far.
func (p *ExchangePublisher) Stats() ExchangePublisherStats {
	return ExchangePublisherStats{Published: p.published.Load(), Failed: p.failed.Load(), Dropped: p.dropped.Load(),
		Duplicates: p.duplicates.Load(), DeadLettered: p.deadLettered.Load()}
}

// Exchange returns the name of the exchange.
func (p *ExchangePublisher) Exchange() string { return p.exchange.name }

// Flush waits until it is known of every message published so far what became of it, and
// the functions given to PublishFunc have returned.
func (p *ExchangePublisher) Flush(ctx context.Context) (err error) {
	for _, each := range p.withLetters(nil) {
		for _, o := range each.outlets() {
			err = errors.Join(err, o.publisher.Flush(ctx))
		}
	}
	return err
}

// Close refuses further messages, and waits for those under way, as Flush does. When ctx
// ends first, they fail, with an ErrUnknown where they may be stored after all.
func (p *ExchangePublisher) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	var err error
	for _, o := range p.outlets() {
		err = errors.Join(err, o.publisher.Close(ctx))
	}
	return errors.Join(err, p.Flush(ctx)) // the letters are left
}

// withLetters adds the publisher, and those that have dead-lettered something for it, to
// all. They may have done so for each other.
func (p *ExchangePublisher) withLetters(all []*ExchangePublisher) []*ExchangePublisher {
	if slices.Contains(all, p) {
		return all
	}
	all = append(all, p)
	for _, l := range p.letters.all() {
		all = l.withLetters(all)
	}
	return all
}

// outlets are those that the publisher has made.
func (p *ExchangePublisher) outlets() (all []*outlet) {
	for shard := range p.own {
		for transient := range p.own[shard] {
			if o := p.own[shard][transient].Load(); o != nil {
				all = append(all, o)
			}
		}
	}
	for _, o := range p.topics.all() {
		all = append(all, o)
	}
	return all
}
