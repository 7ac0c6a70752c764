package topology_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// reading is a record with a key, an event time and a value.
type reading struct {
	Key string
	At  int64 // milliseconds
	N   int
}

func (r reading) time() time.Time { return time.UnixMilli(r.At) }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// result is a Window in plain numbers.
type result struct {
	Key        string
	Start, End int64
	Sum        int
}

func plain(ws []topology.Window[string, int]) (rs []result) {
	for _, w := range ws {
		rs = append(rs, result{w.Key, w.Start.UnixMilli(), w.End.UnixMilli(), w.Value})
	}
	return rs
}

func inOrder[T any](vs []T) []T {
	slices.SortFunc(vs, func(a, b T) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return vs
}

// sums is the topology that most of these tests run.
type sums struct {
	windows         topology.Windows
	bound, lateness time.Duration
	eventTime       []topology.EventTimeOption
	out             *topologytest.Collected[topology.Window[string, int]]
	late            *topologytest.Collected[topology.Late[reading]]
}

func newSums(w topology.Windows, bound, lateness time.Duration) *sums {
	return &sums{windows: w, bound: bound, lateness: lateness,
		out:  topologytest.Collect[topology.Window[string, int]](),
		late: topologytest.Collect[topology.Late[reading]]()}
}

func (s *sums) topology(in topology.Source[reading]) *topology.Builder {
	b := topology.New("sums")
	timed := topology.EventTime(topology.From(b, "in", in), "time", s.bound, reading.time, s.eventTime...)
	byKey := topology.KeyBy(timed, "by-key", func(r reading) string { return r.Key })
	results, late := topology.WindowFold(byKey, "sum", s.windows,
		func(_ string, sum int, r reading) int { return sum + r.N }, topology.AllowedLateness(s.lateness))
	topology.To(results, "out", s.out)
	topology.To(late, "late", s.late)
	return b
}

func (s *sums) lateOnes() (rs []reading) {
	for _, l := range s.late.Values() {
		rs = append(rs, l.Value)
	}
	return rs
}

func readings(t *rapid.T, label string, span int64) []reading {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) reading {
		return reading{rapid.SampledFrom([]string{"a", "b", "", "ä"}).Draw(t, "key"),
			rapid.Int64Range(-span, span).Draw(t, "at"), rapid.IntRange(1, 1000).Draw(t, "n")}
	}), 0, 40).Draw(t, label)
}

// span is a window of the generator: size, and step.
func windows(t *rapid.T) (size, every int64) {
	size = rapid.Int64Range(1, 30).Draw(t, "size")
	if rapid.Bool().Draw(t, "tumbling") {
		return size, size
	}
	return size, rapid.Int64Range(1, size).Draw(t, "every")
}

// starts are the windows of a time, found by trying.
func starts(at, size, every int64) (all []int64) {
	for s := at - size + 1; s <= at; s++ {
		if s%every == 0 {
			all = append(all, s)
		}
	}
	return all
}

// batch computes all windows at once, as if nothing could be late.
func batch(in []reading, size, every int64) []result {
	type at struct {
		key   string
		start int64
	}
	sums := map[at]int{}
	for _, r := range in {
		for _, s := range starts(r.At, size, every) {
			sums[at{r.Key, s}] += r.N
		}
	}
	var rs []result
	for k, sum := range sums {
		rs = append(rs, result{k.key, k.start, k.start + size, sum})
	}
	return inOrder(rs)
}

// With a bound that no record exceeds, windows give the batch answer: whatever
// the order of the records, the splits, batches and tasks, and wherever the
// run is broken off and continued with another number of tasks.
func TestWindowsGiveTheBatchAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size, every := windows(rt)
		in := [][]reading{readings(rt, "split 0", 60), readings(rt, "split 1", 60), readings(rt, "split 2", 60)}
		in = in[:rapid.IntRange(1, 3).Draw(rt, "splits")]
		s := newSums(topology.Sliding(ms(size), ms(every)), ms(120), 0)
		d := topologytest.New(t, s.topology(topologytest.Splits(in...)), topologytest.Seed(rapid.Uint64().Draw(rt, "seed")),
			topologytest.BatchSize(rapid.IntRange(1, 9).Draw(rt, "batch")),
			topologytest.Parallelism(rapid.IntRange(1, 4).Draw(rt, "parallelism")))
		for range rapid.IntRange(0, 3).Draw(rt, "breaks") {
			steps(rt, d)
			snapshot := d.Snapshot()
			steps(rt, d)
			d.Restore(snapshot, topologytest.Parallelism(rapid.IntRange(1, 4).Draw(rt, "parallelism")))
		}
		d.Run()
		want := batch(slices.Concat(in...), size, every)
		if got := inOrder(plain(s.out.Values())); !slices.Equal(got, want) {
			rt.Fatalf("got  %v\nwant %v", got, want)
		}
		if n := len(s.late.Values()); n > 0 {
			rt.Fatalf("%d records were late", n)
		}
	})
}

func steps(t *rapid.T, d *topologytest.Driver) {
	for range rapid.IntRange(0, 40).Draw(t, "steps") {
		d.Step()
	}
}

// lateModel says record by record what one split gives rise to.
type lateModel struct {
	size, every, bound, lateness int64
	newest, watermark            int64
	panes                        map[string]map[int64]int // by key and start
	out                          []result
	late                         []reading
}

func (m *lateModel) record(r reading) {
	open := false
	for _, s := range starts(r.At, m.size, m.every) {
		if s+m.size-1+m.lateness <= m.watermark {
			continue
		}
		open = true
		if m.panes[r.Key] == nil {
			m.panes[r.Key] = map[int64]int{}
		}
		m.panes[r.Key][s] += r.N
		if s+m.size-1 <= m.watermark {
			m.out = append(m.out, result{r.Key, s, s + m.size, m.panes[r.Key][s]})
		}
	}
	if !open {
		m.late = append(m.late, r)
	}
	if r.At > m.newest {
		m.newest = r.At
		m.advance(r.At - m.bound - 1)
	}
}

func (m *lateModel) advance(to int64) {
	type due struct {
		end int64
		key string
	}
	var fires []due
	for key, panes := range m.panes {
		for s := range panes {
			if f := s + m.size - 1; f > m.watermark && f <= to {
				fires = append(fires, due{s + m.size, key})
			}
		}
	}
	slices.SortFunc(fires, func(a, b due) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.key, b.key)) })
	for _, f := range fires {
		m.out = append(m.out, result{f.key, f.end - m.size, f.end, m.panes[f.key][f.end-m.size]})
	}
	for _, panes := range m.panes {
		maps.DeleteFunc(panes, func(s int64, _ int) bool { return to != math.MaxInt64 && s+m.size-1+m.lateness <= to })
	}
	m.watermark = to
}

// What is late, what is updated and in which order results come is decided by
// the records of a split alone: not by batches, breaks and, but for the order
// between keys, tasks.
func TestLatenessDependsOnTheDataAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size, every := windows(rt)
		bound, lateness := rapid.Int64Range(0, 20).Draw(rt, "bound"), rapid.Int64Range(0, 20).Draw(rt, "lateness")
		in := readings(rt, "in", 60)
		m := &lateModel{size: size, every: every, bound: bound, lateness: lateness, newest: math.MinInt64,
			watermark: math.MinInt64, panes: map[string]map[int64]int{}}
		for _, r := range in {
			m.record(r)
		}
		m.advance(math.MaxInt64)

		s := newSums(topology.Sliding(ms(size), ms(every)), ms(bound), ms(lateness))
		tasks := rapid.IntRange(1, 3).Draw(rt, "parallelism")
		alone := tasks == 1
		d := topologytest.New(t, s.topology(topologytest.Slice(in...)), topologytest.Parallelism(tasks),
			topologytest.Seed(rapid.Uint64().Draw(rt, "seed")), topologytest.BatchSize(rapid.IntRange(1, 9).Draw(rt, "batch")))
		for range rapid.IntRange(0, 2).Draw(rt, "breaks") {
			steps(rt, d)
			snapshot := d.Snapshot()
			steps(rt, d)
			if !alone {
				tasks = rapid.IntRange(1, 4).Draw(rt, "parallelism")
			}
			d.Restore(snapshot, topologytest.Parallelism(tasks))
		}
		d.Run()
		got, late := plain(s.out.Values()), s.lateOnes()
		if !alone {
			got, late, m.out, m.late = inOrder(got), inOrder(late), inOrder(m.out), inOrder(m.late)
		}
		if !slices.Equal(got, m.out) {
			rt.Fatalf("got  %v\nwant %v", got, m.out)
		}
		if !slices.Equal(late, m.late) {
			rt.Fatalf("late %v\nwant %v", late, m.late)
		}
	})
}

func TestLateness(t *testing.T) {
	const key = "k"
	push := func(at ...int64) (rs []reading) {
		for _, a := range at {
			rs = append(rs, reading{key, a, 1})
		}
		return rs
	}
	w := func(start, end int64, sum int) result { return result{key, start, end, sum} }
	for _, c := range []struct {
		name            string
		size, every     int64
		bound, lateness int64
		in              []int64
		want            []result // before the end of the input
		late            []int64
		atEnd           []result
	}{
		{"a window closes when the watermark reaches its last millisecond", 10, 10, 0, 0,
			[]int64{1, 10}, []result{w(0, 10, 1)}, nil, []result{w(10, 20, 1)}},
		{"and not before", 10, 10, 0, 0, []int64{1, 9}, nil, nil, []result{w(0, 10, 2)}},
		{"the bound keeps it open", 10, 10, 5, 0, []int64{1, 14, 2}, nil, nil, []result{w(0, 10, 2), w(10, 20, 1)}},
		{"to its last millisecond", 10, 10, 5, 0, []int64{1, 15, 2}, []result{w(0, 10, 1)}, []int64{2}, []result{w(10, 20, 1)}},
		{"a late record is not counted", 10, 10, 0, 0, []int64{1, 10, 9}, []result{w(0, 10, 1)}, []int64{9}, []result{w(10, 20, 1)}},
		{"behind the watermark is not late while its window is open", 10, 10, 0, 0, []int64{8, 9, 3}, nil, nil, []result{w(0, 10, 3)}},
		{"allowed lateness updates at once", 10, 10, 0, 5, []int64{1, 10, 9, 3},
			[]result{w(0, 10, 1), w(0, 10, 2), w(0, 10, 3)}, nil, []result{w(10, 20, 1)}},
		{"until it is over", 10, 10, 0, 5, []int64{1, 14, 9, 15, 3},
			[]result{w(0, 10, 1), w(0, 10, 2)}, []int64{3}, []result{w(10, 20, 2)}},
		{"a window can begin late", 10, 10, 0, 5, []int64{12, 9}, []result{w(0, 10, 1)}, nil, []result{w(10, 20, 1)}},
		{"late for one window, on time for another", 10, 5, 0, 0, []int64{6, 10, 7},
			[]result{w(0, 10, 1)}, nil, []result{w(5, 15, 3), w(10, 20, 1)}},
		{"late for all of them", 10, 5, 0, 0, []int64{6, 15, 7},
			[]result{w(0, 10, 1), w(5, 15, 1)}, []int64{7}, []result{w(10, 20, 1), w(15, 25, 1)}},
		{"negative times", 10, 10, 0, 0, []int64{-11, -10, -1, 0},
			[]result{w(-20, -10, 1), w(-10, 0, 2)}, nil, []result{w(0, 10, 1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := topologytest.Input[reading]()
			s := newSums(topology.Sliding(ms(c.size), ms(c.every)), ms(c.bound), ms(c.lateness))
			d := topologytest.New(t, s.topology(in))
			in.Push(push(c.in...)...)
			if got := plain(s.out.Values()); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if got := s.lateOnes(); !slices.Equal(got, push(c.late...)) {
				t.Errorf("late are %v, want %v", got, c.late)
			}
			if n := d.Counters("sum").Late; n != int64(len(c.late)) {
				t.Errorf("counted %d late, want %d", n, len(c.late))
			}
			in.End()
			if got, want := plain(s.out.Values()), append(c.want, c.atEnd...); !slices.Equal(got, want) {
				t.Errorf("at the end %v, want %v", got, want)
			}
		})
	}
}

func TestLateRecordsAreCountedWhenNobodyReadsThem(t *testing.T) {
	b := topology.New("sums")
	in, out := topologytest.Input[reading](), topologytest.Collect[topology.Window[string, int]]()
	timed := topology.EventTime(topology.From(b, "in", in), "time", 0, reading.time)
	byKey := topology.KeyBy(timed, "by-key", func(r reading) string { return r.Key })
	results, _ := topology.WindowFold(byKey, "sum", topology.Tumbling(ms(10)), func(_ string, n int, r reading) int { return n + r.N })
	topology.To(results, "out", out)
	d := topologytest.New(t, b)
	in.Push(reading{"a", 5, 1}, reading{"a", 20, 1}, reading{"a", 6, 1}, reading{"b", 7, 1})
	if n := d.Counters("sum").Late; n != 2 {
		t.Errorf("counted %d late, want 2", n)
	}
	if n := d.Counters("sum").Keys; n != 1 {
		t.Errorf("%d keys have state, want 1", n)
	}
}

// A window that has closed is not opened again by what comes too late, also not
// behind a restore, when the task does not know yet how far the others are.
func TestAClosedWindowStaysClosedBehindARestore(t *testing.T) {
	in := topologytest.Input[reading]("0", "1")
	s := newSums(topology.Tumbling(ms(10)), 0, 0)
	d := topologytest.New(t, s.topology(in), topologytest.Parallelism(2))
	in.PushTo("0", reading{"a", 5, 1}, reading{"a", 30, 1})
	in.PushTo("1", reading{"a", 25, 1})
	want := []result{{"a", 0, 10, 1}}
	if got := plain(s.out.Values()); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for tasks := range 4 {
		d.Restore(d.Snapshot(), topologytest.Parallelism(tasks+1))
		in.PushTo("1", reading{"a", 6, 100})
		if got := plain(s.out.Values()); !slices.Equal(got, want) || len(s.late.Values()) != tasks+1 {
			t.Fatalf("%d tasks: got %v, late %v", tasks+1, got, s.lateOnes())
		}
	}
	in.End()
	want = append(want, result{"a", 20, 30, 1}, result{"a", 30, 40, 1})
	if got := inOrder(plain(s.out.Values())); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// A key whose windows have all closed begins anew.
func TestAKeyThatComesBackBeginsAnew(t *testing.T) {
	in := topologytest.Input[reading]()
	s := newSums(topology.Tumbling(ms(10)), 0, ms(3))
	d := topologytest.New(t, s.topology(in))
	in.Push(reading{"a", 1, 1}, reading{"b", 50, 1}, reading{"a", 51, 7}, reading{"b", 90, 1})
	want := []result{{"a", 0, 10, 1}, {"a", 50, 60, 7}, {"b", 50, 60, 1}}
	if got := plain(s.out.Values()); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if n := d.Counters("sum").Keys; n != 1 {
		t.Errorf("%d keys have state, want 1", n)
	}
}

func TestManyKeysFireInTheOrderOfTheirBytes(t *testing.T) {
	var in []reading
	for i := range 3000 {
		in = append(in, reading{fmt.Sprint(i * 7919 % 3000), int64(i % 20), 1})
	}
	s := newSums(topology.Tumbling(ms(10)), ms(100), 0)
	topologytest.Run(t, s.topology(topologytest.Slice(in...)))
	got := plain(s.out.Values())
	if len(got) != 3000 || !slices.IsSortedFunc(got, func(a, b result) int {
		return cmp.Or(cmp.Compare(a.End, b.End), cmp.Compare(a.Key, b.Key))
	}) {
		t.Errorf("%d results, in order: %v", len(got), got[:10])
	}
	for i, at := range s.out.Times() {
		if at.UnixMilli() != got[i].End-1 {
			t.Fatalf("the result of %v has time %v", got[i], at)
		}
	}
}

// Windows of windows: results are on time for the windows behind them.
func TestResultsAreOnTimeForTheNextWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := readings(rt, "in", 200)
		b := topology.New("twice")
		out := topologytest.Collect[topology.Window[string, int]]()
		timed := topology.EventTime(topology.From(b, "in", topologytest.Slice(in...)), "time", ms(400), reading.time)
		byKey := topology.KeyBy(timed, "by-key", func(r reading) string { return r.Key })
		tens, _ := topology.WindowFold(byKey, "tens", topology.Tumbling(ms(10)), func(_ string, n int, r reading) int { return n + r.N })
		again := topology.KeyBy(tens, "again", func(w topology.Window[string, int]) string { return w.Key })
		hundreds, _ := topology.WindowFold(again, "hundreds", topology.Tumbling(ms(100)),
			func(_ string, n int, w topology.Window[string, int]) int { return n + w.Value })
		topology.To(hundreds, "out", out)
		d := topologytest.New(t, b, topologytest.Parallelism(rapid.IntRange(1, 3).Draw(rt, "parallelism")),
			topologytest.Seed(rapid.Uint64().Draw(rt, "seed")), topologytest.BatchSize(rapid.IntRange(1, 5).Draw(rt, "batch")))
		d.Run()
		if got, want := inOrder(plain(out.Values())), batch(in, 100, 100); !slices.Equal(got, want) {
			rt.Fatalf("got  %v\nwant %v", got, want)
		}
		if n := d.Counters("hundreds").Late; n > 0 {
			rt.Fatalf("%d results were late", n)
		}
	})
}

func TestAWindowNeedsTimes(t *testing.T) {
	b := topology.New("timeless")
	in := topologytest.Input[reading]("split")
	timed := topology.EventTime(topology.From(b, "in", in), "time", 0, reading.time)
	key := func(r reading) string { return r.Key }
	timeless := topology.Process(topology.KeyBy(timed, "by-key-too", key), "timeless",
		func(p *topology.Processor[string, reading, reading]) {
			p.OnRecord(func(reading) { p.SetTimer(p.Now().Add(time.Second)) })
			p.OnTimer(func(time.Time) { p.Emit(reading{"a", 1, 1}) })
		})
	byKey := topology.KeyBy(timeless, "by-key", key)
	results, _ := topology.WindowFold(byKey, "sum", topology.Tumbling(ms(10)), func(_ string, n int, r reading) int { return n + r.N },
		topology.OnError(topology.Retry(1, 0)))
	topology.To(results, "out", topologytest.Collect[topology.Window[string, int]]())
	d := topologytest.New(t, b, topologytest.MayFail())
	in.Push(reading{"a", 1, 1})
	d.Advance(time.Second)
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "has no event time") {
		t.Errorf("failed with %v", err)
	}
}

// A panic in the middle of a record that is in several windows leaves none of
// them changed: the second call counts it once.
func TestAWindowIsFoldedOnceWhateverFails(t *testing.T) {
	calls := 0
	b := topology.New("clumsy")
	out := topologytest.Collect[topology.Window[string, int]]()
	timed := topology.EventTime(topology.From(b, "in", topologytest.Slice(reading{"a", 12, 1}, reading{"b", 13, 1}, reading{"a", 14, 1})),
		"time", 0, reading.time)
	byKey := topology.KeyBy(timed, "by-key", func(r reading) string { return r.Key })
	results, _ := topology.WindowFold(byKey, "sum", topology.Sliding(ms(10), ms(5)), func(key string, n int, r reading) int {
		if calls++; calls == 2 || r.Key == "b" {
			panic("clumsy")
		}
		return n + r.N
	}, topology.OnError(topology.Retry(2, 0), topology.Skip()))
	topology.To(results, "out", out)
	d := topologytest.New(t, b)
	d.Run()
	want := []result{{"a", 5, 15, 2}, {"a", 10, 20, 2}}
	if got := plain(out.Values()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c := d.Counters("sum"); c.Failures != 3 || c.Skipped != 1 || c.Keys != 0 {
		t.Errorf("counted %+v", c)
	}
}

func TestTooManyWindowsOfOneKey(t *testing.T) {
	b := topology.New("many")
	timed := topology.EventTime(topology.From(b, "in", topologytest.Slice(reading{"a", 1, 1}, reading{"a", 11, 1}, reading{"a", 21, 1})),
		"time", time.Hour, reading.time)
	byKey := topology.KeyBy(timed, "by-key", func(r reading) string { return r.Key })
	results, _ := topology.WindowFold(byKey, "sum", topology.Tumbling(ms(10)), func(_ string, n int, r reading) int { return n + r.N },
		topology.KeyLimits{Windows: 2}, topology.OnError(topology.Retry(1, 0)))
	topology.To(results, "out", topologytest.Collect[topology.Window[string, int]]())
	d := topologytest.New(t, b, topologytest.MayFail())
	d.Run()
	for _, part := range []string{`"sum"`, "key a", "KeyLimits.Windows"} {
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
}

func TestWindowsThatCannotBeAreMistakes(t *testing.T) {
	sum := func(_ string, n int, r reading) int { return n + r.N }
	for want, declare := range map[string]func(topology.Keyed[string, reading]){
		"leave gaps": func(k topology.Keyed[string, reading]) {
			topology.WindowFold(k, "sum", topology.Sliding(time.Second, time.Minute), sum)
		},
		"must be positive": func(k topology.Keyed[string, reading]) { topology.WindowFold(k, "sum", topology.Tumbling(0), sum) },
		"AllowedLateness is -1s": func(k topology.Keyed[string, reading]) {
			topology.WindowFold(k, "sum", topology.Tumbling(time.Second), sum, topology.AllowedLateness(-time.Second))
		},
		"KeyLimits.Windows is 3": func(k topology.Keyed[string, reading]) {
			topology.WindowFold(k, "sum", topology.Sliding(4*time.Second, time.Second), sum, topology.KeyLimits{Windows: 3})
		},
		"function is nil": func(k topology.Keyed[string, reading]) {
			topology.WindowFold[string, reading, int](k, "sum", topology.Tumbling(time.Second), nil)
		},
		"type cannot be stored": func(k topology.Keyed[string, reading]) {
			topology.WindowFold(k, "sum", topology.Tumbling(time.Second), func(string, chan int, reading) chan int { return nil })
		},
	} {
		b := topology.New("mistakes")
		declare(topology.KeyBy(topology.From(b, "in", topologytest.Slice[reading]()), "by-key", func(r reading) string { return r.Key }))
		if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// A job that has come to the end of its input, and is started again when there
// is more of it, goes on: what comes is not late, but for what was before.
func TestMoreInputAfterTheEnd(t *testing.T) {
	first := []reading{{"a", 1, 1}, {"a", 15, 1}}
	s := newSums(topology.Tumbling(ms(10)), 0, 0)
	d := topologytest.New(t, s.topology(topologytest.Slice(first...)))
	d.Run()
	snapshot := d.Snapshot()
	more := append(first, reading{"a", 2, 100}, reading{"a", 25, 1})
	topologytest.New(t, s.topology(topologytest.Slice(more...)), topologytest.From(snapshot)).Run()
	want := []result{{"a", 0, 10, 1}, {"a", 10, 20, 1}, {"a", 20, 30, 1}}
	if got := plain(s.out.Values()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if late := s.lateOnes(); !slices.Equal(late, []reading{{"a", 2, 100}}) {
		t.Errorf("late are %v", late)
	}
}
