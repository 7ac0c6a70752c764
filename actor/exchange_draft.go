package actor

import (
	"fmt"
	"strconv"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/routing"
)

// draft is a message that is about to be published, in all the forms that this takes. Its
// memory is used again for the next one.
type draft struct {
	router   *routing.Router
	message  routing.Message
	result   routing.Result
	envelope envelope.Envelope
	record   Record
	headers  []codec.Header // of the record: the envelope first
	sealed   []byte         // the envelope's bytes
	arena    []byte         // of the values of headers
	kinds    []byte

	queues []*queueInfo // that it is for, and that admit it
	topics []string     // that it is for
	full   []*queueInfo // that have it dead-lettered
}

// back gives a draft back, without what was the user's.
func (d *draft) back(p *ExchangePublisher) {
	d.record, d.message = Record{}, routing.Message{}
	p.drafts.Put(d)
}

// write drafts a message of a user.
func (d *draft) write(m *Message, exchange string) error {
	now := time.Now().UnixMilli()
	d.envelope = envelope.Envelope{Queues: d.envelope.Queues[:0], Priority: m.Priority, Transient: m.Transient,
		Exchange: exchange, RoutingKey: m.RoutingKey, CC: m.CC, MessageID: m.MessageID, CorrelationID: m.CorrelationID,
		ReplyTo: m.ReplyTo, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Type: m.Type, UserID: m.UserID, AppID: m.AppID}
	d.record = Record{Key: m.Key, Value: m.Body, Time: now}
	d.message = routing.Message{Key: m.RoutingKey, CC: m.CC, BCC: m.BCC, Headers: m.Headers,
		MessageID: m.MessageID, CorrelationID: m.CorrelationID}
	if m.Body == nil {
		d.record.Value = []byte{} // it is no tombstone
	}
	if !m.Timestamp.IsZero() {
		d.envelope.Timestamp = m.Timestamp.UnixMilli()
		d.record.Time, d.message.Timestamp = d.envelope.Timestamp, m.Timestamp.Unix()
	}
	if err := d.times(m, now); err != nil {
		return err
	}
	return d.writeHeaders(m.Headers)
}

// times sets when the message is due and when it expires.
func (d *draft) times(m *Message, now int64) error {
	switch {
	case m.Priority >= queue.MaxPriorities:
		return fmt.Errorf("%w: the priority is %d, it can be 0 to %d", ErrInvalid, m.Priority, queue.MaxPriorities-1)
	case m.Delay < 0:
		return fmt.Errorf("%w: the delay is %v, it cannot be negative", ErrInvalid, m.Delay)
	case m.TTL < 0 && m.TTL != Unlimited && m.TTL != ExpireAtOnce:
		return fmt.Errorf("%w: the TTL is %v, it cannot be negative, but ExpireAtOnce or Unlimited", ErrInvalid, m.TTL)
	case m.Delay > 0:
		now += millis(m.Delay)
		d.envelope.Due = now
	}
	switch {
	case m.TTL > 0:
		d.envelope.Expires = now + millis(m.TTL)
	case m.TTL == ExpireAtOnce:
		d.envelope.Expires = now
	}
	return nil
}

// millis rounds up: nothing is early.
func millis(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// writeHeaders has the record's headers be the user's, behind a place for the envelope.
// Those of records are bytes: where some are not texts, the envelope says what they are.
func (d *draft) writeHeaders(all []MessageHeader) error {
	d.headers = append(d.headers[:0], codec.Header{Key: envelope.Key})
	d.arena, d.kinds = d.arena[:0], d.kinds[:0]
	texts := true
	for i := range all {
		h := &all[i]
		if h.Name == envelope.Key {
			return fmt.Errorf("%w: no header can have the name %q", ErrInvalid, h.Name)
		}
		begin := len(d.arena)
		d.arena = appendValue(d.arena, &h.Value)
		d.headers = append(d.headers, codec.Header{Key: h.Name, Value: d.arena[begin:len(d.arena):len(d.arena)]})
		d.kinds = append(d.kinds, byte(h.Value.Kind))
		texts = texts && h.Value.Kind == routing.TextKind
	}
	if !texts {
		d.envelope.Kinds = d.kinds
	}
	return nil
}

// appendValue appends the text of a value; headerValue reads it.
func appendValue(dst []byte, v *routing.Value) []byte {
	switch v.Kind {
	case routing.TextKind:
		return append(dst, v.Text...)
	case routing.BoolKind:
		return strconv.AppendBool(dst, v.Bits == 1)
	case routing.IntKind:
		return strconv.AppendInt(dst, int64(v.Bits), 10)
	case routing.FloatKind:
		return strconv.AppendFloat(dst, v.Float(), 'g', -1, 64)
	}
	return dst
}

// headerValue is the value that a record has the text of. A text that is none of its kind
// stays a text.
func headerValue(kind routing.ValueKind, b []byte) routing.Value {
	text := string(b)
	switch kind {
	case routing.VoidKind:
		return routing.Void()
	case routing.BoolKind:
		if v, err := strconv.ParseBool(text); err == nil {
			return routing.Bool(v)
		}
	case routing.IntKind:
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return routing.Int(v)
		}
	case routing.FloatKind:
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return routing.Float(v)
		}
	}
	return routing.Text(text)
}

// messageHeaders appends the user's headers of a record, with their types, to all. The
// envelope's own is left out.
func messageHeaders(all []MessageHeader, headers []codec.Header, kinds []byte) []MessageHeader {
	i := 0
	for _, h := range headers {
		if h.Key == envelope.Key {
			continue
		}
		kind := routing.TextKind
		if i < len(kinds) {
			kind = routing.ValueKind(kinds[i])
		}
		all = append(all, MessageHeader{Name: h.Key, Value: headerValue(kind, h.Value)})
		i++
	}
	return all
}

// copy drafts a message that was published before: a dead letter, or one that is moved.
// e is what its envelope is to be, but for the queues and the exchange, and r its record.
func (d *draft) copy(e *envelope.Envelope, r *Record, exchange string) {
	queues := d.envelope.Queues[:0]
	d.envelope = *e
	d.envelope.Queues, d.envelope.Exchange = queues, exchange
	d.record = Record{Key: r.Key, Value: r.Value, Time: r.Time}
	d.headers = append(d.headers[:0], codec.Header{Key: envelope.Key})
	for _, h := range r.Headers {
		if h.Key != envelope.Key {
			d.headers = append(d.headers, h)
		}
	}
	d.message = routing.Message{Key: e.RoutingKey, CC: e.CC, Headers: messageHeaders(nil, r.Headers, e.Kinds),
		MessageID: e.MessageID, CorrelationID: e.CorrelationID, Timestamp: e.Timestamp / 1000, Inside: true}
}

// seal puts the envelope into the record.
func (d *draft) seal() *Record {
	d.sealed = envelope.Append(d.sealed[:0], &d.envelope)
	d.headers[0].Value = d.sealed
	d.record.Headers = d.headers
	return &d.record
}
