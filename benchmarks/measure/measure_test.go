package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a machine and a clock that a test moves.
type desk struct {
	clock   time.Time
	busy    time.Duration
	own     time.Duration
	foreign []float64 // cores that others use, for one sleep after the other
	slept   int
	silent  bool // the system tells nothing
}

func (d *desk) load() (load, error) {
	if d.silent {
		return load{}, errors.ErrUnsupported
	}
	return load{at: d.clock, busy: d.busy, own: d.own}, nil
}

func (d *desk) sleep(ctx context.Context, t time.Duration) error {
	d.slept++
	d.clock = d.clock.Add(t)
	if len(d.foreign) > 0 {
		d.busy += time.Duration(d.foreign[0] * float64(t))
		d.foreign = d.foreign[1:]
	}
	return ctx.Err()
}

// work lets time pass in a run of this process.
func (d *desk) work(wall, cpu, others time.Duration) {
	d.clock, d.own, d.busy = d.clock.Add(wall), d.own+cpu, d.busy+cpu+others
}

// time times a run by the desk's clock.
func (d *desk) time(f func() error) (Run, error) {
	at, own := d.clock, d.own
	err := f()
	return Run{Wall: d.clock.Sub(at), CPU: d.own - own, Allocs: 30}, err
}

func (d *desk) options(baseline string) Options {
	d.clock = time.Unix(1000, 0)
	return Options{Baseline: baseline, machine: d, timer: d.time, now: func() time.Time { return d.clock }}
}

// steady is a variant that takes the same time for 1,000 records every time.
func (d *desk) steady(name string, wall time.Duration, log *[]string) Variant {
	return Variant{Name: name, Run: func(context.Context) (int64, uint64, error) {
		*log = append(*log, name)
		d.work(wall, 2*wall, 0)
		return 1000, 7, nil
	}}
}

func TestCompareTakesTurns(t *testing.T) {
	var d desk
	var log []string
	o := d.options("a")
	o.Rounds = 4
	series, err := Compare(t.Context(), []Variant{d.steady("a", time.Second, &log), d.steady("b", time.Second/2, &log)}, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, ""); got != "abbaabba" {
		t.Errorf("order %s", got)
	}
	results := Results(series, "a", ToLoop)
	a, b := results[0], results[1]
	if a.RecordsPerS != 1000 || b.RecordsPerS != 2000 || *a.RatioToLoop != 1 || *b.RatioToLoop != 2 || b.RatioToRaw != nil {
		t.Errorf("results %+v", results)
	}
	if *a.CPUNsPerRecord != 2e6 || *b.CPUNsPerRecord != 1e6 || *a.AllocsPerRec != 0.03 || a.Runs != 4 || a.Disturbed != 0 {
		t.Errorf("results %+v", results)
	}
}

func TestPreparationsAreNotMeasured(t *testing.T) {
	var d desk
	var log []string
	v := d.steady("a", time.Second, &log)
	v.Before = func(context.Context) error {
		log = append(log, "before")
		d.work(time.Hour, time.Hour, 0)
		return nil
	}
	series, err := Compare(t.Context(), []Variant{v}, d.options("a"))
	if err != nil || series[0].Runs[0].Wall != time.Second || strings.Join(log[:2], " ") != "before a" {
		t.Errorf("run %+v, order %v, %v", series[0].Runs[0], log, err)
	}
	broken := errors.New("broken")
	v.Before = func(context.Context) error { return broken }
	if _, err := Compare(t.Context(), []Variant{v}, d.options("a")); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestCompareKeepsToItsBudget(t *testing.T) {
	var d desk
	var log []string
	o := d.options("a")
	// A round takes 2.3 s with the wait for quiet: the fourth would end after 9.2 s.
	o.Budget = 9 * time.Second
	series, err := Compare(t.Context(), []Variant{d.steady("a", 2*time.Second, &log)}, o)
	if err != nil || len(series[0].Runs) != 3 {
		t.Errorf("%d rounds, %v", len(series[0].Runs), err)
	}
	o.Budget = time.Nanosecond
	if series, err = Compare(t.Context(), []Variant{d.steady("a", 2*time.Second, &log)}, o); err != nil || len(series[0].Runs) != 1 {
		t.Errorf("without any budget: %d rounds, %v", len(series[0].Runs), err)
	}
}

func TestCompareRefusesWrongResults(t *testing.T) {
	var d desk
	var log []string
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		change func(*Options, *Variant)
		want   string
	}{
		"checksum": {func(o *Options, _ *Variant) {
			o.Check = func(n int64, sum uint64) error { return fmt.Errorf("%d records, checksum %d", n, sum) }
		}, "the result is wrong, so its time means nothing: 1000 records, checksum 7"},
		"no records": {func(_ *Options, v *Variant) {
			v.Run = func(context.Context) (int64, uint64, error) { return 0, 7, nil }
		}, `variant "a", round 1: it handled 0 records`},
		"error": {func(_ *Options, v *Variant) {
			v.Run = func(context.Context) (int64, uint64, error) { return 1, 7, broken }
		}, `variant "a", round 1: broken`},
		"baseline": {func(o *Options, _ *Variant) { o.Baseline = "z" }, `the baseline "z" is not among the variants`},
		"too slow": {func(o *Options, v *Variant) {
			o.RunLimit = time.Nanosecond
			v.Run = func(ctx context.Context) (int64, uint64, error) { <-ctx.Done(); return 0, 0, ctx.Err() }
		}, "it took longer than 1ns"},
	} {
		o, v := d.options("a"), d.steady("a", time.Second, &log)
		c.change(&o, &v)
		if _, err := Compare(t.Context(), []Variant{v}, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestGateWaitsForQuiet(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       desk
		sleeps  int
		because string
	}{
		{"quiet at once", desk{foreign: []float64{0.1}}, 1, "it is quiet"},
		{"noise first", desk{foreign: []float64{1.5, 0.4, 0.25, 0.05}}, 4, "it becomes quiet"},
		{"noise for ever", desk{foreign: slices.Repeat([]float64{2}, 100)}, 5, "it has waited long enough"},
		{"nothing is known", desk{silent: true}, 0, "there is nothing to go by"},
	} {
		if err := waitQuiet(t.Context(), &c.d, waitMost); err != nil || c.d.slept != c.sleeps {
			t.Errorf("%s: slept %d times (%v), want %d: %s", c.name, c.d.slept, err, c.sleeps, c.because)
		}
	}
	impatient := desk{foreign: []float64{2, 2}}
	if err := waitQuiet(t.Context(), &impatient, -1); err != nil || impatient.slept != 0 {
		t.Errorf("it waited %d times although it was not to: %v", impatient.slept, err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for _, d := range []*desk{{foreign: []float64{2, 2}}, {}, {silent: true}} {
		if err := waitQuiet(stopped, d, waitMost); !errors.Is(err, context.Canceled) {
			t.Errorf("did not stop: %v", err)
		}
	}
}

func TestForeignIsWhatOthersUse(t *testing.T) {
	from := load{at: time.Unix(0, 0), busy: 5 * time.Second, own: time.Second}
	to := load{at: time.Unix(2, 0), busy: 9 * time.Second, own: 4 * time.Second}
	if got := foreign(from, to); got != 0.5 {
		t.Errorf("foreign %v, want 0.5", got)
	}
	if foreign(from, from) != 0 || foreign(from, load{at: time.Unix(9, 0), own: time.Hour}) != 0 {
		t.Error("no time, or ticks that lag behind, should count as nothing")
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy([]byte("cpu  100 20 30 4000 500 6 7 8 90 9\ncpu0 1 2 3\n"))
	if err != nil || got != 1710*time.Millisecond {
		t.Errorf("busy %v, %v; want 1.71 s", got, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu a b c d e f g h", "intr 1 2 3 4 5 6 7 8 9"} {
		if _, err := parseBusy([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestDisturbedRoundsAreLeftOut(t *testing.T) {
	run := func(rate int64, foreign float64) Run {
		return Run{Records: rate, Wall: time.Second, CPU: time.Second, Foreign: foreign}
	}
	base := Series{"a", []Run{run(100, 0), run(100, 0), run(100, 0), run(50, 1), run(100, 0)}}
	v := Series{"b", []Run{run(200, 0), run(210, 0), run(190, 0), run(200, 0), run(20, 1)}}
	results := Results([]Series{base, v}, "a", ToRaw)
	if b := results[1]; *b.RatioToRaw != 2 || b.Ratio.Max != 2.1 || b.Disturbed != 1 || b.Runs != 5 || b.RecordsPerS != 200 {
		t.Errorf("result %+v", b)
	}
	base.Runs[1].Foreign, base.Runs[2].Foreign = 1, 1 // only one calm round is left: all count
	if b := Results([]Series{base, v}, "a", ToRaw)[1]; b.Ratio.Max != 4 || b.Ratio.Min != 0.2 {
		t.Errorf("ratios %+v", b.Ratio)
	}
}

func TestQuartiles(t *testing.T) {
	if got, want := QuartilesOf([]float64{4, 1, 3, 2, 5}), (Quartiles{1, 2, 3, 4, 5}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := QuartilesOf([]float64{1, 2}), (Quartiles{1, 1.25, 1.5, 1.75, 2}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := QuartilesOf([]float64{9}); got != (Quartiles{9, 9, 9, 9, 9}) || QuartilesOf(nil) != (Quartiles{}) {
		t.Errorf("%v", got)
	}
}

func TestPercentile(t *testing.T) {
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(200-i))
	}
	for p, want := range map[float64]time.Duration{0: 1, 50: 100, 99: 198, 99.9: 200, 100: 200} {
		if got := Percentile(d, p); got != want {
			t.Errorf("percentile %v is %d, want %d", p, got, want)
		}
	}
	if Percentile(nil, 50) != 0 {
		t.Error("of nothing")
	}
}

func sample() []Result {
	cpu, allocs, ratio := 51.25, 0.0, 1.5
	r := Result{Name: "append", RecordBytes: 100, Durability: "fsync", RecordsPerS: 3e6, CPUNsPerRecord: &cpu,
		AllocsPerRec: &allocs, RatioToRaw: &ratio, Ratio: Quartiles{1.1, 1.25, 1.5, 1.75, 2}, Runs: 5, Disturbed: 1}
	r.SetLatencies([]time.Duration{40 * time.Microsecond, 60 * time.Microsecond})
	return []Result{r, {Name: "replay", RecordsPerS: 48_700}}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := WriteJSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"append","record_bytes":100,"durability":"fsync","records_per_s":3000000,"cpu_ns_per_record":51.25,` +
		`"allocs_per_record":0,"ratio_to_raw":1.5,"p50_us":40,"p99_us":60}` + "\n" +
		`{"name":"replay","records_per_s":48700}` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b.String(), want)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := WriteTable(&b, sample()); err != nil {
		t.Fatal(err)
	}
	const want = `variant  durability  bytes  records/s  MB/s  CPU ns/rec  allocs/rec  ratio  (quartiles)  p50 µs  p99 µs  runs  disturbed
append   fsync       100    3.0 M      300   51.2        0.000       1.50   (1.25-1.75)  40.0    60.0    5     1
replay   -           0      48.7 K     -     -           -           -      -            -       -       0     0
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// TestHost runs the real thing once: it must tell time, processor time and
// allocations apart from nothing.
func TestHost(t *testing.T) {
	var sink [][]byte
	series, err := Compare(t.Context(), []Variant{{Name: "alloc", Run: func(context.Context) (int64, uint64, error) {
		for range 10_000 {
			sink = append(sink, make([]byte, 64))
		}
		return 10_000, 1, nil
	}}}, Options{Baseline: "alloc", Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r := series[0].Runs[0]; r.Allocs < 10_000 || r.Wall <= 0 || len(sink) != 10_000 {
		t.Errorf("run %+v", r)
	}
}
