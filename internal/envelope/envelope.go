// Package envelope is what a record in the log of an exchange says of itself as a
// message: which queues it is for, what they have to know to order it, and what
// its publisher and its way so far have to say to who receives it. The body, the
// key and the headers of the user are the record's own.
//
// The bytes are a version, a set of flags, and then only what the flags name.
// What a queue's index needs comes first, so that Head reads no further.
package envelope

// Key is the key of the header that holds the envelope, the first of its record.
// Users' headers cannot have that name.
const Key = "\x00"

// Envelope is that of one message. Times are Unix ms; 0: none.
type Envelope struct {
	Queues   []uint32 // ids of the queues it is for: ascending, each once
	Priority uint8
	Expires  int64 // counts from Due if there is one
	Due      int64 // not to be delivered before
	// Transient: its publisher did not ask for it to outlast a power cut.
	Transient bool

	Exchange   string // that it was published to
	RoutingKey string
	CC         []string // more routing keys; those of BCC are nobody's business

	MessageID       string
	CorrelationID   string
	ReplyTo         string
	ContentType     string
	ContentEncoding string
	Type            string
	UserID          string
	AppID           string
	Timestamp       int64 // as its publisher said

	// Published is when it was first published, where that is not when its record
	// was appended.
	Published int64
	// Kinds are the types of the user's headers, in order, where they are not all
	// texts: a record's headers hold the texts of values.
	Kinds []byte

	Deaths []Death // the newest first, one for each queue and reason
	Hops   int     // how often it was dead-lettered
	Origin Origin  // where it died first

	rest string // of the bytes that it was decoded from, behind the head
}

// Death says that a message was dead-lettered, and how often, by one queue for one
// reason.
type Death struct {
	Queue       string
	Reason      uint8 // a queue.Reason
	Count       int
	First, Last int64 // when
	Exchange    string
	RoutingKeys []string // that it had been published with: its routing key and CC
	Attempts    int      // that had failed or were charged, the last time
	Error       string   // of the last attempt; "": not known
}

// Origin is the place of a message in the queue in which it died first, and how it
// had come there.
type Origin struct {
	Queue, Exchange, RoutingKey string
	Log                         uint32
	Offset                      uint64
}

// Heading is what a queue's index has to know of a message. Times are Unix ms; 0: none.
type Heading struct {
	Priority     uint8
	Expires, Due int64
	Transient    bool
}

// Limits of what is decoded, beside the length of the input.
const (
	MaxCC     = 256  // routing keys of a message, and of a death
	MaxDeaths = 64   // queues and reasons; older ones are left out
	MaxKinds  = 1024 // headers with a type
)

// MaxHistory is how many bytes the texts of deaths have. Of more, older deaths are left
// out, and of the newest all routing keys but the first.
const MaxHistory = 32 << 10

const version = 1

// flags say what there is. Those of most messages have the lowest bits: a number
// below 128 is one byte.
type flags uint64

const (
	hasPriority flags = 1 << iota
	hasExpires
	hasDue
	isTransient
	hasExchange
	hasRoutingKey
	hasMessageID
	hasCorrelationID
	hasReplyTo
	hasContentType
	hasContentEncoding
	hasType
	hasUserID
	hasAppID
	hasTimestamp
	hasPublished
	hasCC
	hasKinds
	hasDeaths
	hasHops
	hasOrigin
	unknownFlag
)

func (f flags) has(bit flags) bool { return f&bit != 0 }

// flags of the envelope.
func (e *Envelope) flags() (f flags) {
	set := func(bit flags, is bool) {
		if is {
			f |= bit
		}
	}
	set(hasPriority, e.Priority != 0)
	set(hasExpires, e.Expires != 0)
	set(hasDue, e.Due != 0)
	set(isTransient, e.Transient)
	set(hasExchange, e.Exchange != "")
	set(hasRoutingKey, e.RoutingKey != "")
	set(hasMessageID, e.MessageID != "")
	set(hasCorrelationID, e.CorrelationID != "")
	set(hasReplyTo, e.ReplyTo != "")
	set(hasContentType, e.ContentType != "")
	set(hasContentEncoding, e.ContentEncoding != "")
	set(hasType, e.Type != "")
	set(hasUserID, e.UserID != "")
	set(hasAppID, e.AppID != "")
	set(hasTimestamp, e.Timestamp != 0)
	set(hasPublished, e.Published != 0)
	set(hasCC, len(e.CC) > 0)
	set(hasKinds, len(e.Kinds) > 0)
	set(hasDeaths, len(e.Deaths) > 0)
	set(hasHops, e.Hops != 0)
	set(hasOrigin, e.Origin != Origin{})
	return f
}
