package topology_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// odds and ends that go through every stateless operator, and a diamond.
func everyOperator(in topology.Source[int], out topology.Sink[string], bad topology.Sink[topology.Failed[int]]) *topology.Builder {
	b := topology.New("every-operator")
	n := topology.From(b, "numbers", in)
	small := topology.Filter(n, "small", func(v int) bool { return v < 500 })
	ok, failed := topology.Try(small, "no-sevens", func(v int) (int, error) {
		if v%7 == 0 {
			return 0, errors.New("a seven")
		}
		return v, nil
	})
	topology.To(failed, "bad", bad)
	s := topology.Split(ok, "parity", func(v int) bool { return v%2 == 0 }, func(v int) bool { return v%3 == 0 })
	even := topology.Map(s[0], "even", func(v int) string { return "even " + strconv.Itoa(v) })
	threes := topology.FlatMap(s[1], "threes", func(v int) []string {
		return slices.Repeat([]string{"three " + strconv.Itoa(v)}, v%5)
	})
	rest := topology.Map(s[2], "rest", strconv.Itoa)
	topology.To(topology.Merge(even, "all", threes, rest), "out", out)
	return b
}

// throughALoop is what everyOperator should compute, as a loop.
func throughALoop(in []int) (out []string, bad []int) {
	for _, v := range in {
		switch {
		case v >= 500:
		case v%7 == 0:
			bad = append(bad, v)
		case v%2 == 0:
			out = append(out, "even "+strconv.Itoa(v))
		case v%3 == 0:
			for range v % 5 {
				out = append(out, "three "+strconv.Itoa(v))
			}
		default:
			out = append(out, strconv.Itoa(v))
		}
	}
	return out, bad
}

func TestStatelessOperatorsDoAsALoopWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		splits := rapid.SliceOfN(rapid.SliceOf(rapid.IntRange(0, 999)), 0, 4).Draw(t, "splits")
		out, bad := topologytest.Collect[string](), topologytest.Collect[topology.Failed[int]]()
		err := topologytest.Execute(everyOperator(topologytest.Splits(splits...), out, bad),
			topologytest.Seed(rapid.Uint64().Draw(t, "seed")),
			topologytest.BatchSize(rapid.SampledFrom([]int{1, 2, 7, 256}).Draw(t, "batch")),
			topologytest.Parallelism(rapid.IntRange(1, 4).Draw(t, "parallelism")))
		if err != nil {
			t.Fatal(err)
		}
		wantOut, wantBad := throughALoop(slices.Concat(splits...))
		if got := sorted(out.Values()); !slices.Equal(got, sorted(wantOut)) {
			t.Fatalf("out: %v, want %v", got, sorted(wantOut))
		}
		var gotBad []int
		for _, f := range bad.Values() {
			if f.Err != "a seven" {
				t.Fatalf("failed with %q", f.Err)
			}
			gotBad = append(gotBad, f.Value)
		}
		if !slices.Equal(sorted(gotBad), sorted(wantBad)) {
			t.Fatalf("bad: %v, want %v", gotBad, wantBad)
		}
	})
}

func sorted[T int | string](s []T) []T {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

func TestOrderIsKeptWithinASplit(t *testing.T) {
	in := make([]int, 1000)
	for i := range in {
		in[i] = i
	}
	for _, size := range []int{1, 7, 256} {
		out := topologytest.Collect[int]()
		b := topology.New("order")
		n := topology.From(b, "in", topologytest.Slice(in...))
		twice := topology.FlatMap(n, "twice", func(v int) []int { return []int{v, v} })
		topology.To(topology.Filter(twice, "all", func(int) bool { return true }), "out", out)
		topologytest.Run(t, b, topologytest.BatchSize(size), topologytest.Seed(1))
		for i, v := range out.Values() {
			if v != i/2 {
				t.Fatalf("batch size %d: value %d is %d", size, i, v)
			}
		}
		if n := len(out.Values()); n != 2000 {
			t.Fatalf("batch size %d: %d values", size, n)
		}
	}
}

func TestFlatMapOfAnEnormousRecordGoesOnInBatches(t *testing.T) {
	biggest := 0
	out := topologytest.Collect[int]()
	b := topology.New("huge")
	n := topology.From(b, "in", topologytest.Slice(3, 100_000, 0, 2))
	many := topology.FlatMap(n, "many", func(v int) []int { return make([]int, v) })
	topology.To(many, "out", sizes[int]{out, &biggest})
	topologytest.Run(t, b, topologytest.BatchSize(100))
	if got := len(out.Values()); got != 100_005 {
		t.Fatalf("%d values", got)
	}
	if biggest > 100 {
		t.Fatalf("a batch of %d, where 100 is the limit", biggest)
	}
}

// poisonous panics on multiples of 10, the first time or always.
func poisonous(always bool) func(int) int {
	seen := map[int]bool{}
	return func(v int) int {
		if v%10 == 0 && (always || !seen[v]) {
			seen[v] = true
			panic(fmt.Sprintf("%d is poison", v))
		}
		return v
	}
}

func TestPoisonFollowsThePolicy(t *testing.T) {
	var in, clean []int
	for v := range 100 {
		in = append(in, v)
		if v%10 != 0 {
			clean = append(clean, v)
		}
	}
	operators := map[string]func(topology.Stream[int], func(int) int, topology.ErrorOption) topology.Stream[int]{
		"map": func(s topology.Stream[int], f func(int) int, o topology.ErrorOption) topology.Stream[int] {
			return topology.Map(s, "op", f, o)
		},
		"filter": func(s topology.Stream[int], f func(int) int, o topology.ErrorOption) topology.Stream[int] {
			return topology.Filter(s, "op", func(v int) bool { return f(v) == v }, o)
		},
		"flat-map": func(s topology.Stream[int], f func(int) int, o topology.ErrorOption) topology.Stream[int] {
			return topology.FlatMap(s, "op", func(v int) []int { return []int{f(v)} }, o)
		},
		"try": func(s topology.Stream[int], f func(int) int, o topology.ErrorOption) topology.Stream[int] {
			ok, failed := topology.Try(s, "op", func(v int) (int, error) { return f(v), nil }, o)
			topology.To(failed, "failed", topologytest.Collect[topology.Failed[int]]())
			return ok
		},
	}
	for kind, op := range operators {
		for _, size := range []int{1, 7, 256} {
			run := func(f func(int) int, o topology.ErrorOption) (*topologytest.Driver, []int) {
				out := topologytest.Collect[int]()
				b := topology.New("poison")
				s := topology.From(b, "in", topologytest.Slice(in...))
				topology.To(op(s, f, o), "out", out)
				d := topologytest.New(t, b, topologytest.BatchSize(size), topologytest.MayFail())
				d.Run()
				return d, out.Values()
			}
			t.Run(fmt.Sprint(kind, "/", size), func(t *testing.T) {
				d, got := run(poisonous(false), topology.OnError())
				if d.Err() != nil || !slices.Equal(got, in) || d.Counters("op").Failures != 10 {
					t.Errorf("retried: %v, %v, %+v", d.Err(), got, d.Counters("op"))
				}
				d, got = run(poisonous(true), topology.OnError(topology.Skip()))
				if c := d.Counters("op"); d.Err() != nil || !slices.Equal(got, clean) || c.Skipped != 10 || c.Failures != 30 {
					t.Errorf("skipped: %v, %v, %+v", d.Err(), got, c)
				}
				d, got = run(poisonous(true), topology.OnError(topology.Retry(1, 0), topology.DeadLetter("bad-ints")))
				if d.Err() != nil || !slices.Equal(got, clean) {
					t.Errorf("dead-lettered: %v, %v", d.Err(), got)
				}
				checkLetters(t, d.DeadLetters())
				d, _ = run(poisonous(true), topology.OnError())
				if d.Err() == nil || !strings.Contains(d.Err().Error(), `operator "op" failed 3 times on one record (`) || !strings.Contains(d.Err().Error(), `: 0 is poison; give the operator another error policy (OnError)`) {
					t.Errorf("failed with %v", d.Err())
				}
			})
		}
	}
}

func checkLetters(t *testing.T, letters []topologytest.DeadLetter) {
	t.Helper()
	if len(letters) != 10 {
		t.Fatalf("%d dead letters", len(letters))
	}
	for i, l := range letters {
		if l.Topic != "bad-ints" || l.Node != "op" || l.Attempts != 1 || l.Origin != "0" ||
			l.Error != fmt.Sprintf("%d is poison", i*10) || !strings.Contains(l.Stack, "poisonous") || len(l.Value) == 0 {
			t.Errorf("letter %d: %+v", i, l)
		}
	}
}
