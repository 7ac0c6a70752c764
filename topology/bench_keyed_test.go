package topology

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/keygroup"
)

// nullReader takes what an operator gives.
type nullReader[T any] struct{ records int }

func (r *nullReader[T]) Receive(b *dataflow.Batch[T]) error { r.records += len(b.Values); return nil }
func (r *nullReader[T]) Watermark(int64, bool) error        { return nil }

// benchKeyed feeds the last operator of a topology with b.N records of 1,000
// string keys, in batches of 256; one millisecond passes per batch.
func benchKeyed[O any](b *testing.B, build func(Keyed[string, int64]) Stream[O]) {
	bl := New("bench")
	source := From(bl, "in", nullSource[int64]{})
	build(KeyBy(source, "by-key", func(int64) string { return "" }))
	env := &dataflow.Env{Context: context.Background(), KeyGroups: keygroup.Default, Tasks: 1, BatchSize: 256, Now: time.Now,
		Groups: keygroup.Range{First: 0, End: keygroup.Default}, Metrics: &dataflow.Metrics{}}
	op, err := bl.nodes[len(bl.nodes)-1].NewInstance(env)
	if err != nil {
		b.Fatal(err)
	}
	out := &nullReader[O]{}
	if err := op.Connect(0, out); err != nil {
		b.Fatal(err)
	}
	in, batches := op.Input(0).(dataflow.KeyedReceiver[string, int64]), benchBatches()
	for _, batch := range batches { // all keys are there before the clock starts
		if err := in.ReceiveKeyed(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n, i := 0, 0; n < b.N; n, i = n+256, i+1 {
		batch := batches[i%len(batches)]
		for j := range batch.Times {
			batch.Times[j], batch.Marks[j] = int64(i), int64(i)-100
		}
		if err := in.ReceiveKeyed(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(out.records)/float64(b.N), "out/record")
}

func benchBatches() (batches []*dataflow.KeyedBatch[string, int64]) {
	hash, _ := codec.Hasher[string]()
	for i := range 64 {
		batch := &dataflow.KeyedBatch[string, int64]{}
		for j := range 256 {
			key := fmt.Sprintf("user-%04d", (i*256+j)*7919%1000)
			batch.Append(1, 0, 0)
			batch.Keys, batch.Hashes = append(batch.Keys, key), append(batch.Hashes, hash(key))
		}
		batches = append(batches, batch)
	}
	return batches
}

func BenchmarkFold(b *testing.B) {
	benchKeyed(b, func(s Keyed[string, int64]) Stream[int64] {
		return Fold(s, "fold", func(_ string, n, v int64) int64 { return n + v })
	})
}

func BenchmarkWindowFold(b *testing.B) {
	for name, w := range map[string]Windows{"tumbling": Tumbling(time.Second), "sliding": Sliding(time.Second, 200*time.Millisecond)} {
		b.Run(name, func(b *testing.B) {
			benchKeyed(b, func(s Keyed[string, int64]) Stream[Window[string, int64]] {
				out, _ := WindowFold(s, "window", w, func(_ string, n, v int64) int64 { return n + v })
				return out
			})
		})
	}
}

func BenchmarkProcess(b *testing.B) {
	benchKeyed(b, func(s Keyed[string, int64]) Stream[int64] {
		return Process(s, "process", func(p *Processor[string, int64, int64]) {
			count := ValueOf[int64](p, "count")
			p.OnRecord(func(v int64) {
				count.Set(count.Get() + v)
				p.Emit(count.Get())
			})
		})
	})
}

func TestKeyedOperatorsDoNotAllocatePerRecord(t *testing.T) {
	for name, bench := range map[string]func(*testing.B){"fold": BenchmarkFold, "process": BenchmarkProcess} {
		r := testing.Benchmark(bench)
		if allocs := float64(r.MemAllocs) / float64(r.N); allocs > 0.02 {
			t.Errorf("%s: %.3f allocations a record", name, allocs)
		}
	}
}
