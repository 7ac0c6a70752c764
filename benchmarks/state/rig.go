package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
	"github.com/troupestream/troupe/runtime"
)

// rig is the running job with what drives and observes it.
type rig struct {
	plan   plan
	engine *runtime.Engine
	script *script
	meter  *meter
	job    *runtime.Job
}

func (r *rig) start(ctx context.Context) (err error) {
	r.meter.restart()
	r.job, err = r.engine.Start(ctx, Topology(r.script, r.meter))
	return err
}

// close ends the job as a crash would: its last checkpoint is of no use.
func (r *rig) close(ctx context.Context) error {
	var err error
	if r.job != nil {
		err = r.job.Kill(ctx)
	}
	return errors.Join(err, r.engine.Close(ctx))
}

// drain waits until all that was sent has come through.
func (r *rig) drain(ctx context.Context) error {
	_, n := r.script.sent()
	ctx, cancel := r.whileRunning(ctx)
	defer cancel()
	return r.meter.await(ctx, n)
}

// whileRunning returns a context that ends with the job.
func (r *rig) whileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	job, ended := r.job, make(chan struct{})
	go func() {
		select {
		case <-job.Done():
			_, err := job.Wait(context.Background())
			cancel(fmt.Errorf("the job has ended: %w", err))
		case <-ended:
		}
	}()
	return ctx, func() { close(ended); cancel(nil) }
}

// touchAll updates every key once.
func (r *rig) touchAll(ctx context.Context) error {
	r.script.begin(everyKey, int64(r.plan.keys/splits), 0)
	return r.drain(ctx)
}

// load fills the state and takes a first checkpoint.
func (r *rig) load(ctx context.Context) error {
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.touchAll(ctx); err != nil {
		return err
	}
	_, err := r.job.Checkpoint(ctx)
	return err
}

// speeds compares full speed with and without checkpoints.
func (r *rig) speeds(ctx context.Context) ([]measure.Result, error) {
	variant := func(name string, checkpoints bool) measure.Variant {
		return measure.Variant{Name: name, Run: func(ctx context.Context) (int64, uint64, error) {
			r.script.begin(randomKey, -1, 0)
			err := r.play(ctx, r.plan.runFor, checkpoints)
			n := r.script.end()
			return n, 0, errors.Join(err, r.drain(ctx))
		}}
	}
	series, err := measure.Compare(ctx, []measure.Variant{variant(off, false), variant(every, true)},
		measure.Options{Baseline: off, Budget: r.plan.throughput, QuietWait: r.plan.quiet})
	if err != nil {
		return nil, err
	}
	results := measure.Results(series, off, measure.ToLoop)
	for i := range results {
		results[i].RecordBytes, results[i].RatioToLoop = valueBytes, nil // it is no plain loop
	}
	return results, nil
}

const off, every = "checkpoint-off", "checkpoint-1s"

// play lets time pass, with or without checkpoints: one in the middle of each
// interval.
func (r *rig) play(ctx context.Context, d time.Duration, checkpoints bool) error {
	end := time.Now().Add(d)
	for next := time.Now().Add(r.plan.every / 2); checkpoints && next.Before(end); next = next.Add(r.plan.every) {
		if err := pause(ctx, time.Until(next)); err != nil {
			return err
		}
		if _, err := r.job.Checkpoint(ctx); err != nil {
			return err
		}
	}
	return pause(ctx, time.Until(end))
}

// latencies adds to a result of speeds how late updates at a fixed rate come
// through. The first fifth of each run does not count.
func (r *rig) latencies(ctx context.Context, result *measure.Result) error {
	var all []time.Duration
	for range r.plan.rounds {
		began := r.script.now()
		r.meter.time(began + int64(r.plan.pacedFor/5))
		err := r.paced(ctx, randomKey, func() error { return r.play(ctx, r.plan.pacedFor, result.Name == every) })
		if err != nil {
			return err
		}
		all = append(all, r.meter.time(0)...)
	}
	result.SetLatencies(all)
	return nil
}

// paced runs f while updates come at the fixed rate.
func (r *rig) paced(ctx context.Context, keys choice, f func() error) error {
	r.script.begin(keys, -1, r.plan.rate)
	err := f()
	r.script.end()
	return errors.Join(err, r.drain(ctx))
}

// take measures a checkpoint.
func (r *rig) take(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	_, err := r.job.Checkpoint(ctx)
	return time.Since(start), err
}

// fullCheckpoint measures a checkpoint of all keys.
func (r *rig) fullCheckpoint(ctx context.Context) (took time.Duration, err error) {
	if err := r.touchAll(ctx); err != nil {
		return 0, err
	}
	err = r.paced(ctx, randomKey, func() (err error) {
		took, err = r.take(ctx)
		return err
	})
	return took, err
}

// incrementalCheckpoint measures a checkpoint of the hot keys.
func (r *rig) incrementalCheckpoint(ctx context.Context) (took time.Duration, err error) {
	if _, err := r.take(ctx); err != nil {
		return 0, err
	}
	all := 4 * time.Duration(float64(r.plan.keys)/20/r.plan.rate*float64(time.Second)) // nearly all hot keys have come by then
	err = r.paced(ctx, hotKey, func() (err error) {
		if err = pause(ctx, all); err == nil {
			took, err = r.take(ctx)
		}
		return err
	})
	return took, err
}

// restart measures how long a killed job is away.
func (r *rig) restart(ctx context.Context) (took time.Duration, err error) {
	err = r.paced(ctx, randomKey, func() error {
		if _, err := r.take(ctx); err != nil {
			return err
		}
		if err := r.job.Kill(ctx); err != nil {
			return err
		}
		begin := time.Now()
		if err := r.start(ctx); err != nil {
			return err
		}
		running, cancel := r.whileRunning(ctx)
		defer cancel()
		if err := r.meter.await(running, 1); err != nil {
			return err
		}
		r.meter.mu.Lock()
		took = r.meter.first.Sub(begin)
		r.meter.mu.Unlock()
		return nil
	})
	return took, err
}

// verify updates every key once and adds up what they have counted.
func (r *rig) verify(ctx context.Context) error {
	r.meter.reset()
	if err := r.touchAll(ctx); err != nil {
		return err
	}
	if want, _ := r.script.sent(); r.meter.reset() != want {
		return fmt.Errorf("the state does not hold what was sent, %d updates: the times mean nothing", want)
	}
	return nil
}
