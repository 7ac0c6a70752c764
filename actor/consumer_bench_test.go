package actor

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// BenchmarkConsume hands records of 100 bytes to a handler that does nothing, from
// one partition, out of memory: it is what a consumer costs by itself.
func BenchmarkConsume(b *testing.B) {
	for _, k := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("workers=%d", k), func(b *testing.B) {
			s := logSystem(b, storagefake.New())
			topic := declare(b, s, "orders", TopicConfig{})
			p := newProducer(b, topic, ProducerOptions{})
			batch := make([]Record, 1000)
			for i := range batch {
				batch[i] = Record{Key: fmt.Appendf(nil, "key-%d", i%100), Value: make([]byte, 100), Time: NoTime}
			}
			for n := 0; n < b.N; n += len(batch) {
				if _, err := p.Append(context.Background(), 0, batch); err != nil {
					b.Fatal(err)
				}
			}
			var count atomic.Int64
			done := make(chan struct{})
			b.ReportAllocs()
			b.ResetTimer()
			c := startConsumer(b, s, ConsumerOptions{Concurrency: k}, func(context.Context, *Delivery) error {
				if count.Add(1) == int64(b.N) {
					close(done)
				}
				return nil
			})
			<-done
			b.StopTimer()
			if err := c.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
