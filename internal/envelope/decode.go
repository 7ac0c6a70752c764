package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/troupestream/troupe/internal/wire"
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
	r := newReader(b)
	r.head(r.flags(), &h, f)
	return h, r.Err()
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
	r := newReader(b)
	f := r.flags()
	r.head(f, &h, func(uint32) {})
	if !f.has(hasRoutingKey) {
		return nil
	}
	if f.has(hasExchange) {
		r.Bytes()
	}
	key := r.Bytes()
	if r.Err() != nil {
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
	r := newReader(b)
	e.Queues = e.Queues[:0]
	f := r.flags()
	r.head(f, &h, func(queue uint32) { e.Queues = append(e.Queues, queue) })
	if r.Err() != nil {
		return r.Err()
	}
	e.Priority, e.Expires, e.Due, e.Transient = h.Priority, h.Expires, h.Due, h.Transient
	if f.flagsOfRest() == e.flags().flagsOfRest() && e.rest != "" && string(r.Rest()) == e.rest {
		return nil
	}
	e.rest = string(r.Rest())
	r.texts = e.rest
	r.message(f, e)
	err := r.End()
	if err != nil {
		e.rest = ""
	}
	return err
}

// flagsOfRest are those of what comes behind the head.
func (f flags) flagsOfRest() flags { return f &^ (hasExchange - 1) }

// reader reads what Append wrote.
type reader struct {
	wire.Reader
	texts string // ends with the same bytes as what is left: texts are cut from it
}

func newReader(b []byte) reader { return reader{Reader: wire.NewReader(b, ErrCorrupt)} }

func (r *reader) flags() flags {
	if v := r.Byte(); r.Err() == nil && v != version {
		r.newer("version", uint64(v))
		return 0
	}
	f := flags(r.Num())
	if f >= unknownFlag {
		r.newer("flags", uint64(f))
		return 0
	}
	return f
}

func (r *reader) newer(what string, v uint64) {
	r.Abort(fmt.Errorf("%w (%s %d)", ErrVersion, what, v))
}

func (r *reader) head(f flags, h *Heading, each func(queue uint32)) {
	if f.has(hasPriority) {
		h.Priority = r.Byte()
	}
	if f.has(hasExpires) {
		h.Expires = r.Signed()
	}
	if f.has(hasDue) {
		h.Due = r.Signed()
	}
	h.Transient = f.has(isTransient)
	next := uint64(0)
	for n := r.Count(1); n > 0; n-- {
		id := next + r.Num()
		if r.Err() != nil {
			return
		}
		if id > math.MaxUint32 {
			r.Fail("there is no queue %d", id)
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
		e.Timestamp = r.Signed()
	}
	if f.has(hasPublished) {
		e.Published = r.Signed()
	}
	if f.has(hasCC) {
		e.CC = r.list(e.CC)
	}
	if f.has(hasKinds) {
		e.Kinds = append(e.Kinds, r.Take(r.count(MaxKinds))...)
	}
	if f.has(hasDeaths) {
		r.deaths(e)
	}
	if f.has(hasHops) {
		e.Hops = r.Int()
	}
	if f.has(hasOrigin) {
		r.origin(&e.Origin)
	}
}

func (r *reader) deaths(e *Envelope) {
	for n := r.count(MaxDeaths); n > 0 && r.Err() == nil; n-- {
		e.Deaths = append(e.Deaths, Death{
			Queue: r.text(), Reason: r.Byte(), Count: r.Int(), First: r.Signed(), Last: r.Signed(),
			Exchange: r.text(), RoutingKeys: r.list(nil), Attempts: r.Int(), Error: r.text(),
		})
	}
}

func (r *reader) origin(o *Origin) {
	o.Queue, o.Exchange, o.RoutingKey = r.text(), r.text(), r.text()
	log := r.Num()
	if log > math.MaxUint32 {
		r.Fail("there is no log %d", log)
	}
	o.Log, o.Offset = uint32(log), r.Num()
}

// count reads how many items follow, each of at least a byte.
func (r *reader) count(most int) int {
	n := r.Count(1)
	if n > most {
		r.Fail("%d items are announced, and %d are allowed", n, most)
		return 0
	}
	return n
}

func (r *reader) text() string {
	n := r.Count(1)
	at := len(r.texts) - r.Len()
	if r.Err() != nil {
		return ""
	}
	r.Take(n)
	return r.texts[at : at+n]
}

func (r *reader) list(all []string) []string {
	for n := r.count(MaxCC); n > 0 && r.Err() == nil; n-- {
		all = append(all, r.text())
	}
	return all
}
