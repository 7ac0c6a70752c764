package topology_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// sizes is a sink that notes the largest batch.
type sizes[T any] struct {
	*topologytest.Collected[T]
	biggest *int
}

func (s sizes[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	w, err := s.Collected.Open(ctx, o)
	return sizeWriter[T]{w, s.biggest}, err
}

type sizeWriter[T any] struct {
	topology.SinkWriter[T]
	biggest *int
}

func (w sizeWriter[T]) Write(ctx context.Context, b *topology.Batch[T]) error {
	*w.biggest = max(*w.biggest, b.Len())
	return w.SinkWriter.Write(ctx, b)
}

// picky is a sink that refuses negative numbers.
type picky struct {
	*topologytest.Collected[int]
	inline bool
}

func (s picky) Info() topology.SinkInfo { return topology.SinkInfo{Inline: s.inline} }

func (s picky) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[int], error) {
	w, err := s.Collected.Open(ctx, o)
	return pickyWriter{w}, err
}

type pickyWriter struct{ topology.SinkWriter[int] }

func (w pickyWriter) Write(ctx context.Context, b *topology.Batch[int]) error {
	for i, v := range b.Values {
		if v < 0 {
			front := &topology.Batch[int]{Values: b.Values[:i]}
			if err := w.SinkWriter.Write(ctx, front); err != nil {
				return err
			}
			return &topology.RecordError{Index: i, Err: fmt.Errorf("%d is negative", v)}
		}
	}
	return w.SinkWriter.Write(ctx, b)
}

func TestRecordsThatASinkRefusesFollowThePolicy(t *testing.T) {
	for _, inline := range []bool{false, true} {
		t.Run(fmt.Sprint("inline ", inline), func(t *testing.T) {
			run := func(o topology.ErrorOption) (*topologytest.Driver, []int) {
				out := topologytest.Collect[int]()
				b := topology.New("picky")
				topology.To(topology.From(b, "in", topologytest.Slice(1, -2, -3, 4, -5)), "out", picky{out, inline}, o)
				d := topologytest.New(t, b, topologytest.MayFail())
				d.Run()
				return d, out.Values()
			}
			d, got := run(topology.OnError(topology.DeadLetter("bad")))
			if d.Err() != nil || !slices.Equal(got, []int{1, 4}) || len(d.DeadLetters()) != 3 {
				t.Errorf("%v %v %v", d.Err(), got, d.DeadLetters())
			}
			d, got = run(topology.OnError(topology.Skip()))
			if d.Err() != nil || !slices.Equal(got, []int{1, 4}) || d.Counters("out").Skipped != 3 {
				t.Errorf("%v %v %+v", d.Err(), got, d.Counters("out"))
			}
			d, _ = run(topology.OnError())
			if d.Err() == nil || !strings.Contains(d.Err().Error(), `): -2 is negative; give the sink another error policy`) {
				t.Errorf("failed with %v", d.Err())
			}
		})
	}
}

// scripted is a source whose reader plays a script.
type scripted func(read int, b *topology.Batch[string]) error

func (s scripted) Splits(context.Context) ([]string, error) { return []string{"only"}, nil }

func (s scripted) Open(context.Context, topology.OpenRequest) (topology.SourceReader[string], error) {
	return &scriptedReader{play: s}, nil
}

type scriptedReader struct {
	play scripted
	at   int
}

func (r *scriptedReader) Read(_ context.Context, b *topology.Batch[string], _ int) error {
	r.at++
	return r.play(r.at, b)
}
func (r *scriptedReader) Position() []byte { return nil }
func (r *scriptedReader) Lag() int64       { return -1 }
func (r *scriptedReader) Close() error     { return nil }

func runScript(t *testing.T, s scripted, o topology.ErrorOption) (*topologytest.Driver, []string) {
	out := topologytest.Collect[string]()
	b := topology.New("scripted")
	topology.To(topology.From(b, "in", s, o), "out", out)
	d := topologytest.New(t, b, topologytest.MayFail())
	d.Run()
	return d, out.Values()
}

func TestRecordsThatASourceCannotRead(t *testing.T) {
	script := func(read int, b *topology.Batch[string]) error {
		switch read {
		case 1:
			b.Values = append(b.Values, "a", "b")
			return &topology.RecordError{Raw: []byte("{"), Where: "f:3", Err: errors.New("not JSON")}
		case 2:
			b.Values = append(b.Values, "c")
			return io.EOF
		}
		return errors.New("read past the end")
	}
	d, got := runScript(t, script, topology.OnError(topology.DeadLetter("bad")))
	if d.Err() != nil || !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%v %v", d.Err(), got)
	}
	if l := d.DeadLetters(); len(l) != 1 || string(l[0].Value) != "{" || l[0].Error != "f:3: not JSON" || l[0].Node != "in" {
		t.Errorf("letters %+v", l)
	}
	d, _ = runScript(t, script, topology.OnError())
	if d.Err() == nil || !strings.Contains(d.Err().Error(), "f:3: not JSON") {
		t.Errorf("failed with %v", d.Err())
	}
}

func TestSourcesThatBreakTheirPromises(t *testing.T) {
	scripts := map[string]scripted{
		"neither a record nor an error": func(int, *topology.Batch[string]) error { return nil },
		"2 records but 1 times": func(_ int, b *topology.Batch[string]) error {
			b.Values = append(b.Values, "a", "b")
			b.Times = append(b.Times, 1)
			return nil
		},
	}
	for want, s := range scripts {
		d, _ := runScript(t, s, topology.OnError())
		if d.Err() == nil || !strings.Contains(d.Err().Error(), want) {
			t.Errorf("want %q, got %v", want, d.Err())
		}
	}
}
