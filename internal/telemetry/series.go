package telemetry

import (
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// MaxSeries is how many label sets a metric reports. Those beyond are left
// out, and counted by troupe.telemetry.dropped_series. It is below the 2,000
// at which OpenTelemetry's SDK begins to merge series of its own accord.
const MaxSeries = 1000

// labels are the values of up to two labels; they are the key to combine by.
type labels [2]string

// table gathers the values of one metric over the entries of a snapshot, in
// the order in which their labels first appear.
type table struct {
	order   []labels
	values  map[labels]float64
	dropped map[labels]struct{}
}

func newTable() *table {
	return &table{values: map[labels]float64{}, dropped: map[labels]struct{}{}}
}

// combine merges v into the entry of l.
func (t *table) combine(l labels, v float64, merge func(a, b float64) float64) {
	old, ok := t.values[l]
	switch {
	case ok:
		t.values[l] = merge(old, v)
	case len(t.order) < MaxSeries:
		t.order = append(t.order, l)
		t.values[l] = v
	default:
		t.dropped[l] = struct{}{}
	}
}

func add(a, b float64) float64     { return a + b }
func lowest(a, b float64) float64  { return min(a, b) }
func highest(a, b float64) float64 { return max(a, b) }

// collection is one answer to one reader of metrics.
type collection struct {
	observer metric.Observer
	floats   map[string]metric.Float64Observable
	ints     map[string]metric.Int64Observable
	dropped  int
}

// report observes everything that a metric's table holds.
func (c *collection) report(m *metricName, t *table) {
	for _, l := range t.order {
		set := metric.WithAttributeSet(attributes(m, l))
		if o, ok := c.floats[m.name]; ok {
			c.observer.ObserveFloat64(o, t.values[l], set)
		} else {
			c.observer.ObserveInt64(c.ints[m.name], int64(t.values[l]), set)
		}
	}
	c.dropped += len(t.dropped)
}

func attributes(m *metricName, l labels) attribute.Set {
	kv := make([]attribute.KeyValue, len(m.labels))
	for i, key := range m.labels {
		kv[i] = key.String(l[i])
	}
	return attribute.NewSet(kv...)
}

// each combines what get returns for every entry and reports it. get returns
// false for an entry without a value.
func each[E any](c *collection, m *metricName, entries []E, merge func(a, b float64) float64,
	get func(*E) (labels, float64, bool)) {
	t := newTable()
	for i := range entries {
		if l, v, ok := get(&entries[i]); ok {
			t.combine(l, v, merge)
		}
	}
	c.report(m, t)
}

// field is each for a number that every entry has.
func field[E any](c *collection, m *metricName, entries []E, merge func(a, b float64) float64,
	label func(*E) labels, value func(*E) int64) {
	each(c, m, entries, merge, func(e *E) (labels, float64, bool) { return label(e), float64(value(e)), true })
}

func (c *collection) observe(s *Snapshot) {
	c.operators(s)
	c.flow(s)
	c.jobs(s)
	c.logs(s)
	c.compactions(s)
	c.consumers(s)
	c.queues(s)
	c.observer.ObserveInt64(c.ints[droppedSeries.name], int64(c.dropped))
}

func (c *collection) operators(s *Snapshot) {
	type E = OperatorStats
	by := func(e *E) labels { return labels{e.Job, e.Operator} }
	sum := func(m *metricName, value func(*E) int64) { field(c, m, s.Operators, add, by, value) }
	sum(&recordsIn, func(e *E) int64 { return e.In })
	sum(&recordsOut, func(e *E) int64 { return e.Out })
	sum(&lateRecords, func(e *E) int64 { return e.Late })
	sum(&futureRecords, func(e *E) int64 { return e.Future })
	sum(&failures, func(e *E) int64 { return e.Failures })
	sum(&deadLetters, func(e *E) int64 { return e.DeadLetters })
	sum(&skippedRecords, func(e *E) int64 { return e.Skipped })
	sum(&expiredState, func(e *E) int64 { return e.Expired })
	sum(&operatorKeys, func(e *E) int64 { return e.Keys })
	each(c, &sourceLag, s.Operators, add, func(e *E) (labels, float64, bool) {
		return by(e), float64(e.Lag), e.Lag >= 0
	})
	each(c, &watermarkTime, s.Operators, lowest, func(e *E) (labels, float64, bool) {
		return by(e), float64(e.Watermark) / 1e3, hasWatermark(e.Watermark)
	})
	now := s.Now.UnixMilli()
	each(c, &watermarkLag, s.Operators, highest, func(e *E) (labels, float64, bool) {
		return by(e), float64(now-e.Watermark) / 1e3, hasWatermark(e.Watermark)
	})
}

func (c *collection) flow(s *Snapshot) {
	box := func(e *MailboxStats) labels { return labels{e.Job, e.Kind} }
	field(c, &mailboxDepth, s.Mailboxes, highest, box, func(e *MailboxStats) int64 { return e.Depth })
	field(c, &mailboxBytes, s.Mailboxes, add, box, func(e *MailboxStats) int64 { return e.Bytes })
	edge := func(e *EdgeStats) labels { return labels{e.Job, e.Edge} }
	field(c, &edgeCredit, s.Edges, add, edge, func(e *EdgeStats) int64 { return e.Credit })
	field(c, &edgeWaiting, s.Edges, add, edge, func(e *EdgeStats) int64 { return e.Waiting })
}

func (c *collection) jobs(s *Snapshot) {
	by := func(e *JobStats) labels { return labels{e.Job} }
	field(c, &jobRestarts, s.Jobs, add, by, func(e *JobStats) int64 { return e.Restarts })
	each(c, &checkpointSize, s.Jobs, highest, func(e *JobStats) (labels, float64, bool) {
		return by(e), float64(e.CheckpointBytes), e.CheckpointBytes > 0 || !e.Checkpoint.IsZero()
	})
	each(c, &checkpointAge, s.Jobs, highest, func(e *JobStats) (labels, float64, bool) {
		return by(e), s.Now.Sub(e.Checkpoint).Seconds(), !e.Checkpoint.IsZero()
	})
}

func (c *collection) logs(s *Snapshot) {
	topic := func(e *TopicStats) labels { return labels{e.Topic} }
	field(c, &logAppends, s.Topics, add, topic, func(e *TopicStats) int64 { return e.Appends })
	field(c, &logBytes, s.Topics, add, topic, func(e *TopicStats) int64 { return e.Bytes })
	field(c, &partitionEnd, s.Partitions, highest, func(e *PartitionStats) labels {
		return labels{e.Topic, strconv.Itoa(e.Partition)}
	}, func(e *PartitionStats) int64 { return e.EndOffset })
}

func (c *collection) compactions(s *Snapshot) {
	type E = CompactionStats
	sum := func(m *metricName, value func(*E) int64) {
		field(c, m, s.Compacted, add, func(e *E) labels { return labels{e.Topic} }, value)
	}
	sum(&compactRuns, func(e *E) int64 { return e.Runs })
	sum(&compactFails, func(e *E) int64 { return e.Failures })
	sum(&compactIn, func(e *E) int64 { return e.RecordsIn })
	sum(&compactOut, func(e *E) int64 { return e.RecordsOut })
	sum(&compactRead, func(e *E) int64 { return e.Read })
	sum(&compactWritten, func(e *E) int64 { return e.Written })
	sum(&tombstones, func(e *E) int64 { return e.Tombstones })
}

func (c *collection) consumers(s *Snapshot) {
	group := func(e *GroupStats) labels { return labels{e.Group} }
	sum := func(m *metricName, value func(*GroupStats) int64) { field(c, m, s.Groups, add, group, value) }
	sum(&groupRetries, func(e *GroupStats) int64 { return e.Retries })
	sum(&groupWaiting, func(e *GroupStats) int64 { return e.Waiting })
	sum(&groupLetters, func(e *GroupStats) int64 { return e.DeadLetters })
	sum(&groupSkipped, func(e *GroupStats) int64 { return e.Skipped })
	sum(&groupReplayed, func(e *GroupStats) int64 { return e.Replayed })
	sum(&groupParkings, func(e *GroupStats) int64 { return e.Parked })
	topic := func(e *ConsumedStats) labels { return labels{e.Group, e.Topic} }
	each(c, &groupLag, s.Consumed, add, func(e *ConsumedStats) (labels, float64, bool) {
		return topic(e), float64(e.Lag), e.Lag >= 0
	})
	field(c, &groupParked, s.Consumed, add, topic, func(e *ConsumedStats) int64 { return e.ParkedKeys })
	field(c, &groupStalled, s.Consumed, add, topic, func(e *ConsumedStats) int64 {
		if e.Stalled {
			return 1
		}
		return 0
	})
}

func (c *collection) queues(s *Snapshot) {
	type E = QueueStats
	queue := func(e *E) labels { return labels{e.Queue} }
	sum := func(m *metricName, value func(*E) int64) { field(c, m, s.Queues, add, queue, value) }
	sum(&queueSize, func(e *E) int64 { return e.Bytes })
	sum(&queueConsumers, func(e *E) int64 { return e.Consumers })
	sum(&queuePublished, func(e *E) int64 { return e.Published })
	sum(&queueDelivered, func(e *E) int64 { return e.Delivered })
	each(c, &queueAge, s.Queues, highest, func(e *E) (labels, float64, bool) {
		if e.Oldest == 0 {
			return queue(e), 0, true
		}
		return queue(e), max(s.Now.Sub(time.UnixMilli(e.Oldest)).Seconds(), 0), true
	})
	parts := func(m *metricName, of func(*E) []Part) {
		t := newTable()
		for i := range s.Queues {
			for _, p := range of(&s.Queues[i]) {
				t.combine(labels{s.Queues[i].Queue, p.Name}, float64(p.N), add)
			}
		}
		c.report(m, t)
	}
	parts(&queueMessages, func(e *E) []Part { return e.Messages })
	parts(&queueSettled, func(e *E) []Part { return e.Settled })
	parts(&queueAgain, func(e *E) []Part { return e.Redelivered })
	parts(&queueLetters, func(e *E) []Part { return e.DeadLetters })
	exchange := func(e *ExchangeStats) labels { return labels{e.Exchange} }
	field(c, &exchangeSent, s.Exchanges, add, exchange, func(e *ExchangeStats) int64 { return e.Published })
	field(c, &exchangeLost, s.Exchanges, add, exchange, func(e *ExchangeStats) int64 { return e.Unroutable })
}
