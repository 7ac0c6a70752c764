package state

import (
	"context"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
)

// ready returns a job with state for every key.
func ready(b *testing.B) *rig {
	b.Helper()
	r := &rig{plan: full, script: newScript(full.keys)}
	r.meter = &meter{script: r.script}
	var err error
	if r.engine, err = runtime.Open(b.Context(), runtime.ExactlyOnce(), runtime.CheckpointEvery(0), runtime.Parallelism(2)); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := r.close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	if err := r.load(b.Context()); err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkUpdates(b *testing.B) {
	r := ready(b)
	b.ReportAllocs()
	b.ResetTimer()
	r.script.begin(randomKey, int64(b.N/splits+1), 0)
	if err := r.drain(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// each measures only what take says.
func each(b *testing.B, take func(context.Context) (time.Duration, error)) {
	var sum time.Duration
	for b.Loop() {
		took, err := take(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		sum += took
	}
	b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms/each")
}

func BenchmarkFullCheckpoint(b *testing.B)        { r := ready(b); each(b, r.fullCheckpoint) }
func BenchmarkIncrementalCheckpoint(b *testing.B) { r := ready(b); each(b, r.incrementalCheckpoint) }
func BenchmarkRestart(b *testing.B)               { r := ready(b); each(b, r.restart) }
