package main

import (
	"flag"
	"time"

	"github.com/troupestream/troupe/actor"
)

// Names of settings.
var (
	durabilities = map[string]actor.Durability{"fsync": actor.Fsync, "interval": actor.Interval, "memory": actor.Memory}
	compressions = map[string]actor.Compression{"none": actor.Uncompressed, "s2": actor.S2, "zstd": actor.Zstd}
	timestamps   = map[string]actor.Timestamps{"create": actor.CreateTime, "append": actor.LogAppendTime}
)

// settings are the options that say what a topic is like. Those that were given are
// applied in their order.
type settings struct {
	changes[actor.TopicConfig]
	limited bool // something was said about what is kept
	forever bool // and that it is everything
}

func newSettings(f *flag.FlagSet) *settings {
	o := new(settings)
	whole(&o.changes, f, "partitions", "how many `partitions`; default 1", 1, func(c *actor.TopicConfig, n int64) { c.Partitions = int(n) })
	named(&o.changes, f, "durability", "what acknowledged records survive", durabilities, func(c *actor.TopicConfig, v actor.Durability) { c.Durability = v })
	named(&o.changes, f, "compression", "how batches are compressed", compressions, func(c *actor.TopicConfig, v actor.Compression) { c.Compression = v })
	named(&o.changes, f, "timestamps", "which time records have", timestamps, func(c *actor.TopicConfig, v actor.Timestamps) { c.Timestamps = v })
	onOff(&o.changes, f, "key-index", "know the newest record of each key, so that appends can say what they expect of one", func(c *actor.TopicConfig, on bool) { c.KeyIndex = on })
	o.retention(f)
	o.compaction(f)
	return o
}

func (o *settings) retention(f *flag.FlagSet) {
	const limit = "; 0 lifts the limit"
	span(&o.changes, f, "retain-age", "drop records after this `time`, such as 168h"+limit, func(c *actor.TopicConfig, d time.Duration) {
		c.Retention.Age, c.Retention.Forever, o.limited = d, false, true
	})
	whole(&o.changes, f, "retain-bytes", "keep so many `bytes` of each partition"+limit, 0, func(c *actor.TopicConfig, n int64) {
		c.Retention.Bytes, c.Retention.Forever, o.limited = n, false, true
	})
	whole(&o.changes, f, "retain-records", "keep so many `records` of each partition"+limit, 0, func(c *actor.TopicConfig, n int64) {
		c.Retention.Records, c.Retention.Forever, o.limited = n, false, true
	})
	onOff(&o.changes, f, "retain-forever", "keep everything", func(c *actor.TopicConfig, on bool) {
		if o.forever = on; on {
			c.Retention = actor.Retention{Forever: true}
		} else if c.Retention.Forever {
			c.Retention.Forever, o.limited = false, true
		}
	})
}

func (o *settings) compaction(f *flag.FlagSet) {
	onOff(&o.changes, f, "compact", "keep the newest record of each key; -compact=false ends it", func(c *actor.TopicConfig, on bool) {
		if c.Compaction.Enabled = on; !on {
			c.Compaction = actor.Compaction{}
		}
	})
	span(&o.changes, f, "delete-retention", "how long tombstones stay; needs -compact", func(c *actor.TopicConfig, d time.Duration) { c.Compaction.DeleteRetention = d })
	share(&o.changes, f, "dirty-ratio", "the `share` that must not be compacted yet to be worth it, above 0 to 1; needs -compact",
		"a number above 0, and 1 at most", func(v float64) bool { return v > 0 && v <= 1 }, func(c *actor.TopicConfig, v float64) { c.Compaction.MinCleanableDirtyRatio = v })
	span(&o.changes, f, "min-compaction-lag", "how long records stay at least; needs -compact", func(c *actor.TopicConfig, d time.Duration) { c.Compaction.MinCompactionLag = d })
	span(&o.changes, f, "max-compaction-lag", "the age at which records are compacted in any case; needs -compact", func(c *actor.TopicConfig, d time.Duration) { c.Compaction.MaxCompactionLag = d })
}

// apply changes a configuration as the options say.
func (o *settings) apply(c *actor.TopicConfig) error {
	o.limited, o.forever = false, false
	o.applyTo(c)
	switch {
	case o.forever && o.limited:
		return mistakef("-retain-forever, and a limit: leave one of them out")
	case o.limited && c.Retention == actor.Retention{}:
		return mistakef("without any limit the topic grows for ever: if that is meant, say -retain-forever")
	}
	return nil
}

// settingsJSON is what a topic is like.
type settingsJSON struct {
	Name        string         `json:"name"`
	Partitions  int            `json:"partitions"`
	Durability  string         `json:"durability"`
	Compression string         `json:"compression"`
	Timestamps  string         `json:"timestamps"`
	KeyIndex    bool           `json:"key_index"`
	Retention   retentionJSON  `json:"retention"`
	Compaction  compactionJSON `json:"compaction"`

	config actor.TopicConfig
}

// retentionJSON is what is kept: everything, or what is within all limits that are
// not 0.
type retentionJSON struct {
	Forever bool  `json:"forever"`
	AgeMs   int64 `json:"age_ms"`
	Bytes   int64 `json:"bytes"`
	Records int64 `json:"records"`
}

type compactionJSON struct {
	Enabled           bool    `json:"enabled"`
	DeleteRetentionMs int64   `json:"delete_retention_ms,omitempty"`
	DirtyRatio        float64 `json:"dirty_ratio,omitempty"`
	MinLagMs          int64   `json:"min_lag_ms,omitempty"`
	MaxLagMs          int64   `json:"max_lag_ms,omitempty"`
}

func settingsOf(name string, c actor.TopicConfig) settingsJSON {
	r, k := c.Retention, c.Compaction
	return settingsJSON{Name: name, Partitions: c.Partitions, config: c,
		Durability: nameOf(durabilities, c.Durability), Compression: nameOf(compressions, c.Compression), Timestamps: c.Timestamps.String(), KeyIndex: c.KeyIndex,
		Retention: retentionJSON{r.Forever, r.Age.Milliseconds(), r.Bytes, r.Records},
		Compaction: compactionJSON{k.Enabled, k.DeleteRetention.Milliseconds(), k.MinCleanableDirtyRatio,
			k.MinCompactionLag.Milliseconds(), k.MaxCompactionLag.Milliseconds()}}
}

func (v settingsJSON) rows() [][]string {
	return [][]string{row("topic", v.Name), row("partitions", v.Partitions), row("retention", v.config.Retention),
		row("compaction", v.config.Compaction), row("durability", v.Durability), row("compression", v.Compression), row("timestamps", v.Timestamps),
		row("key index", v.KeyIndex)}
}
