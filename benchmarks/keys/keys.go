// Package keys is what `troupe bench keys` measures: one partition whose records
// take 10 ms each to work on, as a call to another service does, by a consumer with
// one worker and by one with as many workers as there are keys.
//
// Both see to it that each key's records come one at a time and in order, and that
// none is missing. What is measured is everything from joining the group to having
// left it, with the commit of the last offset.
package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/benchmarks/measure"
	"github.com/troupestream/troupe/runtime"
)

// plan says how much is measured. Tests use a smaller one.
type plan struct {
	keys          int
	serial, keyed int // records for each key
	work          func(ctx context.Context) error
	options       measure.Options
}

// full fits into 50 s also where every run waits for quiet in vain.
var full = plan{keys: 100, serial: 3, keyed: 100, work: wait,
	options: measure.Options{Budget: 42 * time.Second, QuietWait: 600 * time.Millisecond}}

const workTime = 10 * time.Millisecond

// wait is work that keeps no processor busy.
func wait(ctx context.Context) error {
	done := time.NewTimer(workTime)
	defer done.Stop()
	select {
	case <-done.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Bench measures consumers, in less than 50 s.
func Bench(ctx context.Context) ([]measure.Result, error) { return bench(ctx, full) }

func bench(ctx context.Context, p plan) (results []measure.Result, err error) {
	dir, err := os.MkdirTemp("", "troupe-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the benchmark: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e, err := runtime.Open(ctx, runtime.DataDir(filepath.Join(dir, "data")))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close(context.WithoutCancel(ctx))) }()

	serial := &subject{plan: p, engine: e, topic: "serial", perKey: p.serial, workers: 1}
	keyed := &subject{plan: p, engine: e, topic: "per-key", perKey: p.keyed, workers: p.keys}
	var variants []measure.Variant
	for _, s := range []*subject{serial, keyed} {
		if err := s.publish(ctx); err != nil {
			return nil, err
		}
		variants = append(variants, measure.Variant{Name: s.topic, Run: s.consume})
	}
	p.options.Baseline = serial.topic
	series, err := measure.Compare(ctx, variants, p.options)
	if err != nil {
		return nil, err
	}
	results = measure.Results(series, serial.topic, measure.ToSerial)
	for i := range results {
		results[i].Durability = actor.Fsync.String()
	}
	return results, nil
}
