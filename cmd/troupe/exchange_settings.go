package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
)

// exchangeTypes are RabbitMQ's names.
var exchangeTypes = namesOf(actor.Direct, actor.Fanout, actor.TopicExchange, actor.HeadersExchange, actor.ConsistentHashing)

func namesOf[T fmt.Stringer](all ...T) map[string]T {
	names := map[string]T{}
	for _, v := range all {
		names[v.String()] = v
	}
	return names
}

// exchangeSettings are the options that say what an exchange is like.
type exchangeSettings struct {
	changes[actor.ExchangeConfig]
}

func newExchangeSettings(f *flag.FlagSet) *exchangeSettings {
	o := new(exchangeSettings)
	type config = actor.ExchangeConfig
	named(&o.changes, f, "type", "how it routes; default direct", exchangeTypes, func(c *config, v actor.ExchangeType) { c.Type = v })
	onOff(&o.changes, f, "auto-delete", "delete it when the last of its bindings is removed", func(c *config, on bool) { c.AutoDelete = on })
	onOff(&o.changes, f, "internal", "only other exchanges, and dead letters, reach it", func(c *config, on bool) { c.Internal = on })
	word(&o.changes, f, "alternate", "the `exchange` that takes what no binding matches", func(c *config, v string) { c.Alternate = v })
	word(&o.changes, f, "hash-header", "the `header` that an x-consistent-hash exchange hashes; default: the routing key", func(c *config, v string) { c.HashHeader = v })
	word(&o.changes, f, "hash-property", "the `property` that it hashes: message_id, correlation_id, timestamp", func(c *config, v string) { c.HashProperty = v })
	word(&o.changes, f, "topic", "append messages to this `topic`, in place of a log of its own", func(c *config, v string) { c.Topic = v })
	whole(&o.changes, f, "partitions", "how many `logs` messages are appended to, by their keys; default 1", 1, func(c *config, n int64) { c.Partitions = int(n) })
	o.retention(f)
	o.dedup(f)
	return o
}

func (o *exchangeSettings) retention(f *flag.FlagSet) {
	type config = actor.ExchangeConfig
	const what = "keep messages that all queues have done with "
	span(&o.changes, f, "retain-age", what+"for this `time`; default 24h, and 1 GiB", func(c *config, d time.Duration) { c.Retention.Age = d })
	whole(&o.changes, f, "retain-bytes", what+"up to so many `bytes`", 0, func(c *config, n int64) { c.Retention.Bytes = n })
	whole(&o.changes, f, "retain-records", what+"up to so `many`", 0, func(c *config, n int64) { c.Retention.Records = n })
	onOff(&o.changes, f, "retain-forever", what+"for ever", func(c *config, on bool) { c.Retention.Forever = on })
}

func (o *exchangeSettings) dedup(f *flag.FlagSet) {
	type config = actor.ExchangeConfig
	onOff(&o.changes, f, "dedup", "confirm messages with the id of an earlier one, and do not publish them", func(c *config, on bool) { c.Dedup.Enabled = on })
	span(&o.changes, f, "dedup-window", "for which `time` ids are remembered; default 10m; needs -dedup", func(c *config, d time.Duration) { c.Dedup.Window = d })
	whole(&o.changes, f, "dedup-messages", "of the last `messages`; default 100000; needs -dedup", 1, func(c *config, n int64) { c.Dedup.Messages = int(n) })
}

// apply makes a configuration of the options.
func (o *exchangeSettings) apply(c *actor.ExchangeConfig) error {
	o.applyTo(c)
	if c.Retention.Forever && c.Retention != (actor.Retention{Forever: true}) {
		return mistakef("-retain-forever, and a limit: leave one of them out")
	}
	return nil
}

// exchangeJSON is what an exchange is like.
type exchangeJSON struct {
	Name         string         `json:"name"`
	Type         string         `json:"type"`
	AutoDelete   bool           `json:"auto_delete"`
	Internal     bool           `json:"internal"`
	Alternate    string         `json:"alternate,omitempty"`
	HashHeader   string         `json:"hash_header,omitempty"`
	HashProperty string         `json:"hash_property,omitempty"`
	Topic        string         `json:"topic,omitempty"`
	Partitions   int            `json:"partitions,omitempty"`
	Retention    *retentionJSON `json:"retention,omitempty"`
	Dedup        dedupJSON      `json:"dedup"`

	config actor.ExchangeConfig
}

// dedupJSON is for how long the ids of messages are remembered.
type dedupJSON struct {
	Enabled  bool  `json:"enabled"`
	WindowMs int64 `json:"window_ms,omitempty"`
	Messages int   `json:"messages,omitempty"`
}

func exchangeOf(name string, c actor.ExchangeConfig) exchangeJSON {
	v := exchangeJSON{Name: name, Type: c.Type.String(), AutoDelete: c.AutoDelete, Internal: c.Internal, Alternate: c.Alternate,
		HashHeader: c.HashHeader, HashProperty: c.HashProperty, Topic: c.Topic, Partitions: c.Partitions, config: c,
		Dedup: dedupJSON{c.Dedup.Enabled, c.Dedup.Window.Milliseconds(), c.Dedup.Messages}}
	if c.Topic == "" {
		r := c.Retention
		v.Retention = &retentionJSON{r.Forever, r.Age.Milliseconds(), r.Bytes, r.Records}
	}
	return v
}

func (v exchangeJSON) rows() [][]string {
	c := v.config
	rows := [][]string{row("exchange", shownName(v.Name)), row("type", v.Type), row("alternate", v.Alternate)}
	if c.HashHeader != "" || c.HashProperty != "" {
		rows = append(rows, row("hashes", c.HashHeader+c.HashProperty))
	}
	if c.Topic != "" {
		rows = append(rows, row("topic", c.Topic))
	} else {
		rows = append(rows, row("partitions", c.Partitions))
	}
	return append(rows, row("retention", retentionText(c)), row("dedup", dedupText(c.Dedup)), row("auto-delete", v.AutoDelete), row("internal", v.Internal))
}

func retentionText(c actor.ExchangeConfig) string {
	if c.Topic != "" {
		return "that of the topic"
	}
	return c.Retention.String()
}

func dedupText(d actor.Dedup) string {
	if !d.Enabled {
		return "none"
	}
	return fmt.Sprintf("%v, %d messages", d.Window, d.Messages)
}
