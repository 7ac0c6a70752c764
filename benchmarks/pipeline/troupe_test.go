package pipeline

import (
	"testing"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
)

func TestTroupeAgrees(t *testing.T) {
	for _, n := range []int{1, 2, 513, 20_000} {
		for parallelism := 1; parallelism <= 2; parallelism++ {
			d := NewData(n)
			d.runFor = time.Millisecond
			troupe, err := OpenTroupe(t.Context(), d, parallelism)
			if err != nil {
				t.Fatal(err)
			}
			records, checksum, err := troupe.Variant().Run(t.Context())
			if err == nil {
				err = d.Check(records, checksum)
			}
			if err != nil {
				t.Errorf("%d records, parallelism %d: %v", n, parallelism, err)
			}
			if err := troupe.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTallyNoticesWrongCounts(t *testing.T) {
	d := NewData(1000)
	right := tally{total: sums{counts: d.triangles(2)}}
	if err := right.check(d, 2); err != nil {
		t.Error(err)
	}
	if right.check(d, 3) == nil {
		t.Error("a pass that is missing was not noticed")
	}
}

// TestSplitsMakeTheSamePasses: whichever split comes first decides for both.
func TestSplitsMakeTheSamePasses(t *testing.T) {
	s := newSlabSource(NewData(10), 2)
	s.until = time.Now().Add(time.Hour)
	if !s.another(1) {
		t.Fatal("no second pass")
	}
	s.until = time.Now()
	if !s.another(1) || s.another(2) || s.passes() != 2 {
		t.Errorf("the splits do not agree on 2 passes: %d", s.passes())
	}
}

func TestBenchReportsAllVariants(t *testing.T) {
	d := NewData(2000)
	d.runFor = time.Millisecond
	results, err := bench(t.Context(), d, measure.Options{Rounds: 1, QuietWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"loop", "loop-sharded", "channels", "channels-batched", "troupe-p1", "troupe-p2"}
	if len(results) != len(want) {
		t.Fatalf("%d results, want %d", len(results), len(want))
	}
	for i, r := range results {
		if r.Name != want[i] || r.RecordBytes != 100 || r.RecordsPerS <= 0 || r.RatioToLoop == nil || r.CPUNsPerRecord == nil || r.AllocsPerRec == nil {
			t.Errorf("result %d: %+v", i, r)
		}
	}
}

func BenchmarkTroupe(b *testing.B) {
	for parallelism := 1; parallelism <= 2; parallelism++ {
		d := NewData(1_000_000)
		d.runFor = 0
		troupe, err := OpenTroupe(b.Context(), d, parallelism)
		if err != nil {
			b.Fatal(err)
		}
		v := troupe.Variant()
		b.Run(v.Name, func(b *testing.B) {
			b.ReportAllocs()
			var records int64
			for b.Loop() {
				n, checksum, err := v.Run(b.Context())
				if err == nil {
					err = d.Check(n, checksum)
				}
				if err != nil {
					b.Fatal(err)
				}
				records += n
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
		if err := troupe.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
