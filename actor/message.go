package actor

import (
	"time"

	"github.com/troupestream/troupe/internal/routing"
)

// MessageHeader is a header of a message, or an argument of a binding: a name and a
// typed value. Make them with HeaderText and the like.
type MessageHeader = routing.Header

// HeaderText is a header that is a text, or bytes.
func HeaderText(name, v string) MessageHeader {
	return MessageHeader{Name: name, Value: routing.Text(v)}
}

// HeaderInt is a header that is an integer.
func HeaderInt(name string, v int64) MessageHeader {
	return MessageHeader{Name: name, Value: routing.Int(v)}
}

// HeaderFloat is a header that is a floating point number.
func HeaderFloat(name string, v float64) MessageHeader {
	return MessageHeader{Name: name, Value: routing.Float(v)}
}

// HeaderBool is a header that is true or false.
func HeaderBool(name string, v bool) MessageHeader {
	return MessageHeader{Name: name, Value: routing.Bool(v)}
}

// HeaderVoid is a header without a value. As an argument of a binding of a headers
// exchange it asks for the presence of the header only.
func HeaderVoid(name string) MessageHeader { return MessageHeader{Name: name, Value: routing.Void()} }

// Message is what is published to an exchange. The zero value is an empty message
// with the empty routing key, persistent, of priority 0.
type Message struct {
	RoutingKey string
	// Key is that of the record: messages of one key keep their order where an
	// exchange has several partitions, and it can be the group of a queue. nil: none.
	Key  []byte
	Body []byte
	// Headers are the user's; names may repeat, and order is kept.
	Headers []MessageHeader

	// Priority is 0 to 31, and higher goes first.
	Priority uint8
	// TTL is how long it may wait, from when it is due. 0 and Unlimited: as long as its
	// queues let it; ExpireAtOnce: not at all.
	TTL time.Duration
	// Delay is after how long it is due. 0: at once.
	Delay time.Duration
	// Transient: it is confirmed before it is on the disk, and may be lost in a power
	// cut.
	Transient bool

	// MessageID tells it from others: see Dedup.
	MessageID       string
	CorrelationID   string
	ReplyTo         string
	ContentType     string
	ContentEncoding string
	Type            string
	UserID          string
	AppID           string
	// Timestamp is a time of the application's: the event time of the record. The
	// zero value: there is none, and the event time is that of publishing.
	Timestamp time.Time

	// CC and BCC are more routing keys. Whoever receives the message sees those of CC.
	CC, BCC []string
}
