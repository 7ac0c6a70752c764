package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Errors of Decode and Head. Test for them with errors.Is.
var (
	// ErrCorrupt: the bytes are not what Append wrote.
	ErrCorrupt = errors.New("the envelope of the message is corrupt")
	// ErrVersion: the bytes were written by a newer release.
	ErrVersion = errors.New("the envelope of the message was written by a newer release: update Troupe")
)

// Head reads what a queue's index needs, and calls f with each queue that the message
// is for, ascending. It does not allocate. What comes behind is not looked at.
func Head(b []byte, f func(queue uint32)) (h Heading, err error) {
	r := reader{b: b}
	r.head(r.flags(), &h, f)
	return h, r.err
}

// Single returns the queue of an envelope that names one and has nothing else that an
// index needs: the heading of most messages. It is Head, and faster; where it is false,
// Head has to be asked.
func Single(b []byte) (queue uint32, is bool) {
	if len(b) < 4 || b[0] != version {
		return 0, false
	}
	f, n := binary.Uvarint(b[1:])
	if n <= 0 || n >= len(b)-2 || flags(f) >= unknownFlag || flags(f)&(hasPriority|hasExpires|hasDue|isTransient) != 0 || b[1+n] != 1 {
		return 0, false
	}
	id, n := binary.Uvarint(b[2+n:])
	return uint32(id), n > 0 && id <= math.MaxUint32
}

// RoutingKey reads the routing key, and allocates nothing. It is nil if there is none, or
// the envelope cannot be read.
func RoutingKey(b []byte) []byte {
	var h Heading
	r := reader{b: b}
	f := r.flags()
	r.head(f, &h, func(uint32) {})
	if !f.has(hasRoutingKey) {
		return nil
	}
	if f.has(hasExchange) {
		r.bytes(r.count(len(r.b)))
	}
	key := r.bytes(r.count(len(r.b)))
	if r.err != nil {
		return nil
	}
	return key
}

// Decode reads an envelope. It keeps no reference to b, and uses the memory of the one
// that was there before again, which nobody must have changed: where all behind the
// head is the same, it stays, and costs nothing. Its texts are never written to, so
// they may be kept; its slices may not. After an error the envelope is of no use.
func (e *Envelope) Decode(b []byte) error {
	var h Heading
	r := reader{b: b}
	e.Queues = e.Queues[:0]
	f := r.flags()
	r.head(f, &h, func(queue uint32) { e.Queues = append(e.Queues, queue) })
	if r.err != nil {
		return r.err
	}
	e.Priority, e.Expires, e.Due, e.Transient = h.Priority, h.Expires, h.Due, h.Transient
	if f.flagsOfRest() == e.flags().flagsOfRest() && e.rest != "" && string(r.b) == e.rest {
		return nil
	}
	e.rest = string(r.b)
	r.texts = e.rest
	r.message(f, e)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes follow it", len(r.b))
	}
	if r.err != nil {
		e.rest = ""
	}
	return r.err
}

// flagsOfRest are those of what comes behind the head.
func (f flags) flagsOfRest() flags { return f &^ (hasExchange - 1) }

// reader reads what Append wrote. After the first thing that is wrong it returns
// zeros; see err.
type reader struct {
	b     []byte
	texts string // ends with the same bytes as b: texts are cut from it
	err   error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
	}
	r.b = nil
}

func (r *reader) flags() flags {
	if v := r.byte(); r.err == nil && v != version {
		r.newer("version", uint64(v))
		return 0
	}
	f := flags(r.number())
	if f >= unknownFlag {
		r.newer("flags", uint64(f))
		return 0
	}
	return f
}

func (r *reader) newer(what string, v uint64) {
	r.err, r.b = fmt.Errorf("%w (%s %d)", ErrVersion, what, v), nil
}

func (r *reader) head(f flags, h *Heading, each func(queue uint32)) {
	if f.has(hasPriority) {
		h.Priority = r.byte()
	}
	if f.has(hasExpires) {
		h.Expires = r.time()
	}
	if f.has(hasDue) {
		h.Due = r.time()
	}
	h.Transient = f.has(isTransient)
	next := uint64(0)
	for n := r.count(len(r.b)); n > 0; n-- {
		id := next + r.number()
		if r.err != nil {
			return
		}
		if id > math.MaxUint32 {
			r.fail("there is no queue %d", id)
			return
		}
		each(uint32(id))
		next = id + 1
	}
}

// message reads what comes behind the head.
func (r *reader) message(f flags, e *Envelope) {
	for i, s := range [...]*string{&e.Exchange, &e.RoutingKey, &e.MessageID, &e.CorrelationID, &e.ReplyTo, &e.ContentType,
		&e.ContentEncoding, &e.Type, &e.UserID, &e.AppID} {
		if *s = ""; f.has(hasExchange << i) {
			*s = r.text()
		}
	}
	e.Timestamp, e.Published, e.Hops, e.Origin = 0, 0, 0, Origin{}
	e.CC, e.Kinds, e.Deaths = e.CC[:0], e.Kinds[:0], e.Deaths[:0]
	if f.has(hasTimestamp) {
		e.Timestamp = r.time()
	}
	if f.has(hasPublished) {
		e.Published = r.time()
	}
	if f.has(hasCC) {
		e.CC = r.list(e.CC)
	}
	if f.has(hasKinds) {
		e.Kinds = append(e.Kinds, r.bytes(r.count(MaxKinds))...)
	}
	if f.has(hasDeaths) {
		r.deaths(e)
	}
	if f.has(hasHops) {
		e.Hops = r.int()
	}
	if f.has(hasOrigin) {
		r.origin(&e.Origin)
	}
}

func (r *reader) deaths(e *Envelope) {
	for n := r.count(MaxDeaths); n > 0 && r.err == nil; n-- {
		e.Deaths = append(e.Deaths, Death{
			Queue: r.text(), Reason: r.byte(), Count: r.int(), First: r.time(), Last: r.time(),
			Exchange: r.text(), RoutingKeys: r.list(nil), Attempts: r.int(), Error: r.text(),
		})
	}
}

func (r *reader) origin(o *Origin) {
	o.Queue, o.Exchange, o.RoutingKey = r.text(), r.text(), r.text()
	log := r.number()
	if log > math.MaxUint32 {
		r.fail("there is no log %d", log)
	}
	o.Log, o.Offset = uint32(log), r.number()
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("it ends too early")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) time() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("it ends too early")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// int reads a number that is kept as an int.
func (r *reader) int() int {
	v := r.number()
	if v > math.MaxInt32 {
		r.fail("%d is too high", v)
		return 0
	}
	return int(v)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("it ends too early")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// count reads how many items follow, each of at least a byte.
func (r *reader) count(most int) int {
	n := r.number()
	if n > uint64(most) || n > uint64(len(r.b)) {
		r.fail("%d items are announced, %d are allowed and %d bytes are left", n, most, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text() string {
	n := r.count(len(r.b))
	at := len(r.texts) - len(r.b)
	if r.err != nil {
		return ""
	}
	r.b = r.b[n:]
	return r.texts[at : at+n]
}

func (r *reader) list(all []string) []string {
	for n := r.count(MaxCC); n > 0 && r.err == nil; n-- {
		all = append(all, r.text())
	}
	return all
}
