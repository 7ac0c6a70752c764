package runtime_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/topology"
)

// careless is a source with splits of these ids, each of two records, whose readers
// may not know where they are.
type careless struct {
	ids      []string
	position []byte
}

func (s careless) Splits(context.Context) ([]string, error) { return s.ids, nil }
func (s careless) Open(context.Context, topology.OpenRequest) (topology.SourceReader[int], error) {
	return &carelessReader{position: s.position}, nil
}

type carelessReader struct {
	read     int
	position []byte
}

func (r *carelessReader) Read(_ context.Context, b *topology.Batch[int], _ int) error {
	if r.read == 2 {
		return io.EOF
	}
	r.read++
	b.Values = append(b.Values, r.read)
	return nil
}

func (r *carelessReader) Position() []byte { return r.position }
func (*carelessReader) Lag() int64         { return -1 }
func (*carelessReader) Close() error       { return nil }

// What a source must not do is refused at once: a job could not be resumed.
func TestSourcesThatCannotBeResumedAreRefused(t *testing.T) {
	at := []byte{}
	lossy := []runtime.Option{runtime.CheckpointEvery(0)} // at-least-once
	exact := append(lossy, runtime.ExactlyOnce())
	for name, c := range map[string]struct {
		source careless
		opts   []runtime.Option
		want   string // in the error; "": it is fine
	}{
		"good":                       {careless{[]string{"a", "b"}, at}, exact, ""},
		"twice":                      {careless{[]string{"a", "b", "a"}, at}, lossy, `source "in": its Splits has returned the id "a" twice`},
		"empty":                      {careless{[]string{"a", ""}, at}, lossy, `source "in": its Splits has returned an empty id, at index 1 of 2`},
		"no position":                {careless{[]string{"a"}, nil}, exact, `source "in", split "a": its reader's Position is nil`},
		"no position, at least once": {careless{[]string{"a"}, nil}, lossy, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.New("careless")
			topology.To(topology.From(b, "in", c.source), "out", sinks.Discard[int]())
			r, err := runtime.Run(within(t), b, append(c.opts, runtime.Logger(quiet))...)
			switch {
			case c.want == "" && (err != nil || !r.Finished):
				t.Errorf("%+v, %v", r, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || r.Restarts != 0):
				t.Errorf("%d restarts, err = %v, want %s", r.Restarts, err, c.want)
			}
		})
	}
}
