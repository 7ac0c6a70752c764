package dataflow

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is an operator that hands on what it gets.
type echo struct{ port Port[int] }

func (e *echo) Input(int) any                   { return e }
func (e *echo) Connect(_ int, r any) error      { return e.port.Connect(r) }
func (e *echo) Receive(b *Batch[int]) error     { return e.port.Receive(b) }
func (e *echo) Watermark(t int64, i bool) error { return e.port.Watermark(t, i) }

// keyedEcho is echo for keyed streams.
type keyedEcho struct{ echo }

func (e *keyedEcho) Input(int) any                              { return e }
func (e *keyedEcho) ReceiveKeyed(b *KeyedBatch[int, int]) error { return e.port.Receive(&b.Batch) }

// fakeSource and fakeSink stand where a plan wants to see one.
type fakeSource struct{ SourceDriver }

type fakeSink struct {
	SinkDriver
	info SinkInfo
	open func() SinkWriter
}

func (s fakeSink) Info() SinkInfo { return s.info }
func (s fakeSink) Open(context.Context, SinkOpen) (SinkWriter, error) {
	return s.open(), nil
}

// graph builds nodes for tests, by name.
type graph struct {
	nodes []*Node
	named map[string]*Node
}

func newGraph() *graph { return &graph{named: map[string]*Node{}} }

func (g *graph) add(n *Node, outputs int, inputs ...string) *Node {
	n.ID = len(g.nodes)
	for _, in := range inputs {
		var name string
		var port int
		if _, err := fmt.Sscanf(in, "%1s%d", &name, &port); err != nil {
			name = in
		}
		n.Inputs = append(n.Inputs, Input{Node: g.named[name].ID, Port: port})
	}
	for range outputs {
		n.Outputs = append(n.Outputs, Output{Type: "int", Link: NewStreamLink[int]()})
	}
	g.nodes = append(g.nodes, n)
	g.named[n.Name] = n
	return n
}

func (g *graph) source(name string) *Node {
	return g.add(&Node{Name: name, Role: Source, Source: fakeSource{}}, 1)
}

func (g *graph) op(name string, inputs ...string) *Node {
	return g.add(&Node{Name: name, NewInstance: func(*Env) (Instance, error) { return &echo{}, nil }}, 2, inputs...)
}

func (g *graph) keyed(name string, inputs ...string) *Node {
	return g.add(&Node{Name: name, NewInstance: func(*Env) (Instance, error) { return &keyedEcho{}, nil }}, 1, inputs...)
}

func (g *graph) key(name, input string, parallelism int) *Node {
	n := g.add(&Node{Name: name, Role: Exchange, Parallelism: parallelism}, 0, input)
	n.Outputs = []Output{{Link: newIntLink(func(v int) int { return v }, DefaultPolicy())}}
	return n
}

func newIntLink(key func(int) int, p Policy) *KeyedLink[int, int] {
	return NewKeyedLink(key, func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 }, p,
		func(b *Batch[int], i int) DeadLetter {
			return DeadLetter{Value: fmt.Append(nil, b.Values[i]), Time: b.Time(i)}
		})
}

func (g *graph) sink(name string, info SinkInfo, input string) *Node {
	return g.add(&Node{Name: name, Role: Sink, Sink: fakeSink{info: info}}, 0, input)
}

// recorder is an Edge that keeps what is sent, by target.
type recorder struct{ sent [][]Parcel }

func newRecorder(targets int) *recorder { return &recorder{make([][]Parcel, targets)} }

func (r *recorder) Targets() int         { return len(r.sent) }
func (r *recorder) Send(t int, p Parcel) { r.sent[t] = append(r.sent[t], p) }

func testEnv() *Env {
	return &Env{Context: context.Background(), Node: "op", KeyGroups: 16, BatchSize: 4, Origins: []string{"o0", "o1"},
		Metrics: &Metrics{}, Sleep: func(time.Duration) error { return nil }}
}
