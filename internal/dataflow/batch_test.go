package dataflow

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// row is a record with all its columns, as a naive batch would hold it.
type row struct {
	value      int
	time, mark int64
	trace      byte // 0: none
}

func drawBatch(t *rapid.T) (*Batch[int], []row) {
	b := &Batch[int]{}
	n := rapid.IntRange(0, 12).Draw(t, "n")
	times, marks := rapid.Bool().Draw(t, "times"), rapid.Bool().Draw(t, "marks")
	for i := range n {
		b.Values = append(b.Values, i*10)
		if times {
			b.Times = append(b.Times, int64(i)*7)
		}
		if marks {
			b.Marks = append(b.Marks, int64(i)*3)
		}
		if rapid.IntRange(0, 3).Draw(t, "trace") == 0 {
			b.Traces = append(b.Traces, Trace{Index: i, Context: TraceContext{Flags: byte(i + 1)}})
		}
	}
	return b, rows(b)
}

func rows(b *Batch[int]) (all []row) {
	for i, v := range b.Values {
		r := row{v, NoTime, NoTime, 0}
		if len(b.Times) > 0 {
			r.time = b.Times[i]
		}
		if len(b.Marks) > 0 {
			r.mark = b.Marks[i]
		}
		for _, t := range b.Traces {
			if t.Index == i {
				r.trace = t.Context.Flags
			}
		}
		all = append(all, r)
	}
	return all
}

func TestSliceGatherAndAppendKeepRowsTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, all := drawBatch(t)
		first := rapid.IntRange(0, len(all)).Draw(t, "first")
		end := rapid.IntRange(first, len(all)).Draw(t, "end")

		sliced := &Batch[int]{Columns: b.Slice(first, end), Values: b.Values[first:end]}
		if got := rows(sliced); !slices.Equal(got, all[first:end]) {
			t.Fatalf("slice: %v, want %v", got, all[first:end])
		}

		gathered, appended := &Batch[int]{}, &Batch[int]{}
		gathered.Times = append(gathered.Times, 99) // from an earlier use
		var chosen []int32
		var want []row
		for i, r := range all {
			for range rapid.IntRange(0, 2).Draw(t, "times over") {
				chosen, want = append(chosen, int32(i)), append(want, r)
				gathered.Values = append(gathered.Values, r.value)
				appended.AppendFrom(&b.Columns, i, r.value)
			}
		}
		gathered.Gather(&b.Columns, chosen)
		if got := rows(gathered); !slices.Equal(got, want) {
			t.Fatalf("gather: %v, want %v", got, want)
		}
		if got := rows(appended); !slices.Equal(got, want) {
			t.Fatalf("append: %v, want %v", got, want)
		}
		n := rapid.IntRange(0, len(want)).Draw(t, "keep")
		appended.Truncate(n)
		if got := rows(appended); !slices.Equal(got, want[:n]) {
			t.Fatalf("truncate: %v, want %v", got, want[:n])
		}
		if got := rows(b); !slices.Equal(got, all) {
			t.Fatalf("the batch has changed: %v, want %v", got, all)
		}
	})
}

// TestTail checks that what is left of a batch after a record keeps its rows.
func TestTail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, all := drawBatch(t)
		from := rapid.IntRange(0, len(all)).Draw(t, "from")
		tail := NewStreamLink[int]().Tail(b, from).(*Batch[int])
		if got := rows(tail); !slices.Equal(got, all[from:]) {
			t.Fatalf("%v, want %v", got, all[from:])
		}
	})
}

func TestABatchThatIsUsedAgainHasNoTimes(t *testing.T) {
	b := new(Batch[int])
	b.Append(1, 2, 3)
	b.Reset()
	b.Values = append(b.Values, 4)
	if b.Time(0) != NoTime || b.Mark(0) != NoTime {
		t.Fatalf("time %d, mark %d", b.Time(0), b.Mark(0))
	}
}
