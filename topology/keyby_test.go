package topology_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// countBy counts records by a key that their value gives.
func countBy[K comparable](in topology.Source[float64], out topology.Sink[int], key func(float64) K, opts ...topology.KeyByOption) *topology.Builder {
	b := topology.New("floats")
	byKey := topology.KeyBy(topology.From(b, "in", in), "by-key", key, opts...)
	topology.To(topology.Fold(byKey, "count", func(_ K, n int, _ float64) int { return n + 1 }), "out", out)
	return b
}

// A NaN equals nothing, not even itself, and state of such a key would be lost and
// grow for ever. Wherever in a key it is, the record fails, and no other does.
func TestANaNIsNoKey(t *testing.T) {
	in := []float64{1, math.NaN(), 0, math.Copysign(0, -1), math.NaN(), math.Inf(1)}
	skip := topology.OnError(topology.Retry(1, 0), topology.Skip())
	type point struct {
		Name string
		At   struct{ X, Y float32 }
	}
	type sink = topology.Sink[int]
	for name, build := range map[string]func(sink) *topology.Builder{
		"float64": func(out sink) *topology.Builder {
			return countBy(topologytest.Slice(in...), out, func(v float64) float64 { return v }, skip)
		},
		"float32": func(out sink) *topology.Builder {
			return countBy(topologytest.Slice(in...), out, func(v float64) float32 { return float32(v) }, skip)
		},
		"array": func(out sink) *topology.Builder {
			return countBy(topologytest.Slice(in...), out, func(v float64) [2]float64 { return [2]float64{0, v} }, skip)
		},
		"struct": func(out sink) *topology.Builder {
			return countBy(topologytest.Slice(in...), out, func(v float64) point {
				return point{"a", struct{ X, Y float32 }{1, float32(v)}}
			}, skip)
		},
	} {
		out := topologytest.Collect[int]()
		d := topologytest.New(t, build(out))
		d.Run()
		if got := inOrder(out.Values()); !slices.Equal(got, []int{1, 1, 1, 2}) {
			t.Errorf("%s: counted %v", name, got)
		}
		if c, keys := d.Counters("by-key"), d.Counters("count").Keys; c.Skipped != 2 || c.Failures != 2 || keys != 3 {
			t.Errorf("%s: %d keys, and %+v", name, keys, c)
		}
	}
}

func TestANaNFailsTheJobUnlessToldOtherwise(t *testing.T) {
	d := topologytest.New(t, countBy(topologytest.Slice(math.NaN()), topologytest.Collect[int](), func(v float64) float64 { return v }),
		topologytest.MayFail())
	d.Run()
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), `"by-key"`) || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("failed with %v", err)
	}
}
