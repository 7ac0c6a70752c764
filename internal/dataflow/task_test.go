package dataflow

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/watermark"
)

// spy is an operator that notes where its batches come from, and when origins end.
type spy struct {
	echo
	env     *Env
	origins []string
	ended   []string
}

func (s *spy) Input(int) any { return s }

func (s *spy) Receive(b *Batch[int]) error {
	s.origins = append(s.origins, s.env.OriginOf(&b.Columns))
	return s.echo.Receive(b)
}

func (s *spy) EndOrigin(o int) error {
	s.ended = append(s.ended, s.env.Origins[o])
	return nil
}

func TestOriginsOfSeveralInputsAreToldApart(t *testing.T) {
	g := newGraph()
	g.source("s")
	g.source("r")
	var it *spy
	m := g.op("m", "s", "r")
	m.NewInstance = func(env *Env) (Instance, error) {
		it = &spy{env: env}
		return it, nil
	}
	g.sink("out", SinkInfo{}, "m")
	p, err := NewPlan(g.nodes, 2, map[int]int{0: 2, 1: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := newRecorder(2)
	task, err := NewTask(p, p.Chains[2], 0, testOptions(e))
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Restore(Snapshot{}); err != nil {
		t.Fatal(err)
	}
	link := g.nodes[0].Outputs[0].Link.(*StreamLink[int])
	for _, from := range []struct{ head, channel int }{{0, 0}, {0, 1}, {1, 0}} {
		b := link.Get()
		b.Values = append(b.Values, 1)
		if err := task.Deliver(from.head, from.channel, &Parcel{Batch: b, Watermark: 5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := task.EndOrigin(task.Origin(1, 0)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"s/0/0", "s/0/1", "r/0/0"}; !slices.Equal(it.origins, want) || !slices.Equal(it.ended, want[2:]) {
		t.Errorf("origins %v, ended %v", it.origins, it.ended)
	}
	if task.Watermark() != 5 {
		t.Errorf("watermark %d", task.Watermark())
	}
	task.Flush()
	if len(e.sent[0]) != 1 || e.sent[0][0].Records != 3 {
		t.Errorf("sent %+v", e.sent)
	}
}

func testOptions(e Edge) TaskOptions {
	return TaskOptions{Context: context.Background(), KeyGroups: 8, BatchSize: 100, Now: time.Now,
		Metrics: func(string) *Metrics { return &Metrics{} }, Edge: func(*Wire) Edge { return e }}
}

// chunks is a stateful operator whose state is so many segments of one byte.
type chunks struct {
	echo
	left     int
	restored []int
}

func (c *chunks) Input(int) any { return c }
func (c *chunks) Freeze()       { c.left = 5 }

func (c *chunks) Encode(budget int, emit func(int, []byte)) (bool, error) {
	for ; c.left > 0 && budget > 0; c.left-- {
		emit(c.left, []byte{byte(c.left)})
		budget--
	}
	return c.left > 0, nil
}

func (c *chunks) Restore(group int, _ []Entry) error {
	c.restored = append(c.restored, group)
	return nil
}

func (c *chunks) Restored() error { return nil }

func TestSnapshotsGoThroughAllOperatorsALittleAtATime(t *testing.T) {
	g := newGraph()
	g.source("s")
	first, second := &chunks{}, &chunks{}
	g.op("a", "s").NewInstance = func(*Env) (Instance, error) { return first, nil }
	g.op("b", "a")
	g.op("c", "b").NewInstance = func(*Env) (Instance, error) { return second, nil }
	g.sink("out", SinkInfo{}, "c")
	p, err := NewPlan(g.nodes, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	task, err := NewTask(p, p.Chains[0], 1, testOptions(newRecorder(2)))
	if err != nil {
		t.Fatal(err)
	}
	for _, budget := range []int{1, 3, 100} {
		segments := map[string]int{}
		calls := 0
		task.Freeze()
		for more := true; more; calls++ {
			given := 0
			if more, err = task.Encode(budget, func(node string, _ int, s []byte) {
				segments[node]++
				given += len(s)
			}); err != nil {
				t.Fatal(err)
			}
			if given > budget {
				t.Fatalf("%d bytes, the budget is %d", given, budget)
			}
		}
		if len(segments) != 2 || segments["a"] != 5 || segments["c"] != 5 || calls < 10/budget {
			t.Errorf("budget %d: %v in %d calls", budget, segments, calls)
		}
	}
	var asked []int
	err = task.Restore(Snapshot{Segments: func(node string, group int, f func([]byte) error) error {
		if node == "a" {
			asked = append(asked, group)
		}
		return f(AppendEntry(nil, []byte("k"), nil))
	}})
	if want := []int{4, 5, 6, 7}; err != nil || !slices.Equal(asked, want) || !slices.Equal(second.restored, want) {
		t.Errorf("%v; restored %v and %v, want %v", err, asked, second.restored, want)
	}
}

func TestASourceWithoutSplitsHasOneOriginToEnd(t *testing.T) {
	g := newGraph()
	g.source("s")
	g.sink("out", SinkInfo{}, "s")
	p, err := NewPlan(g.nodes, 1, map[int]int{0: 0})
	if err != nil {
		t.Fatal(err)
	}
	e := newRecorder(1)
	task, err := NewTask(p, p.Chains[0], 0, testOptions(e))
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Deliver(0, 0, &Parcel{Watermark: watermark.Max}); err != nil {
		t.Fatal(err)
	}
	task.End()
	if last := e.sent[0][len(e.sent[0])-1]; !last.End || last.Watermark != watermark.Max {
		t.Errorf("the last parcel is %+v", last)
	}
}
