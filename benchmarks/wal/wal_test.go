package wal

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/benchmarks/measure"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var tiny = plan{sizes: []int{100}, runFor: time.Millisecond, budget: 1, quiet: -1, loneFor: time.Millisecond, loneMost: 3}

func TestBenchReportsEverything(t *testing.T) {
	results, err := bench(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, r.Name+" "+r.Durability)
		if r.RecordBytes != 100 || r.RecordsPerS <= 0 {
			t.Errorf("result %+v", r)
		}
		lone, compared := r.Name == "lone-append", r.Name == "append" || r.Name == "lone-append" && r.Durability == "fsync"
		if lone != (r.P50us != nil) || (compared || r.Name == "raw") != (r.RatioToRaw != nil) {
			t.Errorf("%s, %s: p50 %v, ratio %v", r.Name, r.Durability, r.P50us, r.RatioToRaw)
		}
	}
	want := []string{"raw fsync", "append fsync", "replay fsync", "raw interval", "append interval", "replay interval",
		"raw memory", "append memory", "replay memory", "lone-append fsync", "lone-append interval", "lone-append memory"}
	if !slices.Equal(got, want) {
		t.Errorf("results\n%v, want\n%v", got, want)
	}
}

func TestReplayNoticesWhatIsMissing(t *testing.T) {
	for name, bad := range map[string]replayed{
		"one lost":               {records: 9, ids: 36},
		"one twice":              {records: 11, ids: 50},
		"one in another's place": {records: 10, ids: 44},
	} {
		if bad.check(10) == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
	if err := (&replayed{records: 10, ids: 45}).check(10); err != nil {
		t.Error(err)
	}
}

func TestMedianRatios(t *testing.T) {
	a := []time.Duration{10, 20, 30, 40, 50, 60, 70}
	b := []time.Duration{10, 10, 10, 20, 20, 20, 20}
	if got := medianRatios(a, b, 3); !slices.Equal(got, []float64{2, 2.5}) {
		t.Errorf("ratios %v", got)
	}
}

// open returns a subject for Go benchmarks.
func open(b *testing.B, d actor.Durability) *subject {
	e, err := runtime.Open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(b.Context()); err != nil {
			b.Error(err)
		}
	})
	s := &subject{plan: full, engine: e, dir: b.TempDir(), recordBytes: 100, durability: d}
	if err := s.renew(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s
}

// perRecord reports what a record took; b.N are runs.
func perRecord(b *testing.B, run func() (int64, error)) {
	b.ReportAllocs()
	var records int64
	for b.Loop() {
		n, err := run()
		if err != nil {
			b.Fatal(err)
		}
		records += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
}

func BenchmarkAppend(b *testing.B) {
	for _, d := range durabilities {
		b.Run(d.String(), func(b *testing.B) {
			s := open(b, d)
			perRecord(b, func() (int64, error) {
				n, _, err := s.append(b.Context())
				return n, err
			})
		})
	}
}

func BenchmarkReplay(b *testing.B) {
	for _, d := range []actor.Durability{actor.Interval, actor.Memory} {
		b.Run(d.String(), func(b *testing.B) {
			s := open(b, d)
			if _, _, err := s.append(b.Context()); err != nil {
				b.Fatal(err)
			}
			perRecord(b, func() (int64, error) {
				t, err := s.read(b.Context())
				return int64(t.records), err
			})
		})
	}
}

func BenchmarkLoneAppend(b *testing.B) {
	s := open(b, actor.Fsync)
	p, err := s.topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	records := []codec.Record{newRecords(1, 100)[0]}
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if _, err := p.Append(b.Context(), 0, records); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64(measure.Percentile(took, 50).Nanoseconds()), "p50-ns")
}
