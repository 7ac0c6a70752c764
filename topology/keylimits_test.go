package topology_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// named is a key that is no string, and yet has no bound.
type named struct {
	Name string
	N    int
}

// keyLimitCases count records by key in each operator that keeps state.
func keyLimitCases() map[string]func(topology.Stream[reading], topology.KeyLimits, topology.ErrorOption) topology.Stream[string] {
	add := func(_ string, n int, r reading) int { return n + r.N }
	return map[string]func(topology.Stream[reading], topology.KeyLimits, topology.ErrorOption) topology.Stream[string]{
		"fold": func(s topology.Stream[reading], limits topology.KeyLimits, policy topology.ErrorOption) topology.Stream[string] {
			byKey := topology.KeyBy(s, "by-key", func(r reading) string { return r.Key })
			return topology.Fold(byKey, "state", func(k, _ string, _ reading) string { return k }, limits, policy)
		},
		"fold of structs": func(s topology.Stream[reading], limits topology.KeyLimits, policy topology.ErrorOption) topology.Stream[string] {
			byKey := topology.KeyBy(s, "by-key", func(r reading) named { return named{Name: r.Key} })
			return topology.Fold(byKey, "state", func(k named, _ string, _ reading) string { return k.Name }, limits, policy)
		},
		"window": func(s topology.Stream[reading], limits topology.KeyLimits, policy topology.ErrorOption) topology.Stream[string] {
			byKey := topology.KeyBy(topology.EventTime(s, "time", ms(1), reading.time), "by-key", func(r reading) string { return r.Key })
			out, _ := topology.WindowFold(byKey, "state", topology.Tumbling(ms(10)), add, limits, policy)
			return topology.Map(out, "key", func(w topology.Window[string, int]) string { return w.Key })
		},
		"process": func(s topology.Stream[reading], limits topology.KeyLimits, policy topology.ErrorOption) topology.Stream[string] {
			byKey := topology.KeyBy(s, "by-key", func(r reading) string { return r.Key })
			return topology.Process(byKey, "state", func(p *topology.Processor[string, reading, string]) {
				n := topology.ValueOf[int](p, "n")
				p.OnRecord(func(reading) { n.Set(n.Get() + 1); p.Emit(p.Key()) })
			}, limits, policy)
		},
	}
}

func TestAKeyThatIsTooLongIsFoundByItsFirstRecord(t *testing.T) {
	for name, count := range keyLimitCases() {
		for _, c := range []struct {
			limits topology.KeyLimits
			fits   int
		}{{topology.KeyLimits{}, 60 << 10}, {topology.KeyLimits{KeyBytes: 100}, 80}} {
			t.Run(name, func(t *testing.T) {
				long, short := strings.Repeat("k", 70<<10), strings.Repeat("k", c.fits)
				run := func(policy topology.ErrorOption) (*topologytest.Driver, []string) {
					b, out := topology.New("limits"), topologytest.Collect[string]()
					in := topology.From(b, "in", topologytest.Slice(reading{short, 1, 1}, reading{long, 2, 1}, reading{short, 3, 1}))
					topology.To(count(in, c.limits, policy), "out", out)
					d := topologytest.New(t, b, topologytest.MayFail())
					d.Run()
					return d, out.Values()
				}
				d, got := run(topology.OnError(topology.Retry(1, 0), topology.Skip()))
				if got = slices.Compact(got); d.Err() != nil || !slices.Equal(got, []string{short}) {
					t.Errorf("%d keys came out, %v", len(got), d.Err())
				}
				if n := d.Counters("state"); n.Skipped != 1 || n.Keys > 1 {
					t.Errorf("counted %+v", n)
				}
				d, _ = run(topology.OnError(topology.Retry(1, 0)))
				err := d.Err()
				if !errors.Is(err, topology.ErrStateLimit) || len(err.Error()) > 600 {
					t.Fatalf("err = %.1000v", err)
				}
				for _, part := range []string{`operator "state"`, "kkk… (", "KeyLimits.KeyBytes is "} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%v does not say %s", err, part)
					}
				}
			})
		}
	}
}
