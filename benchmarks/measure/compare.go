package measure

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"time"
)

// Variant is one way to do a job.
type Variant struct {
	Name string
	// Before prepares a run; it is not measured. Nil: there is nothing to prepare.
	Before func(ctx context.Context) error
	// Run does the job once and says how many records it handled, and a
	// checksum of the result. How many is up to the variant: a faster one may
	// take more, to last long enough.
	Run func(ctx context.Context) (records int64, checksum uint64, err error)
}

// Options of Compare.
type Options struct {
	Baseline string // the variant that ratios refer to
	// Check says whether a result is right for so many records.
	Check func(records int64, checksum uint64) error
	// Budget is the time for everything: no round begins that is not expected
	// to fit, but for the first. Default 45 s.
	Budget time.Duration
	// Rounds is how many rounds there are at most. Default 15.
	Rounds int
	// RunLimit is the longest that one run may take. Default 15 s.
	RunLimit time.Duration
	// QuietWait is the longest that a run waits for a quiet moment before it
	// begins in any case. Default 1.5 s; negative: it does not wait.
	QuietWait time.Duration

	machine machine
	timer   func(func() error) (Run, error)
	now     func() time.Time
}

func (o *Options) setDefaults() {
	if o.Budget <= 0 {
		o.Budget = 45 * time.Second
	}
	if o.Rounds <= 0 {
		o.Rounds = 15
	}
	if o.RunLimit <= 0 {
		o.RunLimit = 15 * time.Second
	}
	if o.QuietWait == 0 {
		o.QuietWait = waitMost
	}
	if o.machine == nil {
		o.machine, o.timer, o.now = host{}, timed, time.Now
	}
}

// Run is what one run took.
type Run struct {
	Records int64
	Wall    time.Duration
	CPU     time.Duration // of this process, all threads
	Allocs  uint64        // heap objects
	Foreign float64       // cores that others kept busy
}

func (r Run) rate() float64       { return float64(r.Records) / r.Wall.Seconds() }
func (r Run) cpuNs() float64      { return float64(r.CPU.Nanoseconds()) / float64(r.Records) }
func (r Run) allocs() float64     { return float64(r.Allocs) / float64(r.Records) }
func (r Run) disturbed() bool     { return r.Foreign >= disturbedCores }
func (r Run) ratio(b Run) float64 { return r.rate() / b.rate() }

// Series are the runs of one variant, one a round.
type Series struct {
	Name string
	Runs []Run
}

// Compare runs the variants in rounds, and returns a series for each. It stops
// at the first error, and at the first wrong result.
func Compare(ctx context.Context, variants []Variant, o Options) ([]Series, error) {
	o.setDefaults()
	if !slices.ContainsFunc(variants, func(v Variant) bool { return v.Name == o.Baseline }) {
		return nil, fmt.Errorf("the baseline %q is not among the variants", o.Baseline)
	}
	series := make([]Series, len(variants))
	for i := range variants {
		series[i].Name = variants[i].Name
	}
	start, longest := o.now(), time.Duration(0)
	for round := range o.Rounds {
		began := o.now()
		if round > 0 && began.Sub(start)+longest > o.Budget {
			break
		}
		if err := o.round(ctx, variants, series, round); err != nil {
			return nil, err
		}
		longest = max(longest, o.now().Sub(began))
	}
	return series, nil
}

// round runs each variant once: forwards in even rounds, backwards in odd ones.
func (o *Options) round(ctx context.Context, variants []Variant, series []Series, round int) error {
	for k := range variants {
		i := k
		if round%2 == 1 {
			i = len(variants) - 1 - k
		}
		run, err := o.one(ctx, &variants[i])
		if err != nil {
			return fmt.Errorf("variant %q, round %d: %w", variants[i].Name, round+1, err)
		}
		series[i].Runs = append(series[i].Runs, run)
	}
	return nil
}

func (o *Options) one(ctx context.Context, v *Variant) (Run, error) {
	if v.Before != nil {
		if err := v.Before(ctx); err != nil {
			return Run{}, err
		}
	}
	goruntime.GC() // what others left behind is not this run's to clean up
	if err := waitQuiet(ctx, o.machine, o.QuietWait); err != nil {
		return Run{}, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.RunLimit, fmt.Errorf("it took longer than %v", o.RunLimit))
	defer cancel()
	var records int64
	var checksum uint64
	before, _ := o.machine.load()
	run, err := o.timer(func() (err error) {
		records, checksum, err = v.Run(limited)
		return err
	})
	if err != nil {
		if cause := context.Cause(limited); cause != nil {
			err = cause
		}
		return Run{}, err
	}
	after, _ := o.machine.load()
	run.Records, run.Foreign = records, foreign(before, after)
	return run, o.verify(records, checksum)
}

func (o *Options) verify(records int64, checksum uint64) error {
	if records <= 0 {
		return fmt.Errorf("it handled %d records", records)
	}
	if o.Check == nil {
		return nil
	}
	if err := o.Check(records, checksum); err != nil {
		return fmt.Errorf("the result is wrong, so its time means nothing: %w", err)
	}
	return nil
}

// timed measures a function.
func timed(f func() error) (Run, error) {
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	cpu, start := ProcessorTime(), time.Now()
	err := f()
	run := Run{Wall: time.Since(start), CPU: ProcessorTime() - cpu}
	goruntime.ReadMemStats(&after)
	run.Allocs = after.Mallocs - before.Mallocs
	return run, err
}
