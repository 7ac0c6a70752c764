// Package wal is what `troupe bench log` measures: appends to a topic and their
// replay, beside raw writes of the same bytes to a file of the same file
// system. Several producers of this process append in batches; one reader reads
// back, and checks that every record is there once and in order.
//
// A lone append is one record at a time, acknowledged before the next. It is
// measured in turns with a raw write and fdatasync of as many bytes, and its
// ratio is that of the two medians: of latencies, not of rates.
package wal

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
	sizes    []int         // bytes of a record
	runFor   time.Duration // how long a run goes on, at least
	budget   time.Duration // for all rounds of one size and durability
	quiet    time.Duration // measure.Options.QuietWait
	loneFor  time.Duration // how long lone appends are measured, at most
	loneMost int           // and how many
}

// full fits into 50 s also where every run waits for quiet in vain.
var full = plan{sizes: []int{100, 1000}, runFor: 400 * time.Millisecond, budget: 5500 * time.Millisecond,
	quiet: 600 * time.Millisecond, loneFor: 3 * time.Second, loneMost: 3000}

var durabilities = []actor.Durability{actor.Fsync, actor.Interval, actor.Memory}

// Bench measures the log, in less than 50 s.
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
	for _, size := range p.sizes {
		for _, d := range durabilities {
			s := &subject{plan: p, engine: e, dir: dir, recordBytes: size, durability: d}
			some, err := s.measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("%d bytes, %s: %w", size, d, err)
			}
			results = append(results, some...)
		}
	}
	for _, d := range durabilities {
		s := &subject{plan: p, engine: e, dir: dir, recordBytes: p.sizes[0], durability: d}
		lone, err := s.lone(ctx)
		if err != nil {
			return nil, fmt.Errorf("lone appends, %s: %w", d, err)
		}
		results = append(results, lone)
	}
	return results, nil
}

// measure compares appends with raw writes, and replays them.
func (s *subject) measure(ctx context.Context) ([]measure.Result, error) {
	if err := s.learn(ctx); err != nil {
		return nil, err
	}
	variants := []measure.Variant{{Name: "raw", Run: s.raw}, {Name: "append", Before: s.renew, Run: s.append},
		{Name: "replay", Run: s.replay}}
	series, err := measure.Compare(ctx, variants, measure.Options{Baseline: "raw", Budget: s.plan.budget,
		RunLimit: 10 * time.Second, QuietWait: s.plan.quiet})
	if err != nil {
		return nil, err
	}
	results := measure.Results(series, "raw", measure.ToRaw)
	for i := range results {
		s.label(&results[i])
	}
	// Reading is not to be compared with writing.
	results[2].RatioToRaw, results[2].Ratio = nil, measure.Quartiles{}
	return results, s.remove(ctx)
}

func (s *subject) label(r *measure.Result) {
	r.RecordBytes, r.Durability = s.recordBytes, s.durability.String()
}
