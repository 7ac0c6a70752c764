package topology

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
)

// rowed is a record with what its batch knows about it.
type rowed struct {
	value, time, mark int64
	trace             byte // 0: none
}

// keeper is an Edge that keeps the rows that are sent.
type keeper struct{ rows []rowed }

func (k *keeper) Targets() int { return 1 }

func (k *keeper) Send(_ int, p dataflow.Parcel) {
	if p.Batch == nil {
		return
	}
	b := p.Batch.(*Batch[int64])
	for i, v := range b.Values {
		r := rowed{value: v, time: b.Times[i], mark: b.Marks[i]}
		for _, t := range b.Traces {
			if t.Index == i {
				r.trace = t.Context.Flags
			}
		}
		k.rows = append(k.rows, r)
	}
}

// TestOperatorsKeepColumnsWithTheirRecords sends a batch through every
// stateless operator, with records that panic in between.
func TestOperatorsKeepColumnsWithTheirRecords(t *testing.T) {
	skip := OnError(Retry(1, 0), Skip())
	touchy := func(v int64) int64 {
		if v%5 == 0 {
			panic("five")
		}
		return v
	}
	// Each operator gives a record as often as the value says.
	operators := map[string]struct {
		build func(Stream[int64]) Stream[int64]
		times func(v int64) int
	}{
		"map": {
			func(s Stream[int64]) Stream[int64] { return Map(s, "op", touchy, skip) },
			func(v int64) int { return min(int(v%5), 1) },
		},
		"filter": {
			func(s Stream[int64]) Stream[int64] {
				return Filter(s, "op", func(v int64) bool { return touchy(v)%2 == 0 }, skip)
			},
			func(v int64) int {
				if v%2 == 0 && v%5 != 0 {
					return 1
				}
				return 0
			},
		},
		"flat-map": {
			func(s Stream[int64]) Stream[int64] {
				return FlatMap(s, "op", func(v int64) []int64 { return slices.Repeat([]int64{touchy(v)}, int(v%3)) }, skip)
			},
			func(v int64) int { return int(v%3) * min(int(v%5), 1) },
		},
		"try": {
			func(s Stream[int64]) Stream[int64] {
				ok, failed := Try(s, "op", func(v int64) (int64, error) { return touchy(v), nil }, skip)
				To(failed, "failed", nullSink[Failed[int64]]{})
				return ok
			},
			func(v int64) int { return min(int(v%5), 1) },
		},
		"split and merge": {
			func(s Stream[int64]) Stream[int64] {
				parts := Split(s, "op", func(v int64) bool { return v >= 0 })
				return Merge(parts[0], "merge", parts[1])
			},
			func(int64) int { return 1 },
		},
	}
	for name, op := range operators {
		rapid.Check(t, func(t *rapid.T) {
			b := New("columns")
			To(op.build(From(b, "in", nullSource[int64]{})), "out", nullSink[int64]{})
			task, out := keptTask(t, b)
			var want []rowed
			for range rapid.IntRange(1, 3).Draw(t, "batches") {
				batch := &Batch[int64]{}
				for i := range rapid.IntRange(1, 10).Draw(t, "records") {
					r := rowed{rapid.Int64Range(0, 30).Draw(t, "value"), int64(i) * 7, int64(i) * 3,
						rapid.ByteRange(0, 2).Draw(t, "trace")}
					batch.Append(r.value, r.time, r.mark)
					if r.trace != 0 {
						batch.Traces = append(batch.Traces, dataflow.Trace{Index: i, Context: dataflow.TraceContext{Flags: r.trace}})
					}
					if name == "split and merge" {
						r.mark = watermark.Min // all that the other branch allows for
					}
					for range op.times(r.value) {
						want = append(want, r)
					}
				}
				if err := task.Deliver(0, 0, &dataflow.Parcel{Batch: batch, Watermark: watermark.Min}); err != nil {
					t.Fatal(err)
				}
			}
			task.Flush()
			if !slices.Equal(out.rows, want) {
				t.Fatalf("%s: %v, want %v", name, out.rows, want)
			}
		})
	}
}

// keptTask is the task of a topology's source, and where its last node sends to.
func keptTask(t *rapid.T, b *Builder) (*dataflow.Task, *keeper) {
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p, err := dataflow.NewPlan(g.Nodes(), 1, map[int]int{0: 1})
	if err != nil {
		t.Fatal(err)
	}
	out := &keeper{}
	task, err := dataflow.NewTask(p, p.Chains[0], 0, dataflow.TaskOptions{
		KeyGroups: 8, BatchSize: 4, Origins: []string{"0"},
		Metrics: func(string) *dataflow.Metrics { return &dataflow.Metrics{} },
		Edge: func(w *dataflow.Wire) dataflow.Edge {
			if w.To.Sink.Name == "out" {
				return out
			}
			return &nullEdge{targets: 1, link: w.Link}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return task, out
}
