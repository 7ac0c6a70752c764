package runtime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// everyKind is a topology with an operator of each kind, some in tasks of their own
// and some not.
func everyKind(in topology.Source[int]) *topology.Builder {
	b := topology.New("kinds")
	doubled := topology.Map(topology.From(b, "in", in), "double", func(n int) int { return 2 * n })
	timed := topology.EventTime(doubled, "when", time.Second, func(n int) time.Time { return time.UnixMilli(int64(n)) })
	kept := topology.Filter(timed, "keep", func(n int) bool { return n%3 > 0 })
	parts := topology.Split(kept, "parts", func(n int) bool { return n%2 == 0 })
	both := topology.Merge(parts[0], "both", parts[1])
	ok, failed := topology.Try(both, "try", func(n int) (int, error) {
		if n%5 == 0 {
			return 0, fmt.Errorf("%d is a multiple of five", n)
		}
		return n, nil
	})
	key := func(n int) int { return n % 7 }
	windows, _ := topology.WindowFold(topology.KeyBy(ok, "by-rest", key), "sums", topology.Tumbling(time.Second),
		func(_, sum, n int) int { return sum + n })
	sums := topology.FlatMap(windows, "twice", func(w topology.Window[int, int]) []int { return []int{w.Value, w.Value} })
	totals := topology.Fold(topology.KeyBy(sums, "by-sum", key), "total", func(_, sum, n int) int { return sum + n })
	topology.To(totals, "out", topology.Sink[int](sinks.Slice[int]()))
	topology.To(failed, "bad", topology.Sink[topology.Failed[int]](sinks.Slice[topology.Failed[int]]()))
	return b
}

// When the input has ended, it has for every operator, whatever its kind.
func TestAllOperatorsSeeTheEnd(t *testing.T) {
	numbers := make([]int, 2000)
	for i := range numbers {
		numbers[i] = i
	}
	for _, p := range []int{1, 3} {
		t.Run(fmt.Sprint("parallelism ", p), func(t *testing.T) {
			r, err := runtime.Run(within(t), everyKind(sources.Slice(numbers...)), runtime.Parallelism(p))
			if err != nil || !r.Finished {
				t.Fatalf("%+v, %v", r, err)
			}
			for _, o := range r.Operators {
				if !o.Ended || !o.Watermark.IsZero() {
					t.Errorf("%s %q: ended %v, watermark %v", o.Kind, o.Name, o.Ended, o.Watermark)
				}
			}
		})
	}
}
