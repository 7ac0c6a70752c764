package pipeline

import (
	"context"
	"errors"
	"sync"

	"github.com/troupestream/troupe/benchmarks/measure"
)

// errRecord: the generated data cannot be parsed; every variant gives up on it.
var errRecord = errors.New("a record cannot be parsed")

// loopPasses is how often the fast loops go over the data in one run, so that
// a run lasts about a second.
const loopPasses = 8

// Loop is the plain loop on one core: what all else is compared with.
func Loop(d *Data) measure.Variant {
	return measure.Variant{Name: "loop", Run: func(ctx context.Context) (int64, uint64, error) {
		counts := Counts{}
		for range loopPasses {
			if err := d.count(ctx, 0, d.Len(), counts); err != nil {
				return 0, 0, err
			}
		}
		return loopPasses * int64(d.Len()), counts.Checksum(), nil
	}}
}

// LoopSharded is the same loop on two cores, each with half of the records and
// counts of its own.
func LoopSharded(d *Data) measure.Variant {
	return measure.Variant{Name: "loop-sharded", Run: func(ctx context.Context) (int64, uint64, error) {
		const shards = 2
		var sums [shards]uint64
		var errs [shards]error
		var wg sync.WaitGroup
		for k := range shards {
			wg.Go(func() { sums[k], errs[k] = d.countShard(ctx, k, shards) })
		}
		wg.Wait()
		return loopPasses * int64(d.Len()), sums[0] + sums[1], errors.Join(errs[:]...)
	}}
}

func (d *Data) countShard(ctx context.Context, k, shards int) (uint64, error) {
	from, to := d.Shard(k, shards)
	counts := Counts{}
	for range loopPasses {
		if err := d.count(ctx, from, to, counts); err != nil {
			return 0, err
		}
	}
	return counts.Checksum(), nil
}

// count is the job on some of the records.
func (d *Data) count(ctx context.Context, from, to int, counts Counts) error {
	for i := from; i < to; i++ {
		e, ok := Scan(d.Record(i))
		if !ok {
			return errRecord
		}
		if e.Kept() {
			counts[e.User]++
		}
	}
	return ctx.Err()
}
