package actor

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// benchBed is an exchange with some queues bound, which index what is published at once.
func benchBed(b testing.TB, store storage.Store, queues int) (*ExchangePublisher, []*queueInfo) {
	s := idleQueues(b, logSystem(b, store))
	all := make([]*queueInfo, queues)
	x := must[*Exchange](b)(s.DeclareExchange(b.Context(), "bench", ExchangeConfig{Type: TopicExchange, Retention: Retention{Records: 100_000}}))
	for i := range all {
		all[i] = must[*queueInfo](b)(s.declareQueue(b.Context(), fmt.Sprint("q", i), QueueConfig{}))
		mustDo(b, s.Bind(b.Context(), Binding{Exchange: "bench", Queue: fmt.Sprint("q", i), RoutingKey: "order.*"}))
	}
	return must[*ExchangePublisher](b)(x.NewPublisher(b.Context(), ExchangePublisherOptions{})), all
}

// index does what queues do when they have taken what was published.
func index(all []*queueInfo, n int) {
	for _, q := range all {
		q.admission.indexed(n, int64(n*benchRecord), queue.Counter{})
	}
}

// One goroutine publishes messages of 100 bytes and is told of each.
func BenchmarkExchangePublish(b *testing.B) {
	for _, on := range []string{"disk", "memory"} {
		for _, queues := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/queues=%d", on, queues), func(b *testing.B) {
				var store storage.Store = storagefake.New()
				if on == "disk" {
					store = must[storage.Store](b)(storage.Open(b.Context(), filepath.Join(b.TempDir(), "data"), storage.Options{}))
					b.Cleanup(func() { store.Close() })
				}
				p, all := benchBed(b, store, queues)
				m := &Message{RoutingKey: "order.created", Body: make([]byte, benchRecord)}
				var confirmed atomic.Int64
				done := func(c Confirmation, err error) {
					if err != nil || c.Queues != queues {
						b.Error(c, err)
					}
					confirmed.Add(1)
				}
				ctx := b.Context()
				must[Confirmation](b)(p.PublishSync(ctx, m))
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					if err := p.PublishFunc(ctx, m, done); err != nil {
						b.Fatal(err)
					}
					if i%1000 == 999 {
						index(all, 1000)
					}
				}
				mustDo(b, p.Flush(b.Context()))
				b.StopTimer()
				if int(confirmed.Load()) != b.N {
					b.Errorf("%d of %d were confirmed", confirmed.Load(), b.N)
				}
				mustDo(b, p.Close(b.Context()))
			})
		}
	}
}

// A message costs no memory of its own: what is allocated is that of batches.
func TestPublishingAllocatesByTheBatch(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector empties the pools")
	}
	p, all := benchBed(t, storagefake.New(), 3)
	m := &Message{RoutingKey: "order.created", Body: make([]byte, benchRecord), Headers: []MessageHeader{HeaderText("a", "b"), HeaderInt("n", 5)}}
	ctx, done := testContext(t), func(Confirmation, error) {}
	publish := func() {
		for range 1000 {
			mustDo(t, p.PublishFunc(ctx, m, done))
		}
		mustDo(t, p.Flush(ctx))
		index(all, 1000)
	}
	publish()
	if n := testing.AllocsPerRun(5, publish); n > 1000 {
		t.Errorf("%v allocations for 1,000 messages", n)
	}
	mustDo(t, p.Close(testContext(t)))
}
