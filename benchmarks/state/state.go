// Package state is what `troupe bench checkpoint` measures: a job that keeps a
// value of 100 bytes for each of a million keys, exactly once, on two tasks, and
// what its checkpoints cost.
//
//   - checkpoint-off, checkpoint-1s: random keys are updated as fast as the job
//     takes it, without checkpoints and with one every second, in turns. Then
//     200,000 updates/s are due at fixed times (an open loop): p50 and p99 are
//     how long after its time an update has come through.
//   - checkpoint-full, checkpoint-incremental: how long a checkpoint takes, from
//     the request until it is durable, under the same load; all keys have
//     changed, or a twentieth of them.
//   - checkpoint-restart: the job is killed and started again: how long until its
//     first output.
//
// At the end every key is updated once more: the counts of all keys must add up
// to all updates that were ever sent, the restarts notwithstanding.
package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
	"github.com/troupestream/troupe/runtime"
)

// plan says how much is measured. Tests use a smaller one.
type plan struct {
	keys       int
	runFor     time.Duration // of one run at full speed
	throughput time.Duration // for all of them
	pacedFor   time.Duration // of one run at a fixed rate
	rounds     int           // of those
	every      time.Duration // between checkpoints
	rate       float64       // updates/s in paced scenes
	samples    int           // of each kind of checkpoint, and of restarts
	samplesFor time.Duration // after which there are no further ones
	quiet      time.Duration
}

// full fits into 50 s.
var full = plan{keys: 1_000_000, runFor: 2 * time.Second, throughput: 11 * time.Second, pacedFor: 2 * time.Second,
	rounds: 2, every: time.Second, rate: 200_000, samples: 5, samplesFor: 3 * time.Second, quiet: 600 * time.Millisecond}

// Bench measures checkpoints, in less than 50 s.
func Bench(ctx context.Context) ([]measure.Result, error) { return bench(ctx, full) }

func bench(ctx context.Context, p plan) (results []measure.Result, err error) {
	r := &rig{plan: p, script: newScript(p.keys)}
	r.meter = &meter{script: r.script}
	if r.engine, err = runtime.Open(ctx, runtime.ExactlyOnce(), runtime.CheckpointEvery(0), runtime.Parallelism(2)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close(context.WithoutCancel(ctx))) }()
	if err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("fill the state: %w", err)
	}
	if results, err = r.speeds(ctx); err != nil {
		return nil, err
	}
	for i := range results {
		if err := r.latencies(ctx, &results[i]); err != nil {
			return nil, fmt.Errorf("%s, latencies: %w", results[i].Name, err)
		}
	}
	for _, m := range []struct {
		name string
		take func(context.Context) (time.Duration, error)
	}{{"checkpoint-full", r.fullCheckpoint}, {"checkpoint-incremental", r.incrementalCheckpoint}, {"checkpoint-restart", r.restart}} {
		s, err := r.sample(ctx, m.name, m.take)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		results = append(results, s)
	}
	return results, r.verify(ctx)
}

// sample repeats a measurement and reports its durations.
func (r *rig) sample(ctx context.Context, name string, take func(context.Context) (time.Duration, error)) (measure.Result, error) {
	var all []time.Duration
	for until := time.Now().Add(r.plan.samplesFor); len(all) == 0 || len(all) < r.plan.samples && time.Now().Before(until); {
		took, err := take(ctx)
		if err != nil {
			return measure.Result{}, err
		}
		all = append(all, took)
	}
	result := measure.Result{Name: name, RecordBytes: valueBytes, Runs: len(all)}
	result.SetLatencies(all)
	return result, nil
}
