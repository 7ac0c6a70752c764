package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/troupestream/troupe/actor"
)

var overflows = map[string]actor.Overflow{"drop-head": actor.DropHead, "reject-publish": actor.RejectPublish, "reject-publish-dlx": actor.RejectPublishDLX}

// queueSettings are the options that say what a queue is like.
type queueSettings struct {
	changes[actor.QueueConfig]
}

func newQueueSettings(f *flag.FlagSet) *queueSettings {
	o := new(queueSettings)
	o.limits(f)
	o.failures(f)
	o.order(f)
	type config = actor.QueueConfig
	onOff(&o.changes, f, "auto-delete", "delete it when its last consumer has left", func(c *config, on bool) { c.AutoDelete = on })
	span(&o.changes, f, "expires", "delete it after this `time` without consumers and use; 0: never", func(c *config, d time.Duration) { c.Expires = d })
	limit(&o.changes, f, "history", "remember the outcome of so many `messages`; default 1000", func(c *config, n int64) { c.History = int(n) })
	whole(&o.changes, f, "publish-ahead", "publish at most so many `messages` that it has not indexed; default 65536", 1, func(c *config, n int64) { c.PublishAhead = int(n) })
	return o
}

func (o *queueSettings) limits(f *flag.FlagSet) {
	type config = actor.QueueConfig
	lasting(&o.changes, f, "ttl", "how long messages may wait, a `time`, or at-once: unless they can be delivered at once; 0: without bound", "at-once", actor.ExpireAtOnce,
		func(c *config, d time.Duration) { c.TTL = d })
	limit(&o.changes, f, "max-length", "let at most so many `messages` wait; default 10000000", func(c *config, n int64) { c.MaxLength = int(n) })
	limit(&o.changes, f, "max-bytes", "let at most so many `bytes` of bodies wait; default 64 GiB", func(c *config, n int64) { c.MaxBytes = n })
	named(&o.changes, f, "overflow", "what happens when it is full; default drop-head", overflows, func(c *config, v actor.Overflow) { c.Overflow = v })
}

func (o *queueSettings) failures(f *flag.FlagSet) {
	type config = actor.QueueConfig
	word(&o.changes, f, "dead-letter-exchange", "the `exchange` for what is rejected, expires, overflows or was tried too often", func(c *config, v string) { c.DeadLetterExchange = v })
	word(&o.changes, f, "dead-letter-key", "with this routing `key`; alone, the name of a queue", func(c *config, v string) { c.DeadLetterRoutingKey = v })
	whole(&o.changes, f, "max-hops", "how `often` a message may be dead-lettered; default 16", 1, func(c *config, n int64) { c.MaxHops = int(n) })
	limit(&o.changes, f, "delivery-limit", "how many `attempts` may fail; default 20", func(c *config, n int64) { c.DeliveryLimit = int(n) })
	lasting(&o.changes, f, "retry-first", "how long a message waits after its first failure, a `time`, or at-once; default 100ms", "at-once", actor.RetryAtOnce,
		func(c *config, d time.Duration) { c.Retry.First = cmp.Or(d, actor.RetryAtOnce) })
	span(&o.changes, f, "retry-max", "how long it waits at most, a `time`; default 1m", func(c *config, d time.Duration) { c.Retry.Max = d })
	share(&o.changes, f, "retry-factor", "how many `times` as long it waits after each more; default 2", "a number of 1 or more",
		func(v float64) bool { return v >= 1 }, func(c *config, v float64) { c.Retry.Factor = v })
	share(&o.changes, f, "retry-jitter", "the `share` of that which is left to chance, 0 to 1; default 0, and 0.2 where nothing is said of retries", "a number of 0 to 1",
		func(v float64) bool { return v >= 0 && v <= 1 }, func(c *config, v float64) { c.Retry.Jitter = v })
	lasting(&o.changes, f, "settle-timeout", "how long a consumer may have a message without a sign of life, a `time`, or unlimited; default 30m", "unlimited", actor.Unlimited,
		func(c *config, d time.Duration) { c.SettleTimeout = d })
}

func (o *queueSettings) order(f *flag.FlagSet) {
	type config = actor.QueueConfig
	whole(&o.changes, f, "max-priority", "the highest `priority`; default 31", 1, func(c *config, n int64) { c.MaxPriority = int(n) })
	f.Func("weights", "priority i has the i-th of these `turns` in a round: 1,2,4; default: higher ones first", func(text string) error {
		weights, err := weightsOf(text)
		o.change(func(c *config) { c.Weights = weights })
		return err
	})
	whole(&o.changes, f, "starvation-bound", "a priority that waits gets a turn after so many `deliveries`; 0: never", 0, func(c *config, n int64) { c.StarvationBound = int(n) })
	onOff(&o.changes, f, "single-active", "deliver to one consumer at a time", func(c *config, on bool) { c.SingleActive = on })
	word(&o.changes, f, "group-by", "do messages of one `group` one at a time and in order: key, routing-key or header:NAME", func(c *config, v string) { c.GroupBy = v })
	word(&o.changes, f, "fair-by", "the `header` whose values are tenants that take turns", func(c *config, v string) { c.FairBy = v })
}

func weightsOf(text string) (all []int, err error) {
	for one := range strings.SplitSeq(text, ",") {
		w, err := strconv.Atoi(one)
		if err != nil || w < 1 {
			return nil, errors.New("they must be numbers of 1 or more: 1,2,4")
		}
		all = append(all, w)
	}
	return all, nil
}

// limit declares an option that is a number of 1 or more, or unlimited.
func limit[C any](o *changes[C], f *flag.FlagSet, name, about string, set func(*C, int64)) {
	f.Func(name, about+", or unlimited", func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case text == "unlimited":
			n = actor.Unlimited
		case err != nil || n < 1:
			return errors.New("it must be a number of 1 or more, or unlimited")
		}
		o.change(func(c *C) { set(c, n) })
		return nil
	})
}

// lasting declares an option that is a time, or a word for one.
func lasting[C any](o *changes[C], f *flag.FlagSet, name, about, word string, means time.Duration, set func(*C, time.Duration)) {
	f.Func(name, about, func(text string) error {
		d, err := time.ParseDuration(text)
		switch {
		case text == word:
			d = means
		case err != nil || d < 0:
			return fmt.Errorf("it must be a time such as 90s or 168h, or %s", word)
		}
		o.change(func(c *C) { set(c, d) })
		return nil
	})
}

// queueJSON is what a queue is like. A limit of -1 is none, and a ttl_ms of -1 is at
// once.
type queueJSON struct {
	Name                 string    `json:"name"`
	AutoDelete           bool      `json:"auto_delete"`
	ExpiresMs            int64     `json:"expires_ms,omitempty"`
	TTLMs                int64     `json:"ttl_ms,omitempty"`
	MaxLength            int       `json:"max_length"`
	MaxBytes             int64     `json:"max_bytes"`
	Overflow             string    `json:"overflow"`
	DeadLetterExchange   string    `json:"dead_letter_exchange,omitempty"`
	DeadLetterRoutingKey string    `json:"dead_letter_routing_key,omitempty"`
	MaxHops              int       `json:"max_hops"`
	DeliveryLimit        int       `json:"delivery_limit"`
	Retry                retryJSON `json:"retry"`
	SettleTimeoutMs      int64     `json:"settle_timeout_ms"`
	MaxPriority          int       `json:"max_priority"`
	Weights              []int     `json:"weights,omitempty"`
	StarvationBound      int       `json:"starvation_bound,omitempty"`
	SingleActive         bool      `json:"single_active"`
	GroupBy              string    `json:"group_by,omitempty"`
	FairBy               string    `json:"fair_by,omitempty"`
	History              int       `json:"history"`
	PublishAhead         int       `json:"publish_ahead"`

	config actor.QueueConfig
}

// retryJSON is how long a message waits after a failed attempt.
type retryJSON struct {
	FirstMs int64   `json:"first_ms"` // 0: at once
	Factor  float64 `json:"factor,omitempty"`
	MaxMs   int64   `json:"max_ms,omitempty"`
	Jitter  float64 `json:"jitter,omitempty"`
}

func queueOf(name string, c actor.QueueConfig) queueJSON {
	r := c.Retry
	return queueJSON{Name: name, AutoDelete: c.AutoDelete, ExpiresMs: c.Expires.Milliseconds(), TTLMs: ttlMs(c.TTL), MaxLength: c.MaxLength, MaxBytes: c.MaxBytes,
		Overflow: nameOf(overflows, c.Overflow), DeadLetterExchange: c.DeadLetterExchange, DeadLetterRoutingKey: c.DeadLetterRoutingKey, MaxHops: c.MaxHops,
		DeliveryLimit: c.DeliveryLimit, Retry: retryJSON{r.First.Milliseconds(), r.Factor, r.Max.Milliseconds(), r.Jitter}, SettleTimeoutMs: msOf(c.SettleTimeout),
		MaxPriority: c.MaxPriority, Weights: c.Weights, StarvationBound: c.StarvationBound, SingleActive: c.SingleActive, GroupBy: c.GroupBy, FairBy: c.FairBy,
		History: c.History, PublishAhead: c.PublishAhead, config: c}
}

// msOf leaves the value that is no time what it is.
func ttlMs(d time.Duration) int64 {
	if d == actor.ExpireAtOnce {
		return -1
	}
	return msOf(d)
}

func msOf(d time.Duration) int64 {
	if d < 0 {
		return int64(d)
	}
	return d.Milliseconds()
}

func (v queueJSON) rows() [][]string {
	c := v.config
	return [][]string{row("queue", v.Name), row("limits", v.limitsText()), row("when full", v.Overflow), row("ttl", v.ttlText()),
		row("dead letters", v.deadLettersText()), row("delivery limit", unlimited(c.DeliveryLimit)), row("retry", v.retryText()),
		row("settle timeout", unlimited(c.SettleTimeout)), row("priorities", v.prioritiesText()), row("single active", v.SingleActive),
		row("group by", v.GroupBy), row("fair by", v.FairBy), row("auto-delete", v.autoDeleteText())}
}

// unlimited is a limit for people.
func unlimited[N int | int64 | time.Duration](n N) string {
	if n < 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func (v queueJSON) limitsText() string {
	return unlimited(v.MaxLength) + " messages, " + unlimited(v.MaxBytes) + " bytes"
}

func (v queueJSON) ttlText() string {
	switch v.config.TTL {
	case 0:
		return "none"
	case actor.ExpireAtOnce:
		return "at once"
	}
	return v.config.TTL.String()
}

func (v queueJSON) deadLettersText() string {
	switch {
	case v.DeadLetterExchange == "" && v.DeadLetterRoutingKey == "":
		return "dropped"
	case v.DeadLetterExchange == "":
		return "queue " + v.DeadLetterRoutingKey
	case v.DeadLetterRoutingKey == "":
		return "exchange " + v.DeadLetterExchange
	}
	return "exchange " + v.DeadLetterExchange + ", key " + v.DeadLetterRoutingKey
}

func (v queueJSON) retryText() string {
	r := v.config.Retry
	if r.First == actor.RetryAtOnce {
		return "at once"
	}
	text := fmt.Sprintf("%v, times %g, at most %v", r.First, r.Factor, r.Max)
	if r.Jitter > 0 {
		text += fmt.Sprintf(", jitter %g", r.Jitter)
	}
	return text
}

func (v queueJSON) prioritiesText() string {
	text := fmt.Sprintf("0 to %d", v.MaxPriority)
	switch {
	case len(v.Weights) > 0:
		text += fmt.Sprintf(", by weights %v", v.Weights)
	case v.StarvationBound > 0:
		text += fmt.Sprintf(", a turn after %d deliveries", v.StarvationBound)
	}
	return text
}

func (v queueJSON) autoDeleteText() string {
	text := strconv.FormatBool(v.AutoDelete)
	if v.config.Expires > 0 {
		text += fmt.Sprintf(", when unused for %v", v.config.Expires)
	}
	return text
}
