package routing

import (
	"fmt"
	"strconv"
)

// ExchangeType says how an exchange chooses among its bindings.
type ExchangeType uint8

// The types of exchanges.
const (
	// Direct: the binding key equals the routing key, byte for byte.
	Direct ExchangeType = iota + 1
	// Fanout: all bindings; keys and arguments do not matter.
	Fanout
	// Topic: the binding key is a pattern of words between dots. In it * stands
	// for one word, which may be empty, and # for any number of words, none
	// included. They are wildcards only as whole words. The empty key has no
	// words; "a." has two.
	Topic
	// Headers: the arguments of the binding match the headers of the message.
	// The argument x-match says how: "all" of them (the default), "any" of them,
	// and, as arguments whose names begin with x- are left out of these two,
	// "all-with-x" and "any-with-x". A void argument asks for presence only. With
	// no arguments left, all matches every message, and any matches none.
	Headers
	// ConsistentHash: one of the destinations, by a hash of the routing key, of a
	// header or of a property, in proportion to the weights that the binding keys
	// are: whole numbers from 1. Weights of bindings to the same destination add
	// up. RabbitMQ's x-consistent-hash.
	ConsistentHash
)

var typeNames = [...]string{Direct: "direct", Fanout: "fanout", Topic: "topic", Headers: "headers", ConsistentHash: "x-consistent-hash"}

// String is RabbitMQ's name of the type.
func (t ExchangeType) String() string {
	if t >= Direct && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// The properties that a consistent-hash exchange can hash.
const (
	HashMessageID     = "message_id"
	HashCorrelationID = "correlation_id"
	HashTimestamp     = "timestamp"
)

// Exchange is what an exchange is declared with. It never changes.
type Exchange struct {
	Name       string
	Type       ExchangeType
	Durable    bool // outlives a restart; the table keeps the flag, and treats all alike
	AutoDelete bool // deleted when the last of its bindings is removed; one that never had any stays
	Internal   bool // clients cannot publish to it, only exchanges route to it
	// Alternate names the exchange that takes what no binding of this one
	// matches; "": none. It need not exist.
	Alternate string
	// HashHeader is the header that a consistent-hash exchange hashes, and
	// HashProperty the property; with neither it hashes the routing key, CC and
	// BCC left out. All messages without it go to the same destination.
	HashHeader, HashProperty string
}

func (x *Exchange) check(l *Limits) error {
	if x.Name == "" {
		return ErrDefaultExchange
	}
	if err := checkName("exchange", x.Name, l); err != nil {
		return err
	}
	if x.Type < Direct || x.Type > ConsistentHash {
		return invalid("exchange %q has no %s", x.Name, x.Type)
	}
	if x.Alternate != "" {
		if err := checkName("alternate exchange", x.Alternate, l); err != nil {
			return err
		}
	}
	return x.checkHash(l)
}

func (x *Exchange) checkHash(l *Limits) error {
	if x.HashHeader == "" && x.HashProperty == "" {
		return nil
	}
	if x.Type != ConsistentHash {
		return invalid("exchange %q is %s: hash-header and hash-property are for x-consistent-hash", x.Name, x.Type)
	}
	if x.HashHeader != "" && x.HashProperty != "" {
		return invalid("exchange %q: hash-header and hash-property exclude each other", x.Name)
	}
	switch x.HashProperty {
	case "", HashMessageID, HashCorrelationID, HashTimestamp:
	default:
		return invalid("exchange %q: hash-property %q is none of message_id, correlation_id, timestamp", x.Name, x.HashProperty)
	}
	if x.HashHeader != "" {
		return checkName("hash-header", x.HashHeader, l)
	}
	return nil
}

// equivalent returns an InequivalentError unless received declares x again.
func (x *Exchange) equivalent(received *Exchange) error {
	current, wanted := x.args(), received.args()
	for i, c := range current {
		if w := wanted[i]; w.value != c.value {
			return &InequivalentError{x.Name, c.name, w.value, c.value}
		}
	}
	return nil
}

type namedArg struct{ name, value string }

func (x *Exchange) args() [7]namedArg {
	return [...]namedArg{
		{"type", x.Type.String()},
		{"durable", strconv.FormatBool(x.Durable)},
		{"auto_delete", strconv.FormatBool(x.AutoDelete)},
		{"internal", strconv.FormatBool(x.Internal)},
		{"alternate-exchange", x.Alternate},
		{"hash-header", x.HashHeader},
		{"hash-property", x.HashProperty},
	}
}
