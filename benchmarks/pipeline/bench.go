package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
)

// benchBudget leaves room for making the data, and for the round that takes
// longer than all before it, within 50 s.
const benchBudget = 36 * time.Second

// Bench compares the topology with the plain ways, in less than 50 s.
func Bench(ctx context.Context) ([]measure.Result, error) {
	return bench(ctx, NewData(DefaultRecords), measure.Options{Budget: benchBudget, RunLimit: 10 * time.Second})
}

func bench(ctx context.Context, d *Data, o measure.Options) (results []measure.Result, err error) {
	variants := Plain(d)
	for p := 1; p <= 2; p++ {
		t, failed := OpenTroupe(ctx, d, p)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(ctx))) }()
		variants = append(variants, t.Variant())
	}
	o.Baseline, o.Check = "loop", d.Check
	series, err := measure.Compare(ctx, variants, o)
	if err != nil {
		return nil, err
	}
	results = measure.Results(series, o.Baseline, measure.ToLoop)
	for i := range results {
		results[i].RecordBytes = RecordBytes
	}
	return results, nil
}
