package runtime_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/runtime/runtimetest/ledger"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

const wayRecords = 2000

// sameValues compares what a sink holds with the batch answer, in any order.
func sameValues[T comparable](t testing.TB, w *runtimetest.Way, name string, want map[T]int) {
	t.Helper()
	var l ledger.Ledger
	got := map[T]int{}
	for _, v := range runtimetest.Values[T](w, name) {
		got[v]++
	}
	ledger.CompareState(&l, name, want, got)
	if err := l.Check().Err(); err != nil {
		t.Error(err)
	}
}

func TestWordsThreeWays(t *testing.T) {
	t.Parallel()
	words := strings.Fields("the quick brown fox jumps over the lazy dog and the cat")
	line := func(i int64) string {
		return words[i%int64(len(words))] + " " + words[i*i%int64(len(words))]
	}
	type count struct {
		Word string
		N    int
	}
	runtimetest.ThreeWays(t, func(w *runtimetest.Way) *topology.Builder {
		b := topology.New("words")
		lines := topology.From(b, "lines", runtimetest.From(w, sources.Generator(line, sources.Count(wayRecords), sources.Splits(3))))
		split := topology.FlatMap(lines, "split", strings.Fields)
		byWord := topology.KeyBy(split, "by-word", func(s string) string { return s })
		counts := topology.Fold(byWord, "count", func(word string, c count, _ string) count { return count{word, c.N + 1} })
		topology.To(counts, "out", runtimetest.To[count](w, "out"))
		return b
	}, func(t testing.TB, w *runtimetest.Way) {
		want, n := map[count]int{}, map[string]int{}
		for i := range int64(wayRecords) {
			for _, word := range strings.Fields(line(i)) {
				n[word]++
				want[count{word, n[word]}] = 1
			}
		}
		sameValues(t, w, "out", want)
	})
}

// span is a window's result.
type span struct {
	Key        string
	Start, End int64
	Count, Sum int64
}

func spanOf(w topology.Window[string, total]) span {
	return span{w.Key, w.Start.UnixMilli(), w.End.UnixMilli(), w.Value.Count, w.Value.Sum}
}

const (
	lateBound    = 500 * time.Millisecond // less than the disorder: some records are late
	lateAllowed  = 300 * time.Millisecond
	slidingSize  = time.Second
	slidingEvery = 500 * time.Millisecond
	tumblingSize = time.Second
)

func addUp(_ string, w total, r reading) total {
	return total{Count: w.Count + 1, Sum: w.Sum + r.Value}
}

// What is late, and how often a window's result is given out, is decided by the
// order of the records of a split alone: so there is one split here.
func TestWindowsThreeWays(t *testing.T) {
	t.Parallel()
	runtimetest.ThreeWays(t, func(w *runtimetest.Way) *topology.Builder {
		b := topology.New("windows")
		all := topology.From(b, "readings", runtimetest.From(w, sources.Generator(readingOf, sources.Count(wayRecords))))
		timed := topology.EventTime(all, "time", lateBound, reading.time)
		byKey := topology.KeyBy(timed, "by-key", reading.key)
		tumbling, late := topology.WindowFold(byKey, "tumbling", topology.Tumbling(tumblingSize), addUp)
		sliding, tooLate := topology.WindowFold(byKey, "sliding", topology.Sliding(slidingSize, slidingEvery), addUp, topology.AllowedLateness(lateAllowed))
		for name, s := range map[string]topology.Stream[topology.Window[string, total]]{"tumbling": tumbling, "sliding": sliding} {
			topology.To(topology.Map(s, name+"-span", spanOf), name+"-out", runtimetest.To[span](w, name))
		}
		for name, s := range map[string]topology.Stream[topology.Late[reading]]{"tumbling-late": late, "sliding-late": tooLate} {
			topology.To(topology.Map(s, name, func(l topology.Late[reading]) int64 { return l.Value.ID }), name+"-out", runtimetest.To[int64](w, name))
		}
		return b
	}, func(t testing.TB, w *runtimetest.Way) {
		fired, late := windowsOf(tumblingSize, tumblingSize, 0)
		sameValues(t, w, "tumbling", fired)
		sameValues(t, w, "tumbling-late", late)
		fired, late = windowsOf(slidingSize, slidingEvery, lateAllowed)
		sameValues(t, w, "sliding", fired)
		sameValues(t, w, "sliding-late", late)
		if len(late) == 0 {
			t.Error("nothing is late, which would prove nothing")
		}
	})
}

// windowsOf is the batch answer: the records one by one, with the watermark in
// front of each.
func windowsOf(size, every, allowed time.Duration) (fired map[span]int, late map[int64]int) {
	fired, late = map[span]int{}, map[int64]int{}
	open := map[span]span{} // by key and bounds
	mark, newest := int64(-1<<62), int64(-1<<62)
	for i := range int64(wayRecords) {
		r := readingOf(i)
		counted := false
		for start := r.At - r.At%every.Milliseconds(); start > r.At-size.Milliseconds(); start -= every.Milliseconds() {
			k := span{Key: r.key(), Start: start, End: start + size.Milliseconds()}
			if k.End-1+allowed.Milliseconds() <= mark {
				continue
			}
			counted = true
			v := span{k.Key, k.Start, k.End, open[k].Count + 1, open[k].Sum + r.Value}
			open[k] = v
			if k.End-1 <= mark {
				fired[v]++
			}
		}
		if !counted {
			late[r.ID]++
		}
		newest = max(newest, r.At)
		before := mark
		mark = newest - lateBound.Milliseconds() - 1
		for k, v := range open {
			if k.End-1 > before && k.End-1 <= mark {
				fired[v]++
			}
		}
	}
	for k, v := range open {
		if k.End-1 > mark {
			fired[v]++
		}
	}
	return fired, late
}

// TestProcessThreeWays keeps state of every kind, and gives it out by event timers.
func TestProcessThreeWays(t *testing.T) {
	t.Parallel()
	type bucket struct {
		Key        string
		Start      int64
		Count, Sum int64
	}
	const size = 2000
	runtimetest.ThreeWays(t, func(w *runtimetest.Way) *topology.Builder {
		b := topology.New("process")
		all := topology.From(b, "readings", runtimetest.From(w, sources.Generator(readingOf, sources.Count(wayRecords), sources.Splits(3))))
		timed := topology.EventTime(all, "time", faultBound, reading.time)
		byKey := topology.KeyBy(timed, "by-key", reading.key)
		seen := topology.SideOutput[string]("seen")
		buckets := topology.Process(byKey, "buckets", func(p *topology.Processor[string, reading, bucket]) {
			count := topology.ValueOf[int64](p, "count")
			sums := topology.MapOf[int64, bucket](p, "sums")
			p.OnRecord(func(r reading) {
				count.Set(count.Get() + 1)
				start := r.At - r.At%size
				s, _ := sums.Get(start)
				sums.Set(start, bucket{p.Key(), start, s.Count + 1, s.Sum + r.Value})
				p.SetEventTimer(time.UnixMilli(start + size))
				seen.Emit(p, fmt.Sprint(p.Key(), " ", count.Get()))
			})
			p.OnEventTimer(func(at time.Time) {
				start := at.UnixMilli() - size
				if s, ok := sums.Get(start); ok {
					p.Emit(s)
					sums.Delete(start)
				}
			})
		}, seen)
		topology.To(buckets, "out", runtimetest.To[bucket](w, "out"))
		topology.To(seen.Stream(), "seen-out", runtimetest.To[string](w, "seen"))
		return b
	}, func(t testing.TB, w *runtimetest.Way) {
		sums, seen, n := map[span]bucket{}, map[string]int{}, map[string]int{}
		for i := range int64(wayRecords) {
			r := readingOf(i)
			k := span{Key: r.key(), Start: r.At - r.At%size}
			sums[k] = bucket{k.Key, k.Start, sums[k].Count + 1, sums[k].Sum + r.Value}
			n[k.Key]++
			seen[fmt.Sprint(k.Key, " ", n[k.Key])]++
		}
		want := map[bucket]int{}
		for v := range maps.Values(sums) {
			want[v]++
		}
		sameValues(t, w, "out", want)
		sameValues(t, w, "seen", seen)
	})
}

// TestDetoursThreeWays goes through a topic, around a diamond, and past failures.
func TestDetoursThreeWays(t *testing.T) {
	t.Parallel()
	type tally struct {
		Key string
		N   int64
	}
	middle := topics.Of[reading]("middle").Partitions(2).KeyedBy(func(r reading) []byte { return []byte(r.key()) })
	try := func(r reading) (reading, error) {
		if r.ID%97 == 13 {
			return r, fmt.Errorf("record %d is bad", r.ID)
		}
		return r, nil
	}
	runtimetest.ThreeWays(t, func(w *runtimetest.Way) *topology.Builder {
		b := topology.New("detours")
		all := topology.From(b, "readings", runtimetest.From(w, sources.Generator(readingOf, sources.Count(wayRecords), sources.Splits(3))))
		good, bad := topology.Try(all, "check", try)
		topology.To(bad, "bad", runtimetest.To[topology.Failed[reading]](w, "bad"))
		buffered := topology.Through(good, "middle", middle)
		parts := topology.Split(buffered, "by-rest", func(r reading) bool { return r.ID%3 == 0 }, func(r reading) bool { return r.ID%3 == 1 })
		for i, p := range parts {
			parts[i] = topology.Map(p, fmt.Sprint("add-", i), func(r reading) reading { r.Value += int64(i); return r })
		}
		again := topology.Merge(parts[0], "again", parts[1:]...)
		topology.To(topology.Map(again, "plain", func(r reading) span { return span{Start: r.ID, Sum: r.Value} }), "records", runtimetest.To[span](w, "records"))
		byKey := topology.KeyBy(again, "by-key", reading.key)
		topology.To(topology.Fold(byKey, "tally", func(k string, a tally, _ reading) tally { return tally{k, a.N + 1} }), "out", runtimetest.To[tally](w, "out"))
		return b
	}, func(t testing.TB, w *runtimetest.Way) {
		records, tallies, n := map[span]int{}, map[tally]int{}, map[string]int64{}
		bad := map[topology.Failed[reading]]int{}
		for i := range int64(wayRecords) {
			r, err := try(readingOf(i))
			if err != nil {
				bad[topology.Failed[reading]{Value: r, Err: err.Error()}]++
				continue
			}
			records[span{Start: r.ID, Sum: r.Value + i%3}]++
			n[r.key()]++
			tallies[tally{r.key(), n[r.key()]}]++
		}
		sameValues(t, w, "records", records)
		sameValues(t, w, "out", tallies)
		sameValues(t, w, "bad", bad)
	})
}
