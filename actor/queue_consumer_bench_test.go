package actor

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// Messages through a queue's state machine, a consumer and its handler, without logs and
// journals: each is acknowledged singly.
func BenchmarkQueueConsumer(b *testing.B) {
	for _, prefetch := range []int{32, 256, 2048} {
		for _, concurrency := range []int{1, 4} {
			b.Run(fmt.Sprintf("prefetch=%d/concurrency=%d", prefetch, concurrency), func(b *testing.B) {
				f := fakes(b, queue.Config{})
				f.forget = true
				benchmarkConsumer(b, f, ConsumeOptions{Prefetch: prefetch, Concurrency: concurrency})
			})
		}
	}
}

func benchmarkConsumer(b *testing.B, f *fakeQueue, o ConsumeOptions) {
	var n atomic.Int64
	var bytes atomic.Int64
	done := make(chan struct{})
	total := int64(b.N)
	e := envelope.Envelope{Queues: []uint32{1}, Exchange: "orders", RoutingKey: "orders.created"}
	var section codec.Section
	for range 512 {
		r := enveloped(e, string(make([]byte, 100)))
		section.Add(&r)
	}
	data, err := codec.AppendBatch(nil, &codec.BatchInfo{}, []codec.Section{section})
	if err != nil {
		b.Fatal(err)
	}
	p, err := newPage(1, data)
	if err != nil {
		b.Fatal(err)
	}
	total = (total + 511) / 512 * 512
	b.ReportAllocs()
	b.ResetTimer()
	f.consume(o, func(_ context.Context, d *QueueDelivery) error {
		bytes.Add(int64(len(d.Body())))
		if n.Add(1) == total {
			close(done)
		}
		return nil
	})
	for range total / 512 {
		if _, err := Ask[queueDone](testContext(b), f.sys, f.pid, fakePages{p}); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
