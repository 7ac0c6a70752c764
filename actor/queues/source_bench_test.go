package queues

import (
	"testing"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/topology"
)

// BenchmarkSource reads messages of 100 bytes or so, over a store in memory, with a complete
// checkpoint whenever half of what may be in hand is read.
func BenchmarkSource(b *testing.B) {
	ctx, sys := engineFor(b)
	bed := newBed(ctx, b, sys, actor.QueueConfig{})
	body := bed.encoded(nth(39))
	for range b.N {
		if _, err := bed.to.Publish(ctx, &actor.Message{RoutingKey: bed.tasks.name, Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	if err := bed.to.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	r, s := bed.open(nil)
	batch := new(topology.Batch[task])
	b.ReportAllocs()
	b.ResetTimer()
	for read, since := 0, 0; read < b.N; {
		batch.Values, batch.Times = batch.Values[:0], batch.Times[:0]
		if err := r.Read(ctx, batch, 512); err != nil {
			b.Fatal(err)
		}
		position := r.Position()
		read, since = read+batch.Len(), since+batch.Len()
		if since >= r.enough {
			since = 0
			bed.report(s, position)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
