package actor

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
)

// Messages of 100 bytes from publishers to handlers: confirmed when they are on the disk,
// and acknowledged one by one.
func BenchmarkQueueEndToEnd(b *testing.B) {
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprintf("%d+%d", n, n), func(b *testing.B) { benchEndToEnd(b, n) })
	}
}

func benchEndToEnd(b *testing.B, n int) {
	store := must[storage.Store](b)(storage.Open(b.Context(), filepath.Join(b.TempDir(), "data"), storage.Options{}))
	b.Cleanup(func() { store.Close() })
	s := logSystem(b, store)
	q := must[*Queue](b)(s.DeclareQueue(b.Context(), "bench", QueueConfig{}))
	var handled atomic.Int64
	all := make(chan struct{})
	handler := func(context.Context, *QueueDelivery) error {
		if handled.Add(1) == int64(b.N) {
			close(all)
		}
		return nil
	}
	for range n {
		c := must[*QueueConsumer](b)(q.Consume(b.Context(), ConsumeOptions{Prefetch: 8192}, handler))
		b.Cleanup(func() { mustDo(b, c.Close(testContext(b))) })
	}
	x := must[*Exchange](b)(s.Exchange(b.Context(), ""))
	p := must[*ExchangePublisher](b)(x.NewPublisher(b.Context(), ExchangePublisherOptions{}))
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	ctx := b.Context()
	for i := range n {
		group.Go(func() {
			m := &Message{RoutingKey: "bench", Body: make([]byte, benchRecord)}
			done := func(_ Confirmation, err error) {
				if err != nil {
					b.Error(err)
				}
			}
			for range b.N/n + min(max(b.N%n-i, 0), 1) {
				if err := p.PublishFunc(ctx, m, done); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	mustDo(b, p.Flush(b.Context()))
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	mustDo(b, p.Close(b.Context()))
}
