package routing

import "strings"

// Message is what routing looks at of a message.
type Message struct {
	Key string // the routing key

	// CC and BCC are more routing keys, which the sender put into the headers of
	// these names: direct, topic and default exchanges route by each of them as
	// by Key. Whoever publishes takes them out of the headers, and removes the
	// header BCC before delivery.
	CC, BCC []string

	// Headers, for headers exchanges and for consistent hashing by a header. Of
	// several with one name, each counts for headers exchanges and the first for
	// hashing.
	Headers []Header

	// Properties that a consistent-hash exchange may hash.
	MessageID     string // "": none
	CorrelationID string // "": none
	Timestamp     int64  // Unix seconds; 0: none

	// Inside says that no client published the message but the broker itself, as
	// a dead letter for example: it may enter internal exchanges.
	Inside bool
}

// header returns the value of the first header of that name.
func (m *Message) header(name string) (Value, bool) {
	for i := range m.Headers {
		if m.Headers[i].Name == name {
			return m.Headers[i].Value, true
		}
	}
	return Value{}, false
}

// has says whether one of the headers is the pair: any value will do for a void.
func (m *Message) has(p pair) bool {
	for i := range m.Headers {
		if h := &m.Headers[i]; h.Name == p.name && (p.value.Kind == VoidKind || h.Value == p.value) {
			return true
		}
	}
	return false
}

func (m *Message) check(l *Limits) error {
	if err := checkKey("routing", m.Key, l); err != nil {
		return err
	}
	if len(m.CC)+len(m.BCC) == 0 {
		return nil
	}
	return m.checkSenderKeys(l)
}

func (m *Message) checkSenderKeys(l *Limits) error {
	if len(m.CC)+len(m.BCC) > l.SenderKeys {
		return over("SenderKeys", l.SenderKeys, "the message has more CC and BCC keys")
	}
	for _, keys := range [2][]string{m.CC, m.BCC} {
		for _, key := range keys {
			if err := checkKey("CC or BCC", key, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkKey counts words only where there could be too many.
func checkKey(what, key string, l *Limits) error {
	if len(key) > l.KeyBytes {
		return over("KeyBytes", l.KeyBytes, "the "+what+" key is longer")
	}
	if len(key) >= l.Words && strings.Count(key, ".") >= l.Words {
		return over("Words", l.Words, "the "+what+" key has more words")
	}
	return nil
}
