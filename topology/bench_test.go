package topology

import (
	"bytes"
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/keygroup"
	"github.com/troupestream/troupe/internal/watermark"
)

// nullEdge takes parcels and gives their batches back, as a receiver would.
type nullEdge struct {
	targets int
	link    dataflow.Link
	records int
}

func (e *nullEdge) Targets() int { return e.targets }

func (e *nullEdge) Send(_ int, p dataflow.Parcel) {
	if p.Batch != nil {
		e.records += p.Records
		e.link.Release(p.Batch)
	}
}

type nullSource[T any] struct{}

func (nullSource[T]) Splits(context.Context) ([]string, error) { return []string{"0"}, nil }
func (nullSource[T]) Open(context.Context, OpenRequest) (SourceReader[T], error) {
	return nil, context.Canceled
}

type nullSink[T any] struct{}

func (nullSink[T]) Info() SinkInfo { return SinkInfo{} }
func (nullSink[T]) Open(context.Context, SinkOpen) (SinkWriter[T], error) {
	return nil, context.Canceled
}

// firstTask builds a topology and returns the task that its source is in.
func firstTask(tb testing.TB, b *Builder) (*dataflow.Task, *nullEdge) {
	g, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := dataflow.NewPlan(g.Nodes(), 2, map[int]int{0: 1})
	if err != nil {
		tb.Fatal(err)
	}
	e := &nullEdge{}
	t, err := dataflow.NewTask(p, p.Chains[0], 0, dataflow.TaskOptions{
		Context: context.Background(), KeyGroups: keygroup.Default, BatchSize: 256, Now: time.Now, Origins: []string{"0"},
		Metrics: func(string) *dataflow.Metrics { return &dataflow.Metrics{} },
		Edge: func(w *dataflow.Wire) dataflow.Edge {
			e.targets, e.link = w.To.Parallelism, w.Link
			return e
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return t, e
}

// feed is b.N records in batches of 256, with times and marks or without.
func feed[T any](b *testing.B, t *dataflow.Task, timed bool, value func(i int) T) {
	batch := &dataflow.Batch[T]{}
	for i := range 256 {
		batch.Values = append(batch.Values, value(i))
		if timed {
			batch.Times, batch.Marks = append(batch.Times, int64(i)), append(batch.Marks, int64(i)-10)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 256 {
		if err := t.Deliver(0, 0, &dataflow.Parcel{Batch: batch, Records: 256, Watermark: watermark.Min}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkOperator(b *testing.B, build func(Stream[int64]) Stream[int64]) {
	for _, timed := range []bool{false, true} {
		b.Run("timed="+strconv.FormatBool(timed), func(b *testing.B) {
			bl := New("bench")
			To(build(From(bl, "in", nullSource[int64]{})), "out", nullSink[int64]{})
			t, _ := firstTask(b, bl)
			feed(b, t, timed, func(i int) int64 { return int64(i) })
		})
	}
}

// BenchmarkNothing is the way from a source to its sender alone, to be
// subtracted from the others.
func BenchmarkNothing(b *testing.B) {
	benchmarkOperator(b, func(s Stream[int64]) Stream[int64] { return s })
}

func BenchmarkMap(b *testing.B) {
	benchmarkOperator(b, func(s Stream[int64]) Stream[int64] {
		return Map(s, "map", func(v int64) int64 { return v + 1 })
	})
}

func BenchmarkFilter(b *testing.B) {
	benchmarkOperator(b, func(s Stream[int64]) Stream[int64] {
		return Filter(s, "filter", func(v int64) bool { return v >= 0 })
	})
}

func BenchmarkFlatMap(b *testing.B) {
	buf := make([]int64, 1)
	benchmarkOperator(b, func(s Stream[int64]) Stream[int64] {
		return FlatMap(s, "flat-map", func(v int64) []int64 { buf[0] = v; return buf })
	})
}

type click struct {
	User   uint32
	Action uint8
}

// parseClick is a cheap scan of `{"user":123,"action":1}`.
func parseClick(line []byte) click {
	var c click
	i := bytes.IndexByte(line, ':') + 1
	for ; line[i] >= '0' && line[i] <= '9'; i++ {
		c.User = c.User*10 + uint32(line[i]-'0')
	}
	c.Action = line[len(line)-2] - '0'
	return c
}

// BenchmarkChain is parse, filter, key and send, as one task does it.
func BenchmarkChain(b *testing.B) {
	bl := New("chain")
	lines := From(bl, "lines", nullSource[[]byte]{})
	clicks := Map(lines, "parse", parseClick)
	kept := Filter(clicks, "keep", func(c click) bool { return c.Action == 0 })
	keyed := KeyBy(kept, "by-user", func(c click) uint32 { return c.User })
	addNullKeyed(keyed)
	t, _ := firstTask(b, bl)
	feed(b, t, false, func(i int) []byte {
		return []byte(`{"user":` + strconv.Itoa(i*7919%1000) + `,"action":` + strconv.Itoa(i%2) + `}`)
	})
}

// addNullKeyed gives a keyed stream somebody to read it.
func addNullKeyed[K comparable, T any](s Keyed[K, T]) {
	o := add(s.b, "null", "null", dataflow.Operator, &settings{}, s.ref)
	To(output[T](o, ""), "out", nullSink[T]{})
}

func TestNoAllocationPerRecord(t *testing.T) {
	for name, bench := range map[string]func(*testing.B){"chain": BenchmarkChain} {
		r := testing.Benchmark(bench)
		if allocs := float64(r.MemAllocs) / float64(r.N); allocs > 0.02 {
			t.Errorf("%s: %.3f allocations a record", name, allocs)
		}
	}
}
