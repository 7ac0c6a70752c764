package actor

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// QueueDelivery is a message of a queue in the hands of a consumer. It can be settled
// once, by Ack, Nack, Reject, Requeue or Retry, from any goroutine, also after the
// handler has returned. After that, and when the queue has taken the message back, these
// return an ErrSettled.
//
// Body, Key and headers are parts of what is shared with other consumers: they must not
// be changed. They stay valid; who keeps them for long copies them, or else a whole
// batch stays in memory.
type QueueDelivery struct {
	*arrival
	batch      *queueBatch
	properties atomic.Pointer[envelope.Envelope] // once it was asked for

	// Guarded by the consumer's lock.
	state   deliveryState
	started bool        // the queue was told that it was handed out
	cause   queue.Cause // why it was taken back
}

type deliveryState uint8

const (
	deliveryOpen     deliveryState = iota
	deliverySettled                // by its consumer
	deliveryRecalled               // taken back by the queue
)

// Body is the message itself; nil if it is a tombstone of a topic.
func (d *QueueDelivery) Body() []byte {
	_, body, _ := d.page.body(d.arrival.Body.Offset)
	return body
}

// Key is the key of its record; nil if it has none.
func (d *QueueDelivery) Key() []byte {
	key, _, _ := d.page.body(d.arrival.Body.Offset)
	return key
}

// Record is the message as it is in its log, with the headers of the user.
func (d *QueueDelivery) Record() Record {
	r := d.record()
	if hasEnvelope(&r) {
		r.Headers = r.Headers[1:]
	}
	return r
}

// Header is the text of the first header of that name.
func (d *QueueDelivery) Header(name string) (text string, found bool) {
	for _, h := range d.Record().Headers {
		if h.Key == name {
			return string(h.Value), true
		}
	}
	return "", false
}

// isThere says whether the log still has the message. A page has all that it covers,
// unless its log is compacted.
func (d *QueueDelivery) isThere() bool {
	if d.page == nil || d.page.sparse == nil {
		return d.page != nil
	}
	_, _, ok := d.page.body(d.arrival.Body.Offset)
	return ok
}

func (d *QueueDelivery) record() (r Record) {
	d.page.record(d.arrival.Body.Offset, &r)
	return r
}

func hasEnvelope(r *Record) bool { return len(r.Headers) > 0 && r.Headers[0].Key == envelope.Key }

// said is what the message says of itself beside its body. A record of a topic says
// nothing.
func (d *QueueDelivery) said() *envelope.Envelope {
	if e := d.properties.Load(); e != nil {
		return e
	}
	e := new(envelope.Envelope)
	if r := d.record(); hasEnvelope(&r) {
		if err := e.Decode(r.Headers[0].Value); err != nil {
			d.consumer().sys.log.Error("a message cannot say what it is", "queue", d.consumer().queue, "message", d.Ref, "error", err)
			*e = envelope.Envelope{}
		}
	}
	d.properties.Store(e)
	return e
}

// Message is the message as it was published, but for what is decided by then: its TTL,
// Delay and BCC. It is the caller's, except for Body and Key.
func (d *QueueDelivery) Message() Message {
	r, e := d.record(), d.said()
	m := Message{RoutingKey: e.RoutingKey, Key: r.Key, Body: r.Value, Headers: messageHeaders(nil, r.Headers, e.Kinds), Priority: e.Priority,
		Transient: e.Transient, MessageID: e.MessageID, CorrelationID: e.CorrelationID, ReplyTo: e.ReplyTo, ContentType: e.ContentType,
		ContentEncoding: e.ContentEncoding, Type: e.Type, UserID: e.UserID, AppID: e.AppID, CC: e.CC}
	if e.Timestamp != 0 {
		m.Timestamp = time.UnixMilli(e.Timestamp)
	}
	return m
}

// Deaths say which queues have dead-lettered the message, why and how often: the newest
// first. RabbitMQ's x-death.
func (d *QueueDelivery) Deaths() []Death {
	said := d.said().Deaths
	all := make([]Death, len(said))
	for i, x := range said {
		all[i] = Death{Queue: x.Queue, Reason: queue.Reason(x.Reason).String(), Count: x.Count, First: time.UnixMilli(x.First), Last: time.UnixMilli(x.Last),
			Exchange: x.Exchange, RoutingKeys: x.RoutingKeys, Attempts: x.Attempts, Error: x.Error}
	}
	return all
}

// Death says that a message was dead-lettered by a queue for a reason.
type Death struct {
	Queue       string
	Reason      string // rejected, expired, maxlen or delivery-limit
	Count       int    // how often
	First, Last time.Time
	Exchange    string // that it had been published to
	RoutingKeys []string
	Attempts    int // that had failed, the last time
	// Error is what the handler returned, or panicked with, at the last attempt, up to
	// DeathErrorBytes of it; "": it was not that which ended the message (its time, the
	// length of the queue, a crash, a Nack or Reject by hand), or it is not known: of
	// more than 10,000 messages that wait for a dead-letter exchange.
	Error string
}

// Exchange is where the message was published to; "" is the default exchange, or a
// topic that the queue is bound to.
func (d *QueueDelivery) Exchange() string { return d.said().Exchange }

// RoutingKey is what it was published with.
func (d *QueueDelivery) RoutingKey() string { return d.said().RoutingKey }

// MessageID is what its publisher called it; "" if it did not. See also ID.
func (d *QueueDelivery) MessageID() string { return d.said().MessageID }

// CorrelationID is the one of a request and its reply.
func (d *QueueDelivery) CorrelationID() string { return d.said().CorrelationID }

// ReplyTo is where a reply is awaited: see Reply.
func (d *QueueDelivery) ReplyTo() string { return d.said().ReplyTo }

// ContentType is what its publisher said.
func (d *QueueDelivery) ContentType() string { return d.said().ContentType }

// Type is what its publisher said.
func (d *QueueDelivery) Type() string { return d.said().Type }

// Position names the message within the system: the log that it is in, and its offset
// there. Deliveries of the same message to other queues have the same one.
func (d *QueueDelivery) Position() MessageRef { return d.Ref }

// ID is the MessageID, or where there is none the Position: the same for every delivery
// of the message.
func (d *QueueDelivery) ID() string {
	if id := d.MessageID(); id != "" {
		return id
	}
	return d.Ref.String()
}

// Attempt is 1 for the first.
func (d *QueueDelivery) Attempt() int { return d.arrival.Attempt }

// Redelivered says whether the message was delivered before, or may have been.
func (d *QueueDelivery) Redelivered() bool { return d.arrival.Redelivered }

// Cause is why it is delivered again; QueueCauseNone at the first delivery.
func (d *QueueDelivery) Cause() QueueCause { return d.arrival.Cause }

// Priority is what the message was published with, within what the queue has.
func (d *QueueDelivery) Priority() uint8 { return d.arrival.Priority }

func (d *QueueDelivery) consumer() *QueueConsumer { return d.batch.run.consumer }

// Ack says that the message is done with. It does not wait: see AckSync. It is durable
// after some 5 ms, in an append with others; a crash until then has the message come again.
func (d *QueueDelivery) Ack() error { return d.consumer().settle(d, fate{kind: fateAck}) }

// AckSync is Ack, and waits until it is durable: the message does not come again. At
// the end of ctx it is not known whether it is.
func (d *QueueDelivery) AckSync(ctx context.Context) error { return d.consumer().ackSync(ctx, d) }

// AckAll acknowledges the message and all that the consumer was handed before it.
func (d *QueueDelivery) AckAll() error {
	return d.consumer().settleUpTo(d, fate{kind: fateAck})
}

// Nack says that the attempt has failed. The retry policy of the queue says when the
// message comes again, at its old place.
func (d *QueueDelivery) Nack() error { return d.consumer().settle(d, fate{kind: fateFailed}) }

// NackAll is Nack for the message and all that the consumer was handed before it.
func (d *QueueDelivery) NackAll() error {
	return d.consumer().settleUpTo(d, fate{kind: fateFailed})
}

// Retry is Nack with a delay of one's own; 0 is at once.
func (d *QueueDelivery) Retry(delay time.Duration) error {
	return d.consumer().settle(d, retryFate(delay))
}

// Reject says that the message is not to be tried again: it is dead-lettered, or
// dropped and counted.
func (d *QueueDelivery) Reject() error {
	return d.consumer().settle(d, fate{kind: fateRejected})
}

// RejectFor is Reject, and says what is wrong: in the log, at most once a minute for each
// queue, and in the dead letter.
func (d *QueueDelivery) RejectFor(err error) error {
	c := d.consumer()
	c.sys.notice(noticeRejects, c.queue, 1, err)
	return c.settle(d, fate{kind: fateRejected, why: whyOf(err)})
}

// Requeue gives the message back to its old place, as if it had not been delivered: no
// attempt is charged.
func (d *QueueDelivery) Requeue() error {
	return d.consumer().settle(d, fate{kind: fateReturned})
}

// isSettled is the error of a second settlement; nil if there was none. The consumer's
// lock is held.
func (d *QueueDelivery) isSettled() error {
	run := d.batch.run
	switch {
	case d.state != deliveryOpen:
		return &queue.SettledError{Consumer: run.id, Tag: d.Tag, Cause: d.cause}
	case run.over != nil:
		return fmt.Errorf("%w: the subscription that the message came with has ended, and it comes again: %w", queue.ErrSettled, run.over)
	}
	return nil
}
