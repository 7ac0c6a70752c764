package topology_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// One date far in the future closes no window, and is processed all the same.
func TestARecordFromTheFutureClosesNoWindow(t *testing.T) {
	now := time.UnixMilli(1_000_000).UTC()
	in := topologytest.Input[reading]()
	s := newSums(topology.Tumbling(ms(10)), 0, 0)
	s.eventTime = []topology.EventTimeOption{topology.MaxDrift(time.Second)}
	d := topologytest.New(t, s.topology(in), topologytest.At(now))
	in.Push(reading{"a", 1, 1}, reading{"a", 1_001_001, 5}, reading{"a", 2, 1}, reading{"a", 10, 1})
	if got, want := plain(s.out.Values()), []result{{"a", 0, 10, 2}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c := d.Counters("time"); c.Future != 1 || c.Out != 4 || c.Watermark != 9 {
		t.Errorf("counted %+v", c)
	}
	d.Advance(time.Second)
	in.Push(reading{"a", 1_001_010, 1})
	if c := d.Counters("time"); c.Future != 1 || c.Watermark != 1_001_009 {
		t.Errorf("a second later, counted %+v", c)
	}
	in.End()
	want := []result{{"a", 0, 10, 2}, {"a", 10, 20, 1}, {"a", 1_001_000, 1_001_010, 5}, {"a", 1_001_010, 1_001_020, 1}}
	if got := plain(s.out.Values()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Unless set otherwise, an hour ahead of the clock is allowed for.
func TestMaxDriftIsAnHour(t *testing.T) {
	in := topologytest.Input[reading]()
	s := newSums(topology.Tumbling(ms(10)), 0, 0)
	d := topologytest.New(t, s.topology(in), topologytest.At(time.UnixMilli(0)))
	in.Push(reading{"a", time.Hour.Milliseconds(), 1})
	if c := d.Counters("time"); c.Future != 0 {
		t.Errorf("an hour ahead: %+v", c)
	}
	in.Push(reading{"a", time.Hour.Milliseconds() + 1, 1})
	if c := d.Counters("time"); c.Future != 1 {
		t.Errorf("more than an hour ahead: %+v", c)
	}
}

// When old data is replayed the clock does not protect; MaxJump does.
func TestAJumpClosesNoWindow(t *testing.T) {
	in := topologytest.Input[reading]()
	s := newSums(topology.Tumbling(ms(10)), 0, 0)
	s.eventTime = []topology.EventTimeOption{topology.MaxJump(time.Minute)}
	d := topologytest.New(t, s.topology(in))
	in.Push(reading{"a", 1, 1}, reading{"a", 1 << 40, 1}, reading{"a", 2, 1})
	for range 15 {
		in.Push(reading{"b", 1 << 39, 1})
	}
	if got := plain(s.out.Values()); len(got) > 0 {
		t.Errorf("closed %v", got)
	}
	d.Restore(d.Snapshot())
	in.Push(reading{"b", 1 << 39, 1})
	if got, want := plain(s.out.Values()), []result{{"a", 0, 10, 2}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Nothing is in front of a split's first record that would show it to be wrong. It
// closes no window all the same, whether the split goes on or ends.
func TestAWrongFirstDateClosesNoWindow(t *testing.T) {
	for n := range int64(5) {
		in := topologytest.Input[reading]()
		s := newSums(topology.Tumbling(ms(10)), 0, 0)
		s.eventTime = []topology.EventTimeOption{topology.MaxJump(time.Minute)}
		d := topologytest.New(t, s.topology(in))
		in.Push(reading{"a", 1 << 40, 1})
		d.Restore(d.Snapshot())
		var want []result
		for i := range n {
			in.Push(reading{"b", 10 * i, 1})
			want = append(want, result{"b", 10 * i, 10*i + 10, 1})
		}
		if got := plain(s.out.Values()); !slices.Equal(got, want[:max(0, len(want)-1)]) {
			t.Errorf("%d records: closed %v", n, got)
		}
		in.End()
		start := int64(1<<40) / 10 * 10
		want = append(want, result{"a", start, start + 10, 1})
		if got := plain(s.out.Values()); !slices.Equal(got, want) || len(s.late.Values()) > 0 {
			t.Errorf("%d records: got %v, late %v, want %v", n, got, s.lateOnes(), want)
		}
	}
}

// A silent split holds event time back until it has been silent for long
// enough, and for ever if nobody said how long that is.
func TestASilentSplit(t *testing.T) {
	for _, parallelism := range []int{1, 2} {
		in := topologytest.Input[reading]("busy", "silent")
		s := newSums(topology.Tumbling(ms(10)), 0, 0)
		s.eventTime = []topology.EventTimeOption{topology.Idle(time.Minute)}
		d := topologytest.New(t, s.topology(in), topologytest.Parallelism(parallelism))
		in.PushTo("busy", reading{"a", 1, 1}, reading{"a", 50, 1})
		d.Advance(50 * time.Second)
		in.PushTo("busy", reading{"a", 51, 1})
		if got := plain(s.out.Values()); len(got) > 0 {
			t.Errorf("closed %v while the silent split may still speak", got)
		}
		d.Advance(20 * time.Second)
		in.PushTo("busy", reading{"a", 52, 1})
		want := []result{{"a", 0, 10, 1}}
		if got := plain(s.out.Values()); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		in.PushTo("silent", reading{"b", 55, 1}, reading{"b", 3, 1}) // speaks again, and is late
		in.PushTo("busy", reading{"a", 90, 1})
		if got := plain(s.out.Values()); !slices.Equal(got, want) || len(s.late.Values()) != 1 {
			t.Errorf("got %v, late %v, want %v", got, s.lateOnes(), want)
		}
		in.EndSplit("silent")
		want = append(want, result{"a", 50, 60, 3}, result{"b", 50, 60, 1})
		if got := inOrder(plain(s.out.Values())); !slices.Equal(got, want) {
			t.Errorf("with the silent split at its end: got %v, want %v", got, want)
		}
		in.End()
		want = append(want, result{"a", 90, 100, 1})
		if got := inOrder(plain(s.out.Values())); !slices.Equal(got, inOrder(want)) {
			t.Errorf("at the end: got %v, want %v", got, want)
		}
	}
}

func TestRecordsWithoutATimeToReadArePassedOver(t *testing.T) {
	b := topology.New("broken")
	out := topologytest.Collect[reading]()
	timed := topology.EventTime(topology.From(b, "in", topologytest.Slice(
		reading{"a", 1, 1}, reading{"bad", 2, 1}, reading{"b", 3, 1}, reading{"far", 1<<62 + 1, 1}, reading{"c", 5, 1})),
		"time", 0, func(r reading) time.Time {
			if r.Key == "bad" {
				panic("no time")
			}
			return r.time()
		}, topology.OnError(topology.Retry(2, 0), topology.Skip()))
	topology.To(timed, "out", out)
	d := topologytest.New(t, b)
	d.Run()
	var keys []string
	for _, r := range out.Values() {
		keys = append(keys, r.Key)
	}
	if got := strings.Join(keys, " "); got != "a b c" {
		t.Errorf("got %s", got)
	}
	for i, at := range out.Times() {
		if at.UnixMilli() != out.Values()[i].At {
			t.Errorf("%v has time %v", out.Values()[i], at)
		}
	}
	if c := d.Counters("time"); c.Skipped != 2 || c.Failures != 4 || c.Out != 3 {
		t.Errorf("counted %+v", c)
	}
}

// Event time that was read off once is replaced by what is read off later.
func TestEventTimeAgain(t *testing.T) {
	b := topology.New("again")
	s := newSums(topology.Tumbling(ms(10)), 0, 0)
	wrong := topology.EventTime(topology.From(b, "in", topologytest.Slice(reading{"a", 1, 1}, reading{"a", 2, 1})), "wrong", 0,
		func(reading) time.Time { return time.UnixMilli(1 << 40) })
	right := topology.EventTime(wrong, "right", 0, reading.time)
	results, late := topology.WindowFold(topology.KeyBy(right, "by-key", func(r reading) string { return r.Key }), "sum",
		s.windows, func(_ string, n int, r reading) int { return n + r.N })
	topology.To(results, "out", s.out)
	topology.To(late, "late", s.late)
	topologytest.Run(t, b)
	if got, want := plain(s.out.Values()), []result{{"a", 0, 10, 2}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEventTimeMistakes(t *testing.T) {
	b := topology.New("mistakes")
	in := topology.From(b, "in", topologytest.Slice[reading]())
	topology.EventTime(in, "one", -time.Second, reading.time, topology.Idle(0))
	topology.EventTime(in, "two", 0, nil, topology.MaxDrift(-1), topology.MaxJump(time.Nanosecond))
	_, err := b.Build()
	for _, want := range []string{"bound is -1s", "Idle is 0s", "function is nil", "MaxDrift is -1ns", "MaxJump is 1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
