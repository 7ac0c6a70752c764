package actor

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/troupestream/troupe/internal/queue"
)

// What queues are declared with.
type (
	// Overflow says what happens when a queue is full.
	Overflow = queue.Overflow
	// QueueRetry is how long a message waits after a failed attempt: First, then Factor
	// times as long after each more, up to Max, less up to the share Jitter, by chance.
	// The zero value is 100 ms, 2, 1 min and 0.2: 20 attempts take some ten minutes.
	// Where a field is set, the others have the same defaults, but Jitter, which is none.
	// First: RetryAtOnce is not to wait at all.
	QueueRetry = queue.Retry
)

// The ways to overflow, and three values with a meaning.
const (
	DropHead         = queue.DropHead         // drops the oldest of the lowest priority, or dead-letters it; the default
	RejectPublish    = queue.RejectPublish    // refuses the publisher with ErrQueueFull
	RejectPublishDLX = queue.RejectPublishDLX // dead-letters what is published, in place of taking it

	Unlimited    = queue.Unlimited    // as a limit: none
	ExpireAtOnce = queue.ExpireAtOnce // as a time to live: unless it can be delivered at once
	RetryAtOnce  = queue.RetryAtOnce  // as QueueRetry.First: what fails comes again without a delay
)

// Defaults of queues.
const (
	DefaultQueueMaxLength     = 10_000_000
	DefaultQueueMaxBytes      = 64 << 30
	DefaultQueueDeliveryLimit = 20
	DefaultQueueRetryFirst    = 100 * time.Millisecond
	DefaultQueueRetryFactor   = 2
	DefaultQueueRetryMax      = time.Minute
	DefaultQueueRetryJitter   = 0.2
	DefaultQueueSettleTimeout = 30 * time.Minute
	DefaultQueueMaxHops       = 16
	DefaultQueueHistory       = 1000
	DefaultQueuePublishAhead  = 65_536
)

// QueueConfig is what a queue is declared with. The zero value is a durable queue with
// the defaults. Transient, Exclusive and GroupBy are for life; the rest can be altered.
type QueueConfig struct {
	// Transient: the queue is forgotten when the process ends. RabbitMQ's
	// durable=false.
	Transient bool `json:"transient,omitempty"`
	// Exclusive: only the handle that has declared the queue can use it, and the queue
	// ends with that. It is Transient, too.
	Exclusive bool `json:"exclusive,omitempty"`
	// AutoDelete: the queue is deleted when its last consumer has left. Get is none.
	AutoDelete bool `json:"auto_delete,omitempty"`
	// Expires is after how long without consumers and use the queue is deleted: use is
	// to declare it again, and Get. 0: never.
	Expires time.Duration `json:"expires,omitempty"`

	// TTL is how long messages may wait, beside what they say themselves; ExpireAtOnce
	// is RabbitMQ's TTL of 0. 0 and Unlimited are without bound. They expire on time,
	// wherever in the queue they are.
	TTL time.Duration `json:"ttl,omitempty"`
	// MaxLength and MaxBytes bound the messages that wait, ready or delayed, and
	// Overflow says what happens beyond. Defaults 10,000,000 and 64 GiB of bodies.
	MaxLength int      `json:"max_length,omitempty"`
	MaxBytes  int64    `json:"max_bytes,omitempty"`
	Overflow  Overflow `json:"overflow,omitempty"`

	// DeadLetterExchange is where messages go that are rejected, expire, overflow or
	// were tried too often, with DeadLetterRoutingKey; "": with the keys that they had.
	// A DeadLetterRoutingKey alone is the name of a queue. With neither, they are
	// dropped and counted.
	DeadLetterExchange   string `json:"dead_letter_exchange,omitempty"`
	DeadLetterRoutingKey string `json:"dead_letter_routing_key,omitempty"`
	// MaxHops is how often a message may be dead-lettered in all, before this queue
	// drops and counts it. Default 16.
	MaxHops int `json:"max_hops,omitempty"`
	// DeliveryLimit is how many attempts may fail. Default 20; Unlimited for none.
	DeliveryLimit int `json:"delivery_limit,omitempty"`
	// Retry is how long a message waits after a failed attempt; the zero value: 100 ms,
	// and twice as long after each more, up to a minute. See RetryAtOnce.
	Retry QueueRetry `json:"retry,omitzero"`
	// SettleTimeout is how long a consumer may have a message without a sign of life
	// of its handler. Default 30 minutes; Unlimited for none.
	SettleTimeout time.Duration `json:"settle_timeout,omitempty"`

	// MaxPriority is the highest priority; higher ones are clamped to it. Default 31.
	MaxPriority int `json:"max_priority,omitempty"`
	// Weights share deliveries between priorities, where strict order would let lower
	// ones starve: priority i gets Weights[i] turns in a round. nil: strict.
	Weights []int `json:"weights,omitempty"`
	// StarvationBound is after how many deliveries a priority that waits gets a turn
	// even in strict order. 0: never.
	StarvationBound int `json:"starvation_bound,omitempty"`
	// SingleActive delivers to one consumer at a time.
	SingleActive bool `json:"single_active,omitempty"`
	// GroupBy has messages of a group delivered one at a time and in order, also
	// across retries: "key" (of the record), "routing-key", or "header:" and a name.
	// "": there are no groups.
	GroupBy string `json:"group_by,omitempty"`
	// FairBy is the header whose values are tenants that take turns. "": none.
	FairBy string `json:"fair_by,omitempty"`

	// History is how many settlements are remembered to answer what became of a
	// message. Default 1,000; Unlimited (-1) for none.
	History int `json:"history,omitempty"`
	// PublishAhead is how many messages can be published that the queue has not
	// indexed yet, before its publishers wait. Default 65,536.
	PublishAhead int `json:"publish_ahead,omitempty"`
}

func (c QueueConfig) withDefaults() QueueConfig {
	orDefault(&c.MaxLength, DefaultQueueMaxLength)
	orDefault64(&c.MaxBytes, DefaultQueueMaxBytes)
	orDefault(&c.MaxHops, DefaultQueueMaxHops)
	orDefault(&c.DeliveryLimit, DefaultQueueDeliveryLimit)
	c.Retry = retryOrDefault(c.Retry)
	orDefault(&c.SettleTimeout, DefaultQueueSettleTimeout)
	orDefault(&c.MaxPriority, queue.MaxPriorities-1)
	orDefault(&c.History, DefaultQueueHistory)
	orDefault(&c.PublishAhead, DefaultQueuePublishAhead)
	if c.TTL == Unlimited {
		c.TTL = 0
	}
	c.Transient = c.Transient || c.Exclusive
	return c.clone()
}

// retryOrDefault has one way to say what is the same, so that it is no conflict.
func retryOrDefault(r QueueRetry) QueueRetry {
	switch {
	case r == QueueRetry{}:
		r.Jitter = DefaultQueueRetryJitter
	case r.First == RetryAtOnce:
		return QueueRetry{First: RetryAtOnce}
	}
	orDefault(&r.First, DefaultQueueRetryFirst)
	orDefault(&r.Max, max(r.First, DefaultQueueRetryMax))
	if r.Factor == 0 {
		r.Factor = DefaultQueueRetryFactor
	}
	return r
}

// nameBytes is how long names and routing keys can be.
const nameBytes = 255

// clone shares no memory with the configuration. Weights that are none are nil.
func (c QueueConfig) clone() QueueConfig {
	c.Weights = append([]int(nil), c.Weights...)
	return c
}

func orDefault64(v *int64, d int64) {
	if *v == 0 {
		*v = d
	}
}

// deadLetters says where dead letters go, and whether they go anywhere.
func (c *QueueConfig) deadLetters() (exchange, key string, ok bool) {
	return c.DeadLetterExchange, c.DeadLetterRoutingKey, c.DeadLetterExchange != "" || c.DeadLetterRoutingKey != ""
}

// core is the configuration of the queue's state machine.
func (c *QueueConfig) core() queue.Config {
	_, _, deadLetter := c.deadLetters()
	return queue.Config{
		MaxPriority: c.MaxPriority, TTL: c.TTL, MaxLength: c.MaxLength, MaxBytes: c.MaxBytes, Overflow: c.Overflow, DeadLetter: deadLetter,
		DeliveryLimit: c.DeliveryLimit, Retry: c.Retry, SettleTimeout: c.SettleTimeout, SingleActive: c.SingleActive, Weights: c.Weights,
		StarvationBound: c.StarvationBound, FairTenants: c.FairBy != "", Expires: c.Expires, AutoDelete: c.AutoDelete,
		Limits: queue.Limits{History: c.History},
	}
}

// check returns all that is wrong at once.
func (c *QueueConfig) check() error {
	var all []error
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	if _, err := queue.New(c.core()); err != nil {
		all = append(all, ofQueue(err))
	}
	limit := func(name string, v int64) {
		add(v < Unlimited, "%s is %d: it cannot be negative, but Unlimited", name, v)
	}
	limit("MaxLength", int64(c.MaxLength))
	limit("MaxBytes", c.MaxBytes)
	limit("DeliveryLimit", int64(c.DeliveryLimit))
	limit("History", int64(c.History))
	add(c.SettleTimeout < Unlimited, "SettleTimeout is %v: it cannot be negative, but Unlimited", c.SettleTimeout)
	add(c.MaxHops < 1, "MaxHops is %d: it must be at least 1", c.MaxHops)
	add(c.PublishAhead < 1, "PublishAhead is %d: it must be at least 1", c.PublishAhead)
	header, byHeader := strings.CutPrefix(c.GroupBy, "header:")
	known := c.GroupBy == "" || c.GroupBy == "key" || c.GroupBy == "routing-key" || byHeader && header != ""
	add(!known, `GroupBy is %q: it can be "key", "routing-key", or "header:" and a name`, c.GroupBy)
	exchange, key, deadLetter := c.deadLetters()
	name := func(what, v string) {
		add(len(v) > nameBytes || !utf8.ValidString(v), "%s is %q: it can have %d bytes of UTF-8", what, v, nameBytes)
	}
	name("DeadLetterExchange", exchange)
	name("DeadLetterRoutingKey", key)
	name("GroupBy", c.GroupBy)
	name("FairBy", c.FairBy)
	add(c.Overflow == RejectPublishDLX && !deadLetter, "Overflow is RejectPublishDLX: so there has to be a DeadLetterExchange, or a DeadLetterRoutingKey")
	return errors.Join(all...)
}

// differences says in which fields two configurations of one type differ, by the names
// of the fields.
func differences[C any](has, wants *C) error {
	all := differing("", reflect.ValueOf(has).Elem(), reflect.ValueOf(wants).Elem())
	if all == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrConflict, strings.Join(all, "; "))
}

// differing goes through the fields of two structs, and through those of fields that have
// no words of their own.
func differing(of string, has, wants reflect.Value) (all []string) {
	for i := range has.NumField() {
		name, a, b := of+has.Type().Field(i).Name, has.Field(i), wants.Field(i)
		_, speaks := a.Interface().(fmt.Stringer)
		switch {
		case reflect.DeepEqual(a.Interface(), b.Interface()):
		case a.Kind() == reflect.Struct && !speaks:
			all = append(all, differing(name+".", a, b)...)
		case a.Kind() == reflect.String:
			all = append(all, fmt.Sprintf("its %s is %q, not %q", name, a, b))
		default:
			all = append(all, fmt.Sprintf("its %s is %v, not %v", name, a, b))
		}
	}
	return all
}
