package telemetry

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

var now = time.UnixMilli(1_000_000)

// busy is a snapshot in which every metric has a value.
func busy() Snapshot {
	return Snapshot{
		Now: now,
		Operators: []OperatorStats{
			{Job: "quakes", Operator: "parse", In: 10, Out: 8, Watermark: 900_000, Lag: 5, Keys: 1, Late: 1},
			{Job: "quakes", Operator: "parse", In: 30, Out: 20, Watermark: 700_000, Lag: 7, Keys: 2, Skipped: 2},
			{Job: "quakes", Operator: "count", In: 4, Watermark: math.MinInt64, Lag: -1},
			{Job: "quakes", Operator: "write", In: 4, Watermark: math.MaxInt64, Lag: -1},
		},
		Mailboxes: []MailboxStats{{Job: "quakes", Kind: "stage", Depth: 3, Bytes: 100},
			{Job: "quakes", Kind: "stage", Depth: 9, Bytes: 50}},
		Edges:  []EdgeStats{{Job: "quakes", Edge: "parse-count", Credit: 100, Waiting: 12}},
		Jobs:   []JobStats{{Job: "quakes", Restarts: 2, CheckpointBytes: 4096, Checkpoint: now.Add(-3 * time.Second)}, {Job: "new"}, {Job: "over", CheckpointBytes: 7}},
		Topics: []TopicStats{{Topic: "orders", Appends: 2, Bytes: 10}, {Topic: "orders", Appends: 3, Bytes: 20}},
		Compacted: []CompactionStats{{Topic: "orders", Runs: 3, Failures: 1, RecordsIn: 50, RecordsOut: 20, Read: 900, Written: 300, Tombstones: 4},
			{Topic: "orders", Tombstones: 2}},
		Partitions: []PartitionStats{{Topic: "orders", Partition: 1, EndOffset: 77}},
		Groups:     []GroupStats{{Group: "cooks", Retries: 9, DeadLetters: 2, Skipped: 1, Parked: 5, Waiting: 3, Replayed: 8}},
		Consumed: []ConsumedStats{{Group: "cooks", Topic: "orders", Lag: 10, ParkedKeys: 1, Stalled: true}, {Group: "cooks", Topic: "orders", Lag: 7, ParkedKeys: 2},
			{Group: "waiters", Topic: "orders", Lag: -1}},
		Queues: []QueueStats{{Queue: "emails", Messages: []Part{{"ready", 7}, {"in_flight", 2}}, Bytes: 900, Consumers: 3, Oldest: 996_000,
			Published: 60, Delivered: 55, Settled: []Part{{"acked", 50}, {"dead", 1}}, Redelivered: []Part{{"failed", 4}}, DeadLetters: []Part{{"rejected", 1}}},
			{Queue: "idle"}},
		Exchanges: []ExchangeStats{{Exchange: "orders", Published: 61, Unroutable: 5}},
	}
}

func recordAll(i *Instruments) {
	i.CheckpointCompleted("quakes", 20*time.Millisecond)
	i.CheckpointFailed("quakes", "timeout")
	i.MailboxRefused("quakes", "stage")
	i.Aligned("quakes", time.Millisecond)
	i.Appended("orders", 60*time.Microsecond)
	i.Compacted("orders", 2*time.Second)
}

// collect returns one line per data point: "name{label=value,…}" → value.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	points := map[string]float64{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			addPoints(points, m)
		}
	}
	return points
}

func addPoints(points map[string]float64, m metricdata.Metrics) {
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			points[m.Name+series(p)] = float64(p.Value)
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			points[m.Name+series(p)] = float64(p.Value)
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			points[m.Name+series(p)] = p.Value
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			points[fmt.Sprint(m.Name, " sum ", p.Attributes.Encoded(encoder))] = p.Sum
		}
	}
}

func TestInstruments(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	i, err := NewInstruments(provider.Meter(Scope), busy)
	if err != nil {
		t.Fatal(err)
	}
	recordAll(i)
	got := collect(t, reader)
	for name, want := range map[string]float64{
		"troupe.operator.records.in{job=quakes,operator=parse}":        40, // summed over tasks
		"troupe.operator.records.out{job=quakes,operator=parse}":       28,
		"troupe.operator.keys{job=quakes,operator=parse}":              3,
		"troupe.late_records{job=quakes,operator=parse}":               1,
		"troupe.skipped_records{job=quakes,operator=parse}":            2,
		"troupe.operator.watermark{job=quakes,operator=parse}":         700, // of the slowest task
		"troupe.operator.watermark.lag{job=quakes,operator=parse}":     300,
		"troupe.source.lag{job=quakes,operator=parse}":                 12,
		"troupe.mailbox.depth{job=quakes,kind=stage}":                  9, // of the fullest
		"troupe.mailbox.size{job=quakes,kind=stage}":                   150,
		"troupe.mailbox.refusals{job=quakes,kind=stage}":               1,
		"troupe.edge.credit{edge=parse-count,job=quakes}":              100,
		"troupe.edge.waiting{edge=parse-count,job=quakes}":             12,
		"troupe.job.restarts{job=quakes}":                              2,
		"troupe.checkpoint.size{job=quakes}":                           4096,
		"troupe.checkpoint.age{job=quakes}":                            3,
		"troupe.checkpoint.size{job=over}":                             7,
		"troupe.checkpoint.failures{job=quakes,reason=timeout}":        1,
		"troupe.checkpoint.duration sum job=quakes":                    0.02,
		"troupe.checkpoint.alignment.duration sum job=quakes":          0.001,
		"troupe.log.append.duration sum topic=orders":                  60e-6,
		"troupe.log.appends{topic=orders}":                             5,
		"troupe.log.written{topic=orders}":                             30,
		"troupe.compaction.runs{topic=orders}":                         3,
		"troupe.compaction.failures{topic=orders}":                     1,
		"troupe.compaction.records.in{topic=orders}":                   50,
		"troupe.compaction.records.out{topic=orders}":                  20,
		"troupe.compaction.read{topic=orders}":                         900,
		"troupe.compaction.written{topic=orders}":                      300,
		"troupe.compaction.tombstones{topic=orders}":                   6, // of all partitions
		"troupe.compaction.duration sum topic=orders":                  2,
		"troupe.consumer.replayed_records{group=cooks}":                8,
		"troupe.partition.end_offset{partition=1,topic=orders}":        77,
		"troupe.consumer.lag{group=cooks,topic=orders}":                17,
		"troupe.consumer.parked_keys{group=cooks,topic=orders}":        3,
		"troupe.consumer.stalled_partitions{group=cooks,topic=orders}": 1,
		"troupe.consumer.parked_records{group=cooks}":                  5,
		"troupe.consumer.retries{group=cooks}":                         9,
		"troupe.consumer.retries.waiting{group=cooks}":                 3,
		"troupe.consumer.dead_letters{group=cooks}":                    2,
		"troupe.consumer.skipped_records{group=cooks}":                 1,
		"troupe.telemetry.dropped_series{}":                            0,
		"troupe.queue.messages{queue=emails,state=ready}":              7,
		"troupe.queue.messages{queue=emails,state=in_flight}":          2,
		"troupe.queue.size{queue=emails}":                              900,
		"troupe.queue.oldest_age{queue=emails}":                        4,
		"troupe.queue.oldest_age{queue=idle}":                          0,
		"troupe.queue.consumers{queue=emails}":                         3,
		"troupe.queue.published{queue=emails}":                         60,
		"troupe.queue.delivered{queue=emails}":                         55,
		"troupe.queue.settled{outcome=acked,queue=emails}":             50,
		"troupe.queue.settled{outcome=dead,queue=emails}":              1,
		"troupe.queue.redelivered{cause=failed,queue=emails}":          4,
		"troupe.queue.dead_letters{queue=emails,reason=rejected}":      1,
		"troupe.exchange.published{exchange=orders}":                   61,
		"troupe.exchange.unroutable{exchange=orders}":                  5,
	} {
		if v, ok := got[name]; !ok || math.Abs(v-want) > 1e-9 {
			t.Errorf("%s = %v (present: %v), want %v", name, v, ok, want)
		}
	}
	for _, absent := range []string{
		"troupe.operator.watermark{job=quakes,operator=count}", "troupe.operator.watermark{job=quakes,operator=write}",
		"troupe.consumer.lag{group=waiters,topic=orders}",
		"troupe.source.lag{job=quakes,operator=count}", "troupe.checkpoint.age{job=new}", "troupe.checkpoint.age{job=over}", "troupe.checkpoint.size{job=new}",
	} {
		if v, ok := got[absent]; ok {
			t.Errorf("%s = %v, should not be reported", absent, v)
		}
	}
}

func TestClosedInstrumentsCollectNothing(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	calls := 0
	i, err := NewInstruments(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter(Scope),
		func() Snapshot { calls++; return busy() })
	if err != nil {
		t.Fatal(err)
	}
	collect(t, reader)
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, reader); calls != 1 || len(got) != 0 {
		t.Errorf("%d snapshots taken, %d points after Close", calls, len(got))
	}
}

func TestSeriesAreBounded(t *testing.T) {
	var s Snapshot
	for i := range MaxSeries + 50 {
		// Twice each: what is left out must be counted once.
		s.Partitions = append(s.Partitions, PartitionStats{Topic: "t", Partition: i}, PartitionStats{Topic: "t", Partition: i})
	}
	reader := sdkmetric.NewManualReader()
	if _, err := NewInstruments(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter(Scope),
		func() Snapshot { return s }); err != nil {
		t.Fatal(err)
	}
	got := collect(t, reader)
	if n := got["troupe.telemetry.dropped_series{}"]; n != 50 {
		t.Errorf("%v series reported as dropped, want 50", n)
	}
	if len(got) != MaxSeries+1 {
		t.Errorf("%d series, want %d", len(got), MaxSeries+1)
	}
}

func TestOffCostsNothing(t *testing.T) {
	var telemetry *Telemetry
	tracer := telemetry.Tracer()
	instruments, err := telemetry.Instruments(busy)
	if err != nil || tracer != nil || instruments != nil {
		t.Fatal("nil telemetry is not off")
	}
	site, sampler := tracer.Site(Process, Place{Operator: "x"}), tracer.Sampler(1)
	messaging, err := telemetry.Messaging()
	if err != nil || messaging != nil {
		t.Fatal("nil telemetry has metrics")
	}
	meter := messaging.Topic("orders")
	traces := contexts(3)
	allocs := testing.AllocsPerRun(100, func() {
		sampler.Sample(site, nil, 256, 0)
		site.Start(256, traces).End(nil)
		site.Past(256, &Links{}, now, now)
		began := meter.Now()
		meter.Sent(256, began, nil)
		meter.Received(256, began, nil)
		meter.Delivered(256)
		meter.Processed(began, nil)
		meter.Settled(began, began)
		instruments.CheckpointCompleted("j", 1)
		instruments.Appended("t", 1)
		instruments.Compacted("t", 1)
		instruments.Aligned("j", 1)
		instruments.CheckpointFailed("j", "timeout")
	})
	if allocs != 0 {
		t.Errorf("%v allocations per batch when off", allocs)
	}
	if err := instruments.Close(); err != nil {
		t.Error(err)
	}
	if err := telemetry.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
