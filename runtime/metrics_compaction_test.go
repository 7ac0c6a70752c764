package runtime_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// What compaction does shows in the metrics, summed over a topic's partitions.
func TestMetricsOfCompaction(t *testing.T) {
	ctx, reader := within(t), metric.NewManualReader()
	e := open(t, filepath.Join(t.TempDir(), "data"), runtime.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	defer e.Close(ctx)
	topic, err := e.Declare(ctx, "prices", actor.TopicConfig{Partitions: 2, Compaction: actor.Compaction{Enabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	producer, err := topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close(ctx)
	var in, out, read, written int64
	for partition := range 2 {
		for i := range 10 { // a, b and c in turn, and the last is left alone
			r := actor.Record{Key: fmt.Append(nil, i%3), Value: []byte("x"), Time: actor.NoTime}
			if i%3 == 2 {
				r.Value = nil
			}
			if _, err := producer.Append(ctx, partition, []actor.Record{r}); err != nil {
				t.Fatal(err)
			}
		}
		info, err := topic.Compact(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		in, out = in+int64(info.RecordsBefore), out+int64(info.Records)
		read, written = read+int64(info.BytesBefore), written+int64(info.BytesAfter)
	}
	all := collect(ctx, t, reader)
	for name, want := range map[string]int64{"runs": 2, "failures": 0, "records.in": in, "records.out": out, "read": read, "written": written, "tombstones": 2} {
		if got := ofCompaction(metricOf(all, "troupe.compaction."+name)); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	took, ok := metricOf(all, "troupe.compaction.duration").(metricdata.Histogram[float64])
	if !ok || len(took.DataPoints) != 1 || took.DataPoints[0].Count != 2 {
		t.Errorf("the durations are %+v", took)
	}
	if in != 18 || out != 6 {
		t.Errorf("%d records were read and %d kept, want 18 and 6", in, out)
	}
}

// ofCompaction is the value of a metric of one topic; -1 if there is none.
func ofCompaction(data metricdata.Aggregation) int64 {
	var points []metricdata.DataPoint[int64]
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		points = d.DataPoints
	case metricdata.Gauge[int64]:
		points = d.DataPoints
	}
	if len(points) != 1 {
		return -1
	}
	return points[0].Value
}
