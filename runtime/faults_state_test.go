package runtime_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/topology"
)

// longWinded is a source whose positions are longer than an entry of a log.
type longWinded[T any] struct{ topology.Source[T] }

const windBytes = storage.MaxEntryBytes + 1<<20

func (s longWinded[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	r.Position = r.Position[:max(0, len(r.Position)-windBytes)]
	if len(r.Position) == 0 {
		r.Position = nil
	}
	reader, err := s.Source.Open(ctx, r)
	return longWindedReader[T]{reader, make([]byte, windBytes)}, err
}

type longWindedReader[T any] struct {
	topology.SourceReader[T]
	wind []byte
}

func (r longWindedReader[T]) Position() []byte {
	return append(bytes.Clone(r.SourceReader.Position()), r.wind...)
}

// TestAManifestMayBeLongerThanAnEntry: a job with many splits, key groups or
// operators has one.
func TestAManifestMayBeLongerThanAnEntry(t *testing.T) {
	r := newRig(t)
	topology := func() *topology.Builder {
		return faultTopology(runtimetest.Through[reading](&r.tap, longWinded[reading]{readings(rigRecords, 0)}), sinksIn(r.dir))
	}
	r.interrupt(topology(), 1)
	report, err := r.run(topology())
	if err != nil || report.Resumed == nil {
		t.Fatalf("%+v %v", report, err)
	}
	r.checkFiles()
}

// keptValues has one key whose state becomes longer than an entry of a log.
func keptValues(r *rig, out topology.Sink[int]) *topology.Builder {
	b := topology.New("faults")
	byKey := topology.KeyBy(topology.From(b, "in", runtimetest.Through(&r.tap, readings(rigRecords, 0))), "one", func(reading) string { return "key" })
	piece := strings.Repeat("0123456789abcdef", 1<<16)
	long := topology.Fold(byKey, "long", func(_, s string, _ reading) string {
		if len(s) > storage.MaxEntryBytes {
			return s
		}
		return s + piece
	}, topology.KeyLimits{Bytes: 16 << 20})
	topology.To(topology.Map(long, "length", func(s string) int { return strings.LastIndex(s, "f") + 1 }), "out", out)
	return b
}

func TestStateOfAKeyMayBeLongerThanAnEntry(t *testing.T) {
	r, out := newRig(t), sinks.Slice[int]()
	r.interrupt(keptValues(r, out), 2)
	report, err := r.run(keptValues(r, out))
	if err != nil || report.Resumed == nil || report.Resumed.StateBytes < storage.MaxEntryBytes {
		t.Fatalf("%v, resumed from %+v", err, report.Resumed)
	}
	values := out.Values()
	for i, n := range values {
		if want := min(i+1, 9) << 20; n != want {
			t.Fatalf("a state of %d bytes came out of record %d, and not of %d", n, i, want)
		}
	}
	if len(values) != rigRecords {
		t.Errorf("%d records", len(values))
	}
}

// TestStateOverItsLimitNamesOperatorAndKey, and not what it was written to.
func TestStateOverItsLimitNamesOperatorAndKey(t *testing.T) {
	r := newRig(t)
	b := topology.New("faults")
	byKey := topology.KeyBy(topology.From(b, "in", runtimetest.Through(&r.tap, readings(rigRecords, 0))), "one", func(reading) string { return "the-key" })
	long := topology.Fold(byKey, "long", func(_, s string, v reading) string { return s + "0123456789" }, topology.KeyLimits{Bytes: 1000})
	topology.To(long, "out", sinks.Discard[string]())
	_, err := r.run(b, runtime.Restarts(0, 0))
	for _, part := range []string{`operator "long"`, "key the-key", "KeyLimits.Bytes is 1000"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}
