package actor

import (
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
)

const benchRecord = 100 // bytes of value

func benchTopic(b *testing.B, d Durability) *Topic {
	b.Helper()
	store, err := storage.Open(b.Context(), filepath.Join(b.TempDir(), "data"), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	return declare(b, logSystem(b, store), "bench", TopicConfig{Durability: d})
}

func benchRecords(n int) []codec.Record {
	rs := make([]codec.Record, n)
	value := make([]byte, benchRecord)
	for i := range rs {
		rs[i] = codec.Record{Value: value, Time: int64(i)}
	}
	return rs
}

// appendMany appends n records by several producers, in appends of a thousand.
func appendMany(b *testing.B, topic *Topic, producers, n int) {
	const each = 1000
	records := benchRecords(each)
	var left atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	for range producers {
		group.Go(func() {
			p := newProducer(b, topic, ProducerOptions{})
			failed := func(_ Ack, err error) {
				if err != nil {
					b.Error(err)
				}
			}
			for left.Add(-each) > -each {
				if err := p.AppendAsync(b.Context(), 0, records, failed); err != nil {
					b.Error(err)
					return
				}
			}
			if err := p.Close(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
}

func reportRecords(b *testing.B, n int) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mrec/s")
	b.SetBytes(benchRecord)
}

func BenchmarkLogAppend(b *testing.B) {
	for name, d := range map[string]Durability{"fsync": Fsync, "interval": Interval, "memory": Memory} {
		b.Run(name, func(b *testing.B) {
			topic := benchTopic(b, d)
			b.ReportAllocs()
			b.ResetTimer()
			appendMany(b, topic, 4, b.N)
			reportRecords(b, b.N)
		})
	}
}

func BenchmarkLogReplay(b *testing.B) {
	topic := benchTopic(b, Interval)
	appendMany(b, topic, 4, b.N)
	bounds, err := topic.Bounds(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	r := openReader(b, topic, 0, FromBeginning())
	var record codec.Record
	bytes := 0
	for r.Offset() < bounds.Next {
		batch, err := r.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for batch.Next(&record) {
			bytes += len(record.Value)
		}
	}
	reportRecords(b, b.N)
}

func BenchmarkLogLoneAppend(b *testing.B) {
	topic := benchTopic(b, Fsync)
	p := newProducer(b, topic, ProducerOptions{})
	records := benchRecords(1)
	took := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		if _, err := p.Append(b.Context(), 0, records); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}
