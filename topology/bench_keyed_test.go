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

// keyedOperator is the last operator of a topology at work.
func keyedOperator[O any](tb testing.TB, build func(Keyed[string, int64]) Stream[O]) (dataflow.KeyedReceiver[string, int64], *nullReader[O]) {
	b := New("bench")
	source := From(b, "in", nullSource[int64]{})
	build(KeyBy(source, "by-key", func(int64) string { return "" }))
	env := &dataflow.Env{Context: context.Background(), KeyGroups: keygroup.Default, Tasks: 1, BatchSize: 256, Now: time.Now,
		Groups: keygroup.Range{First: 0, End: keygroup.Default}, Metrics: &dataflow.Metrics{}}
	op, err := b.nodes[len(b.nodes)-1].NewInstance(env)
	if err != nil {
		tb.Fatal(err)
	}
	out := &nullReader[O]{}
	if err := op.Connect(0, out); err != nil {
		tb.Fatal(err)
	}
	return op.Input(0).(dataflow.KeyedReceiver[string, int64]), out
}

// keyedFeed gives an operator records of 1,000 string keys in batches of 256.
// One millisecond of event time passes with each.
type keyedFeed struct {
	to      dataflow.KeyedReceiver[string, int64]
	batches []*dataflow.KeyedBatch[string, int64]
	sent    int64
}

func (f *keyedFeed) send(tb testing.TB) {
	b := f.batches[int(f.sent)%len(f.batches)]
	for j := range b.Times {
		b.Times[j], b.Marks[j] = f.sent, f.sent-100
	}
	f.sent++
	if err := f.to.ReceiveKeyed(b); err != nil {
		tb.Fatal(err)
	}
}

// newKeyedFeed has all keys in place already.
func newKeyedFeed(tb testing.TB, to dataflow.KeyedReceiver[string, int64]) *keyedFeed {
	f := &keyedFeed{to: to, batches: benchBatches()}
	for range f.batches {
		f.send(tb)
	}
	return f
}

func benchKeyed[O any](b *testing.B, build func(Keyed[string, int64]) Stream[O]) {
	op, _ := keyedOperator(b, build)
	f := newKeyedFeed(b, op)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 256 {
		f.send(b)
	}
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

func benchFold(s Keyed[string, int64]) Stream[int64] {
	return Fold(s, "fold", func(_ string, n, v int64) int64 { return n + v })
}

func benchWindow(w Windows) func(Keyed[string, int64]) Stream[Window[string, int64]] {
	return func(s Keyed[string, int64]) Stream[Window[string, int64]] {
		out, _ := WindowFold(s, "window", w, func(_ string, n, v int64) int64 { return n + v })
		return out
	}
}

func benchProcess(s Keyed[string, int64]) Stream[int64] {
	return Process(s, "process", func(p *Processor[string, int64, int64]) {
		count := ValueOf[int64](p, "count")
		p.OnRecord(func(v int64) {
			count.Set(count.Get() + v)
			p.Emit(count.Get())
		})
	})
}

func BenchmarkFold(b *testing.B)       { benchKeyed(b, benchFold) }
func BenchmarkWindowFold(b *testing.B) { benchKeyed(b, benchWindow(Tumbling(time.Second))) }
func BenchmarkSlidingWindow(b *testing.B) {
	benchKeyed(b, benchWindow(Sliding(time.Second, 200*time.Millisecond)))
}
func BenchmarkProcess(b *testing.B) { benchKeyed(b, benchProcess) }

func TestKeyedOperatorsDoNotAllocatePerRecord(t *testing.T) {
	fold, _ := keyedOperator(t, benchFold)
	windows, _ := keyedOperator(t, benchWindow(Tumbling(time.Minute)))
	process, _ := keyedOperator(t, benchProcess)
	for name, op := range map[string]dataflow.KeyedReceiver[string, int64]{"fold": fold, "window": windows, "process": process} {
		f := newKeyedFeed(t, op)
		if n := testing.AllocsPerRun(200, func() { f.send(t) }); n > 1 {
			t.Errorf("%s: %v allocations for 256 records", name, n)
		}
	}
}
