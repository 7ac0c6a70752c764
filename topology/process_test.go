package topology_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// processing is a topology around one Process of readings, which says in words
// what happens.
func processing(in topology.Source[reading], out topology.Sink[string],
	setup func(*topology.Processor[string, reading, string]), opts ...topology.ProcessOption) *topology.Builder {
	b := topology.New("processing")
	timed := topology.EventTime(topology.From(b, "in", in), "time", 0, reading.time)
	byKey := topology.KeyBy(timed, "by-key", func(r reading) string { return r.Key })
	topology.To(topology.Process(byKey, "process", setup, opts...), "out", out)
	return b
}

type processor = topology.Processor[string, reading, string]

func wantWords(t *testing.T, out *topologytest.Collected[string], want ...string) {
	t.Helper()
	if got := out.Values(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// everything keeps state of every kind.
func everything(p *processor) {
	count := topology.ValueOf[int](p, "count")
	list := topology.ListOf[string](p, "list")
	seen := topology.MapOf[int, string](p, "seen")
	p.OnRecord(func(r reading) {
		count.Set(count.Get() + 1)
		switch r.N {
		case 0:
			count.Clear()
			list.Clear()
			seen.Clear()
		case 1:
			list.Update(list.Get()[:list.Len()/2])
			seen.Delete(1)
		default:
			list.Add(fmt.Sprint(r.N))
			seen.Set(r.N, fmt.Sprint(r.At))
		}
		p.Emit(fmt.Sprint(p.Key(), count.Get(), list.Get(), maps.Collect(seen.All()), seen.Len()))
	})
}

// State is there for the next record of its key, and only there, wherever the
// run is broken off and whatever the number of tasks.
func TestStateOfEveryKind(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := readings(rt, "in", 10)
		for i := range in {
			in[i].N %= 5
		}
		out := topologytest.Collect[string]()
		d := topologytest.New(t, processing(topologytest.Slice(in...), out, everything),
			topologytest.BatchSize(rapid.IntRange(1, 5).Draw(rt, "batch")))
		for range rapid.IntRange(0, 3).Draw(rt, "breaks") {
			steps(rt, d)
			s := d.Snapshot()
			steps(rt, d)
			d.Restore(s, topologytest.Parallelism(rapid.IntRange(1, 4).Draw(rt, "parallelism")))
		}
		d.Run()
		if got, want := inOrder(out.Values()), inOrder(everythingModel(in)); !slices.Equal(got, want) {
			rt.Fatalf("got  %q\nwant %q", got, want)
		}
	})
}

func everythingModel(in []reading) (words []string) {
	type state struct {
		count int
		list  []string
		seen  map[int]string
	}
	states := map[string]*state{}
	for _, r := range in {
		s := states[r.Key]
		if s == nil {
			s = &state{seen: map[int]string{}}
			states[r.Key] = s
		}
		s.count++
		switch r.N {
		case 0:
			*s = state{seen: map[int]string{}}
		case 1:
			s.list = s.list[:len(s.list)/2]
			delete(s.seen, 1)
		default:
			s.list = append(s.list, fmt.Sprint(r.N))
			s.seen[r.N] = fmt.Sprint(r.At)
		}
		words = append(words, fmt.Sprint(r.Key, s.count, s.list, s.seen, len(s.seen)))
	}
	return words
}

// A key of which nothing is left takes no room.
func TestAKeyWithoutStateIsForgotten(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, everything))
	in.Push(reading{"a", 1, 5}, reading{"b", 2, 5})
	if n := d.Counters("process").Keys; n != 2 {
		t.Errorf("%d keys", n)
	}
	in.Push(reading{"a", 3, 0})
	if n := d.Counters("process").Keys; n != 1 {
		t.Errorf("%d keys", n)
	}
}

// What a call has done before it panicked is undone: state of every kind,
// timers, and what was emitted to every output.
func TestAPanicIsUndone(t *testing.T) {
	alerts := topology.SideOutput[string]("alerts")
	in, out, side := topologytest.Input[reading](), topologytest.Collect[string](), topologytest.Collect[string]()
	fail := true
	b := processing(in, out, func(p *processor) {
		count := topology.ValueOf[int](p, "count")
		fresh := topology.ValueOf[int](p, "fresh")
		list := topology.ListOf[int](p, "list")
		seen := topology.MapOf[int, int](p, "seen")
		words := func() string {
			return fmt.Sprint(count.Get(), fresh.Get(), list.Get(), maps.Collect(seen.All()))
		}
		p.OnEventTimer(func(at time.Time) { p.Emit(fmt.Sprint("timer ", at.UnixMilli())) })
		p.OnRecord(func(r reading) {
			if r.N == 0 {
				count.Set(1)
				list.Add(1, 2)
				seen.Set(1, 1)
				seen.Set(2, 2)
				p.SetEventTimer(time.UnixMilli(100))
				return
			}
			p.Emit("before: " + words())
			alerts.Emit(p, "attempt")
			count.Set(7)
			count.Clear()
			fresh.Set(9)
			list.Add(3)
			list.Update([]int{4})
			list.Add(5)
			seen.Set(1, 10)
			seen.Set(3, 3)
			seen.Clear()
			seen.Set(2, 20)
			seen.Delete(2)
			p.DeleteEventTimer(time.UnixMilli(100))
			p.SetEventTimer(time.UnixMilli(50))
			p.SetEventTimer(time.UnixMilli(50))
			if fail {
				fail = false
				panic("once")
			}
			p.Emit("after: " + words())
		})
	}, alerts, topology.OnError(topology.Retry(2, 0)))
	topology.To(alerts.Stream(), "alerts-out", side)
	d := topologytest.New(t, b)
	in.Push(reading{"k", 1, 0}, reading{"k", 2, 1})
	wantWords(t, out, "before: 1 0 [1 2] map[1:1 2:2]", "after: 0 9 [4 5] map[]")
	wantWords(t, side, "attempt")
	fail = true
	in.Push(reading{"k", 3, 1}) // panics and is called again
	wantWords(t, side, "attempt", "attempt")
	in.End()
	if got := out.Values(); got[len(got)-1] != "timer 50" || slices.Contains(got, "timer 100") {
		t.Errorf("at the end: %q", got)
	}
	if c := d.Counters("process"); c.Failures != 2 || c.Keys != 1 {
		t.Errorf("counted %+v", c)
	}
}

// A record that keeps failing leaves nothing behind, also not its key.
func TestARecordThatIsSkippedLeavesNothing(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, func(p *processor) {
		count := topology.ValueOf[int](p, "count")
		p.OnEventTimer(func(time.Time) { p.Emit("timer") })
		p.OnRecord(func(r reading) {
			count.Set(count.Get() + 1)
			p.SetEventTimer(time.UnixMilli(5))
			p.Emit("emitted")
			if r.N < 0 {
				panic("bad")
			}
		})
	}, topology.OnError(topology.Retry(2, 0), topology.DeadLetter("dead"))))
	in.Push(reading{"k", 1, -1})
	in.End()
	wantWords(t, out)
	if c := d.Counters("process"); c.Keys != 0 || c.DeadLetters != 1 {
		t.Errorf("counted %+v", c)
	}
	if l := d.DeadLetters(); len(l) != 1 || string(l[0].Key) != "k" || l[0].Node != "process" || l[0].Attempts != 2 {
		t.Errorf("dead letters: %+v", l)
	}
}

// timing sets the timers that its records ask for: at N, or, when that is
// negative, takes back the one at -N.
func timing(p *processor) {
	at := func(n int) time.Time { return time.UnixMilli(int64(n)) }
	p.OnRecord(func(r reading) {
		if r.N < 0 {
			p.DeleteEventTimer(at(-r.N))
		} else {
			p.SetEventTimer(at(r.N))
		}
	})
	p.OnEventTimer(func(at time.Time) { p.Emit(fmt.Sprint(p.Key(), at.UnixMilli())) })
}

func TestEventTimers(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, timing))
	in.Push(reading{"b", 1, 20}, reading{"a", 1, 20}, reading{"a", 1, 20}, reading{"a", 1, 10}, reading{"a", 1, 15}, reading{"a", 1, -15})
	in.Push(reading{"c", 20, 90})
	wantWords(t, out, "a10")
	d.Restore(d.Snapshot(), topologytest.Parallelism(1))
	in.Push(reading{"c", 21, -90})
	wantWords(t, out, "a10", "a20", "b20")
	in.Push(reading{"c", 20, 5}) // has passed: fires when event time next moves
	wantWords(t, out, "a10", "a20", "b20")
	in.Push(reading{"c", 23, 60})
	wantWords(t, out, "a10", "a20", "b20", "c5")
	in.End()
	wantWords(t, out, "a10", "a20", "b20", "c5", "c60")
	for i, at := range out.Times() {
		if want := []int64{10, 20, 20, 5, 60}[i]; at.UnixMilli() != want {
			t.Errorf("timer %d has time %v, want %d ms", i, at, want)
		}
	}
}

// Timers fire in order of time, each once, before the records that come after
// them: whatever the batches and breaks.
func TestEventTimersAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := readings(rt, "in", 30)
		for i := range in {
			in[i].N = rapid.IntRange(-40, 40).Draw(rt, "timer")
		}
		out := topologytest.Collect[string]()
		d := topologytest.New(t, processing(topologytest.Slice(in...), out, timing),
			topologytest.BatchSize(rapid.IntRange(1, 7).Draw(rt, "batch")))
		for range rapid.IntRange(0, 3).Draw(rt, "breaks") {
			steps(rt, d)
			s := d.Snapshot()
			steps(rt, d)
			d.Restore(s, topologytest.Parallelism(rapid.IntRange(1, 3).Draw(rt, "parallelism")))
		}
		d.Run()
		if got, want := inOrder(out.Values()), inOrder(timingModel(in)); !slices.Equal(got, want) {
			rt.Fatalf("got  %q\nwant %q", got, want)
		}
	})
}

func timingModel(in []reading) (words []string) {
	timers, watermark := map[string]map[int]bool{}, int64(-1<<62)
	fire := func(to int64) {
		for key, set := range timers {
			for at := range set {
				if int64(at) <= to {
					words = append(words, fmt.Sprint(key, at))
					delete(set, at)
				}
			}
		}
	}
	for _, r := range in {
		if r.N < 0 {
			delete(timers[r.Key], -r.N)
		} else {
			if timers[r.Key] == nil {
				timers[r.Key] = map[int]bool{}
			}
			timers[r.Key][r.N] = true
		}
		if r.At-1 > watermark {
			watermark = r.At - 1
			fire(watermark)
		}
	}
	fire(1 << 62)
	return words
}

// A handler that always sets the next timer fires for every interval that event
// time passes, and comes to an end with the input.
func TestAPeriodicTimerEndsWithTheInput(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	topologytest.New(t, processing(in, out, func(p *processor) {
		p.OnRecord(func(r reading) { p.SetEventTimer(p.Time().Truncate(ms(10)).Add(ms(10))) })
		p.OnEventTimer(func(at time.Time) {
			p.Emit(fmt.Sprint(at.UnixMilli()))
			p.SetEventTimer(at.Add(ms(10)))
		})
	}))
	in.Push(reading{"a", 1, 0}, reading{"b", 36, 0})
	wantWords(t, out, "10", "20", "30")
	in.End()
	wantWords(t, out, "10", "20", "30", "40", "40")
}

func TestClockTimers(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	setup := func(p *processor) {
		p.OnRecord(func(r reading) {
			if r.N < 0 {
				p.DeleteTimer(topologytest.Epoch.Add(ms(int64(-r.N))))
				return
			}
			p.SetTimer(topologytest.Epoch.Add(ms(int64(r.N))))
		})
		p.OnTimer(func(at time.Time) {
			p.Emit(fmt.Sprintf("%s%d at %d", p.Key(), at.Sub(topologytest.Epoch).Milliseconds(), p.Now().Sub(topologytest.Epoch).Milliseconds()))
		})
	}
	d := topologytest.New(t, processing(in, out, setup))
	in.Push(reading{"a", 1, 100}, reading{"b", 1, 100}, reading{"b", 1, 100}, reading{"a", 1, 50}, reading{"a", 1, 60}, reading{"a", 1, -60})
	d.Advance(ms(99))
	wantWords(t, out, "a50 at 50")
	s := d.Snapshot()
	d.Advance(ms(1))
	wantWords(t, out, "a50 at 50", "a100 at 100", "b100 at 100")
	d.Advance(ms(1000))
	wantWords(t, out, "a50 at 50", "a100 at 100", "b100 at 100")
	d.Restore(s, topologytest.Parallelism(2)) // they came due while it was down
	d.Advance(0)
	if got, want := inOrder(out.Values()), []string{"a100 at 1100", "a50 at 50", "b100 at 1100"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := d.Counters("process").Keys; n != 0 {
		t.Errorf("%d keys have state", n)
	}
}

// Timers that are overdue fire one after the other: what one of them deletes does
// not fire, even though it was due as well. One that fails is tried again.
func TestAnOverdueClockTimerCanBeDeleted(t *testing.T) {
	at := func(n int64) time.Time { return topologytest.Epoch.Add(ms(n)) }
	failed := false
	setup := func(p *processor) {
		p.OnRecord(func(reading) {
			p.SetTimer(at(10))
			p.SetTimer(at(20))
			p.SetTimer(at(30))
		})
		p.OnTimer(func(now time.Time) {
			p.DeleteTimer(at(20))
			if !failed {
				failed = true
				panic("once")
			}
			p.Emit(fmt.Sprint(now.Sub(topologytest.Epoch).Milliseconds()))
		})
	}
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, setup))
	in.Push(reading{"a", 1, 100})
	s := d.Snapshot()
	d.Advance(ms(100))
	d.Restore(s) // all of them came due while it was down
	failed = false
	before := len(out.Values())
	d.Advance(0)
	if got := out.Values()[before:]; !slices.Equal(got, []string{"10", "30"}) {
		t.Errorf("%q fired, want 10 and 30", got)
	}
	if n := d.Counters("process").Keys; n != 0 {
		t.Errorf("%d keys have state", n)
	}
}

// A timer whose time has passed when it is set waits until event time has moved:
// the task goes on with other things in between.
func TestAnEventTimerThatSetsItselfDoesNotHang(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	fired := 0
	topo := processing(in, out, func(p *processor) {
		p.OnRecord(func(r reading) { p.SetEventTimer(p.Time()) })
		p.OnEventTimer(func(at time.Time) {
			if fired++; fired > 100 {
				t.Fatal("the timer fires for ever")
			}
			p.SetEventTimer(at)
			p.Emit(fmt.Sprint(at.UnixMilli()))
		})
	})
	in.Push(reading{"a", 0, 1}, reading{"b", 10, 1}, reading{"b", 20, 1})
	in.End()
	topologytest.Run(t, topo)
	if got := out.Values(); len(got) < 3 || got[0] != "0" || !slices.Contains(got, "10") || !slices.Contains(got, "20") {
		t.Errorf("%q fired", got)
	}
}

// A timer that is set for now waits for the next look at the clock: the task
// goes on with other things in between.
func TestAClockTimerThatSetsItselfDoesNotHang(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, func(p *processor) {
		p.OnRecord(func(reading) { p.SetTimer(p.Now()) })
		p.OnTimer(func(time.Time) {
			p.Emit("tick")
			p.SetTimer(p.Now())
		})
	}))
	in.Push(reading{"a", 1, 0})
	d.Advance(ms(10))
	if n := len(out.Values()); n < 10 || n > 12 {
		t.Errorf("%d ticks in 10 ms", n)
	}
}

// The failure of a timer is its own: the record in front of which it fires is
// neither repeated nor lost.
func TestATimerThatFails(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, func(p *processor) {
		count := topology.ValueOf[int](p, "count")
		p.OnRecord(func(r reading) {
			p.Emit(fmt.Sprint("record ", r.N))
			if r.N == 1 {
				p.SetEventTimer(time.UnixMilli(10))
			}
		})
		p.OnEventTimer(func(time.Time) {
			p.Emit("timer")
			count.Set(1)
			panic("always")
		})
	}, topology.OnError(topology.Retry(3, 0), topology.DeadLetter("dead"))))
	in.Push(reading{"a", 1, 1}, reading{"b", 20, 2}, reading{"b", 21, 3}, reading{"b", 22, 4})
	wantWords(t, out, "record 1", "record 2", "record 3", "record 4")
	if c := d.Counters("process"); c.Failures != 3 || c.DeadLetters != 1 || c.Keys != 0 {
		t.Errorf("counted %+v", c)
	}
	if l := d.DeadLetters(); len(l) != 1 || string(l[0].Key) != "a" || l[0].Time != 10 {
		t.Errorf("dead letters: %+v", l)
	}
}

// What is written lives for exactly as long as was said, also when the job is
// down in between, and each entry by itself.
func TestTTL(t *testing.T) {
	setup := func(p *processor) {
		value := topology.ValueOf[int](p, "value", topology.TTL(ms(100)))
		list := topology.ListOf[int](p, "list", topology.TTL(ms(100)))
		seen := topology.MapOf[int, int](p, "seen", topology.TTL(ms(100)))
		p.OnRecord(func(r reading) {
			if r.N > 0 {
				value.Set(r.N)
				list.Add(r.N)
				seen.Set(r.N, r.N)
			}
			v, ok := value.Lookup()
			p.Emit(fmt.Sprint(v, ok, list.Get(), list.Len(), maps.Collect(seen.All()), seen.Len()))
		})
	}
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, setup))
	look := func(want string) {
		t.Helper()
		in.Push(reading{"k", 1, 0})
		if got := out.Values(); got[len(got)-1] != want {
			t.Errorf("got %q, want %q", got[len(got)-1], want)
		}
	}
	in.Push(reading{"k", 1, 1})
	d.Advance(ms(60))
	in.Push(reading{"k", 1, 2})
	d.Advance(ms(39))
	look("2 true [1 2] 2 map[1:1 2:2] 2")
	d.Restore(d.Snapshot(), topologytest.Parallelism(2))
	look("2 true [1 2] 2 map[1:1 2:2] 2")
	d.Advance(ms(1))
	look("2 true [2] 1 map[2:2] 1")
	d.Restore(d.Snapshot())
	d.Advance(ms(59))
	look("2 true [2] 1 map[2:2] 1")
	s := d.Snapshot()
	d.Advance(ms(1))
	look("0 false [] 0 map[] 0")
	if c := d.Counters("process"); c.Keys != 0 || c.Expired != 3 {
		t.Errorf("counted %+v", c)
	}
	d.Restore(s)
	if c := d.Counters("process"); c.Keys != 0 {
		t.Errorf("%d keys were restored, though all had expired", c.Keys)
	}
	look("0 false [] 0 map[] 0")
}

// The sweep finds everything within the time-to-live or so, and leaves alone
// what lives.
func TestExpiredStateIsSwept(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, func(p *processor) {
		short := topology.MapOf[int, int](p, "short", topology.TTL(10*time.Second))
		long := topology.ValueOf[int](p, "long", topology.TTL(time.Hour))
		p.OnRecord(func(r reading) {
			short.Set(r.N, r.N)
			if r.N%10 == 0 {
				long.Set(r.N)
			}
		})
	}))
	for i := range 1000 {
		in.Push(reading{fmt.Sprint(i), 1, i})
	}
	d.Advance(9 * time.Second)
	if c := d.Counters("process"); c.Keys != 1000 || c.Expired != 0 {
		t.Errorf("counted %+v", c)
	}
	d.Advance(14 * time.Second)
	if c := d.Counters("process"); c.Keys != 100 || c.Expired != 1000 {
		t.Errorf("counted %+v", c)
	}
	d.Advance(2 * time.Hour)
	if c := d.Counters("process"); c.Keys != 0 || c.Expired != 1100 {
		t.Errorf("counted %+v", c)
	}
}

// State that was changed in place before a snapshot had encoded it is in the
// snapshot as it was.
func TestStateThatIsChangedInPlace(t *testing.T) {
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, func(p *processor) {
		seen := topology.ValueOf[map[string]int](p, "seen")
		p.OnRecord(func(r reading) {
			m := seen.Get()
			if m == nil {
				m = map[string]int{}
				seen.Set(m)
			}
			m[fmt.Sprint(r.N)]++ // without Set
			p.Emit(fmt.Sprint(m))
		})
	}))
	in.Push(reading{"k", 1, 1}, reading{"k", 1, 1})
	s := d.Snapshot()
	in.Push(reading{"k", 1, 2})
	later := d.Snapshot()
	d.Restore(s)
	in.Push()
	d.Restore(later)
	in.Push(reading{"k", 1, 3})
	if got := out.Values(); got[len(got)-1] != "map[1:2 2:1 3:1]" {
		t.Errorf("got %q", got)
	}
}

func TestSideOutputs(t *testing.T) {
	odd, big := topology.SideOutput[int]("odd"), topology.SideOutput[string]("big")
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	odds, bigs := topologytest.Collect[int](), topologytest.Collect[string]()
	b := processing(in, out, func(p *processor) {
		p.OnRecord(func(r reading) {
			if r.N%2 == 1 {
				odd.Emit(p, r.N)
			}
			if r.N > 10 {
				big.Emit(p, fmt.Sprint("big ", r.N))
			}
			p.EmitAt(time.UnixMilli(77), fmt.Sprint(r.N))
		})
	}, odd, big)
	topology.To(odd.Stream(), "odds", odds)
	topology.To(big.Stream(), "bigs", bigs)
	topologytest.New(t, b, topologytest.BatchSize(2))
	in.Push(reading{"a", 1, 1}, reading{"a", 2, 12}, reading{"a", 3, 13}, reading{"b", 4, 4})
	wantWords(t, out, "1", "12", "13", "4")
	wantWords(t, bigs, "big 12", "big 13")
	if got := odds.Values(); !slices.Equal(got, []int{1, 13}) {
		t.Errorf("odd: %v", got)
	}
	if at := odds.Times(); at[0].UnixMilli() != 1 || at[1].UnixMilli() != 3 {
		t.Errorf("odd at %v", at)
	}
	if at := out.Times(); at[0].UnixMilli() != 77 {
		t.Errorf("at %v", at)
	}
}

func TestTooMuchOfOneKey(t *testing.T) {
	limits := topology.KeyLimits{Timers: 2, Entries: 2, Bytes: 50}
	for name, c := range map[string]struct {
		setup func(p *processor)
		want  string
	}{
		"timers": {func(p *processor) {
			p.OnEventTimer(func(time.Time) {})
			p.OnRecord(func(r reading) { p.SetEventTimer(time.UnixMilli(int64(100 + r.N))) })
		}, "KeyLimits.Timers"},
		"list": {func(p *processor) {
			list := topology.ListOf[int](p, "list")
			p.OnRecord(func(r reading) { list.Add(r.N) })
		}, "KeyLimits.Entries"},
		"map": {func(p *processor) {
			m := topology.MapOf[int, int](p, "map")
			p.OnRecord(func(r reading) { m.Set(r.N, 1) })
		}, "KeyLimits.Entries"},
		"bytes": {func(p *processor) {
			v := topology.ValueOf[string](p, "value")
			p.OnRecord(func(r reading) { v.Set(v.Get() + strings.Repeat("x", 20)) })
		}, "the limit KeyLimits.Bytes is 50"},
	} {
		t.Run(name, func(t *testing.T) {
			in, out := topologytest.Input[reading](), topologytest.Collect[string]()
			d := topologytest.New(t, processing(in, out, c.setup, limits, topology.OnError(topology.Retry(1, 0))), topologytest.MayFail())
			in.Push(reading{"key", 1, 1}, reading{"key", 2, 2})
			if d.Snapshot(); d.Err() != nil {
				t.Fatal(d.Err())
			}
			in.Push(reading{"key", 3, 3})
			d.Snapshot()
			for _, want := range []string{`"process"`, "key key", c.want} {
				if err := d.Err(); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %s", err, want)
				}
			}
		})
	}
}

func TestProcessMistakes(t *testing.T) {
	taken := topology.SideOutput[int]("taken")
	other := topology.SideOutput[int]("other")
	b := topology.New("mistakes")
	byKey := topology.KeyBy(topology.From(b, "in", topologytest.Slice[reading]()), "by-key", func(r reading) string { return r.Key })
	topology.Process[string, reading, string](byKey, "nothing", nil)
	topology.Process(byKey, "silent", func(*processor) {})
	topology.Process(byKey, "panics", func(*processor) { panic("oh") })
	topology.Process(byKey, "first", func(p *processor) { p.OnRecord(func(reading) {}) }, taken)
	topology.Process(byKey, "second", func(p *processor) { p.OnRecord(func(reading) {}) }, taken, other, topology.KeyLimits{Timers: -1})
	topology.Process(byKey, "states", func(p *processor) {
		topology.ValueOf[int](p, "Bad Name")
		topology.ListOf[int](p, "twice")
		topology.ListOf[int](p, "twice")
		topology.ValueOf[func()](p, "function")
		topology.MapOf[*int, int](p, "pointer")
		topology.ValueOf[int](p, "short", topology.TTL(1))
		p.OnRecord(func(reading) {})
	})
	topology.Process(byKey, "early", func(p *processor) {
		topology.ValueOf[int](p, "early").Set(1)
		p.OnRecord(func(reading) {})
	})
	_, err := b.Build()
	for _, want := range []string{`"nothing": its function is nil`, `"silent": its function sets no handler`, `"panics": its setup function panics: oh`,
		`"second": side output "taken" belongs to another Process`, `has a stream "other" that leads nowhere`, "limits cannot be negative",
		`"Bad Name"`, `state "twice" is declared twice`, `state "function"`, `state "pointer"`, "TTL is 1ns",
		`"early": its setup function panics: keyed state`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}

func TestWhatMayOnlyHappenInHandlers(t *testing.T) {
	var leaked *processor
	foreign := topology.SideOutput[int]("foreign")
	in, out := topologytest.Input[reading](), topologytest.Collect[string]()
	d := topologytest.New(t, processing(in, out, func(p *processor) {
		leaked = p
		p.OnRecord(func(r reading) {
			switch r.N {
			case 1:
				foreign.Emit(p, 1)
			case 2:
				p.SetTimer(p.Now())
			}
		})
	}, topology.OnError(topology.Retry(1, 0), topology.DeadLetter("dead"))))
	in.Push(reading{"a", 1, 1}, reading{"a", 1, 2})
	for i, want := range []string{`side output "foreign" does not belong`, "call OnTimer"} {
		if l := d.DeadLetters(); len(l) != 2 || !strings.Contains(l[i].Error, want) {
			t.Errorf("%+v does not say %s", l, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a value could be emitted outside of handlers")
		}
	}()
	leaked.Emit("x")
}
