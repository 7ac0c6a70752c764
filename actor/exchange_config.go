package actor

import (
	"fmt"
	"strings"
	"time"

	"github.com/troupestream/troupe/internal/routing"
)

// ExchangeType says how an exchange chooses among its bindings.
type ExchangeType = routing.ExchangeType

// The types of exchanges.
const (
	Direct            = routing.Direct         // the routing key equals the binding's
	Fanout            = routing.Fanout         // all bindings
	TopicExchange     = routing.Topic          // the binding's key is a pattern of words: * is one, # any number
	HeadersExchange   = routing.Headers        // the binding's arguments match the headers
	ConsistentHashing = routing.ConsistentHash // one of the destinations, by hash and weight
)

// Defaults of exchanges.
const (
	DefaultExchangeRetention      = 24 * time.Hour
	DefaultExchangeRetentionBytes = 1 << 30
	DefaultDedupWindow            = 10 * time.Minute
	DefaultDedupMessages          = 100_000
)

// ExchangeConfig is what an exchange is declared with. The zero value is a durable
// direct exchange.
type ExchangeConfig struct {
	// Type is how it routes. Default Direct.
	Type ExchangeType `json:"type,omitempty"`
	// Transient: the exchange is forgotten when the process ends. RabbitMQ's
	// durable=false.
	Transient bool `json:"transient,omitempty"`
	// AutoDelete: it is deleted when the last of its bindings is removed.
	AutoDelete bool `json:"auto_delete,omitempty"`
	// Internal: only other exchanges, and dead letters, reach it.
	Internal bool `json:"internal,omitempty"`
	// Alternate is the exchange that takes what no binding of this one matches; it
	// need not exist yet. "": none.
	Alternate string `json:"alternate,omitempty"`
	// HashHeader is the header that a consistent-hash exchange hashes, and
	// HashProperty the property: "message_id", "correlation_id" or "timestamp". With
	// neither it hashes the routing key.
	HashHeader   string `json:"hash_header,omitempty"`
	HashProperty string `json:"hash_property,omitempty"`

	// Partitions is how many logs messages are appended to, by their Key. Messages
	// of one partition keep their order. Default 1.
	Partitions int `json:"partitions,omitempty"`
	// Topic is a topic of yours that messages are appended to, in place of a log of
	// its own. "": that. The topic's partitions are taken.
	Topic string `json:"topic,omitempty"`
	// Retention is how long messages are kept that all queues have done with, so that
	// they can be replayed. Default 24 hours, at most 1 GiB. A Topic has its own.
	Retention Retention `json:"retention,omitzero"`
	// Dedup: messages with the id of an earlier one are confirmed and not published.
	Dedup Dedup `json:"dedup,omitzero"`
}

// Dedup is for how long the ids of messages are remembered: it outlasts restarts. A
// message whose publishing has failed counts as none.
type Dedup struct {
	Enabled bool `json:"enabled,omitempty"`
	// Window is for how long. Default 10 minutes.
	Window time.Duration `json:"window,omitempty"`
	// Messages is for how many messages of the exchange, with or without ids, in each
	// of its partitions. Default 100,000; each takes about 50 bytes.
	Messages int `json:"messages,omitempty"`
}

func (c ExchangeConfig) withDefaults() ExchangeConfig {
	if c.Type == 0 {
		c.Type = Direct
	}
	if c.Topic == "" {
		orDefault(&c.Partitions, 1)
		if c.Retention == (Retention{}) {
			c.Retention = Retention{Age: DefaultExchangeRetention, Bytes: DefaultExchangeRetentionBytes}
		}
	}
	if c.Dedup.Enabled {
		orDefault(&c.Dedup.Window, DefaultDedupWindow)
		orDefault(&c.Dedup.Messages, DefaultDedupMessages)
	}
	return c
}

func (c *ExchangeConfig) check() error {
	switch {
	case c.Topic != "" && (c.Partitions != 0 || c.Retention != Retention{}):
		return fmt.Errorf("%w: Partitions and Retention are those of the topic %s: alter that", ErrInvalid, c.Topic)
	case c.Topic != "":
		if err := CheckName(c.Topic); err != nil {
			return err
		}
	case c.Partitions < 1 || c.Partitions > PartitionsMax:
		return fmt.Errorf("%w: Partitions is %d: it must be 1 to %d", ErrInvalid, c.Partitions, PartitionsMax)
	}
	if c.Dedup.Window < 0 || c.Dedup.Messages < 0 || !c.Dedup.Enabled && c.Dedup != (Dedup{}) {
		return fmt.Errorf("%w: Dedup needs to be Enabled, and cannot have a negative Window or Messages", ErrInvalid)
	}
	return c.Retention.check()
}

// routing is what the routing table knows of the exchange.
func (c *ExchangeConfig) routing(name string) routing.Exchange {
	return routing.Exchange{Name: name, Type: c.Type, Durable: !c.Transient, AutoDelete: c.AutoDelete, Internal: c.Internal,
		Alternate: c.Alternate, HashHeader: c.HashHeader, HashProperty: c.HashProperty}
}

// amq begins the names of exchanges and queues that are not the user's to choose.
const amq = "amq."

// predeclared are the exchanges that are there from the start, as in RabbitMQ. They
// cannot be deleted.
var predeclared = []struct {
	name string
	kind ExchangeType
}{{"amq.direct", Direct}, {"amq.fanout", Fanout}, {"amq.topic", TopicExchange}, {"amq.headers", HeadersExchange}, {"amq.match", HeadersExchange}}

func isPredeclared(name string) bool {
	for _, x := range predeclared {
		if x.name == name {
			return true
		}
	}
	return false
}

// checkOwnName says whether a user can declare an exchange or a queue of that name.
func checkOwnName(what, name string) error {
	if strings.HasPrefix(name, amq) {
		return fmt.Errorf("%s %q: %w: names that begin with %s are Troupe's own", what, name, ErrReserved, amq)
	}
	return nil
}
