package actor

import (
	"testing"
)

// BenchmarkBacklog builds a backlog of messages of 100 bytes and drains it, one
// acknowledgement each; heap-MB is at its highest point. Try -benchtime 5000000x.
func BenchmarkBacklog(b *testing.B) {
	const step = 5000
	n := max(b.N/step, 1) * step
	ctx := b.Context()
	q, add := backlog(b, PageCacheBytes)
	b.ResetTimer()
	add(n)
	built := b.Elapsed()
	b.StopTimer()
	b.ReportMetric(float64(heap())/(1<<20), "heap-MB")
	b.StartTimer()
	c := must[*QueueConsumer](b)(q.Subscribe(ctx, ConsumeOptions{Prefetch: 500}))
	into := make([]*QueueDelivery, 500)
	for left := n; left > 0; {
		got := must[int](b)(c.NextBatch(ctx, into))
		for _, d := range into[:got] {
			mustDo(b, d.Ack())
		}
		left -= got
	}
	eventually(b, "all to be settled", func() bool { return must[QueueStats](b)(q.Stats(ctx)).Live == 0 })
	b.ReportMetric(float64(n)/built.Seconds(), "built/s")
	b.ReportMetric(float64(n)/(b.Elapsed()-built).Seconds(), "drained/s")
}
