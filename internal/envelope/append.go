package envelope

import "encoding/binary"

// Append appends the bytes of an envelope. It does not allocate where dst has room,
// and checks nothing: its limits are those of Decode.
func Append(dst []byte, e *Envelope) []byte {
	f := e.flags()
	dst = append(dst, version)
	dst = number(dst, uint64(f))
	dst = appendHead(dst, f, e)
	dst = appendTexts(dst, f, e)
	if f.has(hasTimestamp) {
		dst = binary.AppendVarint(dst, e.Timestamp)
	}
	if f.has(hasPublished) {
		dst = binary.AppendVarint(dst, e.Published)
	}
	if f.has(hasCC) {
		dst = texts(dst, e.CC)
	}
	if f.has(hasKinds) {
		dst = append(number(dst, uint64(len(e.Kinds))), e.Kinds...)
	}
	if f.has(hasDeaths) {
		dst = appendDeaths(dst, e.Deaths)
	}
	if f.has(hasHops) {
		dst = number(dst, uint64(e.Hops))
	}
	if f.has(hasOrigin) {
		dst = appendOrigin(dst, &e.Origin)
	}
	return dst
}

func appendHead(dst []byte, f flags, e *Envelope) []byte {
	if f.has(hasPriority) {
		dst = append(dst, e.Priority)
	}
	if f.has(hasExpires) {
		dst = binary.AppendVarint(dst, e.Expires)
	}
	if f.has(hasDue) {
		dst = binary.AppendVarint(dst, e.Due)
	}
	dst = number(dst, uint64(len(e.Queues)))
	next := uint32(0) // the lowest that the next can be
	for _, id := range e.Queues {
		dst = number(dst, uint64(id-next))
		next = id + 1
	}
	return dst
}

// appendTexts appends those of its texts that are not empty, in the order of their
// flags.
func appendTexts(dst []byte, f flags, e *Envelope) []byte {
	if f.has(hasExchange) {
		dst = text(dst, e.Exchange)
	}
	if f.has(hasRoutingKey) {
		dst = text(dst, e.RoutingKey)
	}
	if f < hasMessageID { // nearly always
		return dst
	}
	for _, s := range [...]string{e.MessageID, e.CorrelationID, e.ReplyTo, e.ContentType, e.ContentEncoding, e.Type, e.UserID, e.AppID} {
		if s != "" {
			dst = text(dst, s)
		}
	}
	return dst
}

func appendDeaths(dst []byte, all []Death) []byte {
	dst = number(dst, uint64(len(all)))
	for i := range all {
		d := &all[i]
		dst = append(text(dst, d.Queue), d.Reason)
		dst = number(dst, uint64(d.Count))
		dst = binary.AppendVarint(binary.AppendVarint(dst, d.First), d.Last)
		dst = texts(text(dst, d.Exchange), d.RoutingKeys)
		dst = text(number(dst, uint64(d.Attempts)), d.Error)
	}
	return dst
}

func appendOrigin(dst []byte, o *Origin) []byte {
	dst = text(text(text(dst, o.Queue), o.Exchange), o.RoutingKey)
	return number(number(dst, uint64(o.Log)), o.Offset)
}

func number(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

func text(dst []byte, s string) []byte { return append(number(dst, uint64(len(s))), s...) }

func texts(dst []byte, all []string) []byte {
	dst = number(dst, uint64(len(all)))
	for _, s := range all {
		dst = text(dst, s)
	}
	return dst
}
