package topics

import (
	"context"
	"strings"
	"testing"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/sinks/sinktest"
	"github.com/troupestream/troupe/sources/sourcetest"
	"github.com/troupestream/troupe/topology"
)

type order struct {
	ID   int
	Note string
}

func nth(i int) order { return order{i, strings.Repeat("x", i%40)} }

// fragile is a codec that panics on some orders.
type fragile struct{ Codec[order] }

func (f fragile) Append(dst []byte, v order) ([]byte, error) {
	if v == shortFuse() {
		panic("a short fuse")
	}
	return f.Codec.Append(dst, v)
}

func (f fragile) Decode(data []byte) (order, error) {
	v, err := f.Codec.Decode(data)
	if v == shortFuse() {
		panic("a short fuse")
	}
	return v, err
}

func shortFuse() order { return order{ID: -2} }

func fragileTopic() Topic[order] {
	t := fresh[order]()
	return t.StoredAs(fragile{t.codec})
}

// pooled are the goroutines that actors run on.
var pooled = []string{"github.com/troupestream/troupe/actor.(*Dispatcher).worker"}

// poison exceeds the limit of a record.
func poison() order { return order{-1, strings.Repeat("p", 1<<20)} }

func sinkHarness(t *testing.T, wrap func(topology.Sink[order]) topology.Sink[order], describe func(Topic[order]) Topic[order]) sinktest.Harness[order] {
	ctx, sys := engine(t)
	return sinktest.Harness[order]{
		Record: nth, Poison: poison, Panicking: shortFuse, Pooled: pooled, Equal: func(a, b order) bool { return a == b },
		New: func(*testing.T) sinktest.Case[order] {
			topic := describe(fragileTopic())
			return sinktest.Case[order]{
				Sink:     func() topology.Sink[order] { return wrap(engineSink[order]{topic.Sink(), inEngine{sys}}) },
				Contents: func(t *testing.T) []order { return contents(ctx, t, topic) },
			}
		},
	}
}

func exactly(s topology.Sink[order]) topology.Sink[order] { return s }

func TestSinkConforms(t *testing.T) {
	for name, hold := range map[string]int{"InMemory": DefaultHoldBytes, "Staged": 700} {
		t.Run(name, func(t *testing.T) {
			h := sinkHarness(t, exactly, func(d Topic[order]) Topic[order] { return d.HoldBytes(hold) })
			h.HiddenUntilCommit = true
			sinktest.Run(t, h)
		})
		t.Run(name+"InPartitions", func(t *testing.T) {
			h := sinkHarness(t, exactly, func(d Topic[order]) Topic[order] { return d.HoldBytes(hold).Partitions(3) })
			h.HiddenUntilCommit, h.Unordered = true, true
			sinktest.Run(t, h)
		})
	}
}

// atLeastOnce is a sink in a job with at-least-once state.
type atLeastOnce struct{ topology.Sink[order] }

func (s atLeastOnce) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: dataflow.AtLeastOnce}
}

func (s atLeastOnce) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[order], error) {
	o.ExactlyOnce = false
	return s.Sink.Open(ctx, o)
}

func TestSinkConformsInAtLeastOnceJobs(t *testing.T) {
	sinktest.Run(t, sinkHarness(t, func(s topology.Sink[order]) topology.Sink[order] { return atLeastOnce{s} },
		func(d Topic[order]) Topic[order] { return d }))
}

func TestSourceConforms(t *testing.T) {
	ctx, sys := engine(t)
	fill := func(t *testing.T, topic Topic[order], n int) {
		w := open(ctx, t, topic, topology.SinkOpen{})
		for i := 0; i < n; i += 7 {
			b := new(topology.Batch[order])
			for j := i; j < min(n, i+7); j++ {
				b.Values = append(b.Values, nth(j))
			}
			put(ctx, t, w, b.Values...)
			if _, err := w.Prepare(ctx, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	sourcetest.Run(t, sourcetest.Harness[order]{
		Until: topology.Until{End: true}, Pooled: pooled,
		New: func(t *testing.T) sourcetest.Case[order] {
			topic := fresh[order]().Partitions(2)
			fill(t, topic, 31)
			c := sourcetest.Case[order]{Source: engineSource[order]{topic.Source(), inEngine{sys}}, Want: map[string][]order{"0": nil, "1": nil}}
			for i := range 31 {
				s := []string{"0", "1"}[i%2]
				c.Want[s] = append(c.Want[s], nth(i))
			}
			return c
		},
		Waiting: func(t *testing.T) topology.Source[order] {
			topic := fresh[order]()
			return engineSource[order]{topic.Source(), inEngine{sys}}
		},
		Poisoned: func(t *testing.T) sourcetest.Case[order] {
			return poisonedBy(ctx, t, sys, fill, func(name string) { putOne(ctx, t, Of[string](name), "not an order") })
		},
		Panicking: func(t *testing.T) sourcetest.Case[order] {
			return poisonedBy(ctx, t, sys, fill, func(name string) { putOne(ctx, t, Of[order](name), shortFuse()) })
		},
	})
}

// poisonedBy is a topic with one record between others that cannot be read.
func poisonedBy(ctx context.Context, t *testing.T, sys *actor.System, fill func(*testing.T, Topic[order], int), poison func(topic string)) sourcetest.Case[order] {
	topic := fragileTopic()
	c := sourcetest.Case[order]{Source: engineSource[order]{topic.Source(), inEngine{sys}},
		Want: map[string][]order{"0": nil}, Poison: map[string]int{"0": 9}}
	fill(t, topic, 9)
	poison(topic.name)
	fill(t, topic, 5)
	for i := range 14 {
		c.Want["0"] = append(c.Want["0"], nth(i%9))
	}
	return c
}

func putOne[T any](ctx context.Context, t *testing.T, topic Topic[T], v T) {
	w := open(ctx, t, topic, topology.SinkOpen{})
	put(ctx, t, w, v)
	if _, err := w.Prepare(ctx, 1); err != nil {
		t.Fatal(err)
	}
}
