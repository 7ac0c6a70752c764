package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
)

// errRecord: the generated data cannot be parsed; every variant gives up on it.
var errRecord = errors.New("a record cannot be parsed")

// passes repeats the job for runFor, and returns how many records that were.
func (d *Data) passes(ctx context.Context, pass func() error) (records int64, err error) {
	for start := time.Now(); records == 0 || time.Since(start) < d.runFor; records += int64(d.Len()) {
		if err := pass(); err != nil {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	return records, nil
}

// Loop is the plain loop on one core: what all else is compared with.
func Loop(d *Data) measure.Variant {
	return measure.Variant{Name: "loop", Run: func(ctx context.Context) (int64, uint64, error) {
		counts := Counts{}
		records, err := d.passes(ctx, func() error { return d.count(0, d.Len(), counts) })
		return records, counts.Checksum(), err
	}}
}

// LoopSharded is the same loop on two cores, each with half of the records and
// counts of its own.
func LoopSharded(d *Data) measure.Variant {
	return measure.Variant{Name: "loop-sharded", Run: func(ctx context.Context) (int64, uint64, error) {
		counts := [...]Counts{{}, {}}
		records, err := d.passes(ctx, func() error { return d.countShards(counts[:]) })
		return records, counts[0].Checksum() + counts[1].Checksum(), err
	}}
}

func (d *Data) countShards(counts []Counts) error {
	errs := make([]error, len(counts))
	var wg sync.WaitGroup
	for k := range counts {
		from, to := d.Shard(k, len(counts))
		wg.Go(func() { errs[k] = d.count(from, to, counts[k]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// count is the job on some of the records.
func (d *Data) count(from, to int, counts Counts) error {
	for i := from; i < to; i++ {
		e, ok := Scan(d.Record(i))
		if !ok {
			return errRecord
		}
		if e.Kept() {
			counts[e.User]++
		}
	}
	return nil
}
