package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// GeneratorOption is an option of Generator.
type GeneratorOption interface{ generator(*generatorOptions) }

type generatorOptions struct {
	count  int64
	splits int
	rate   float64 // records per second, of all splits together; 0: no limit
}

type generatorOption func(*generatorOptions)

func (f generatorOption) generator(o *generatorOptions) { f(o) }

// Count ends the generator after n records, indices 0 to n-1. Without it, it
// is endless.
func Count(n int64) GeneratorOption {
	return generatorOption(func(o *generatorOptions) { o.count = n })
}

// Rate limits the generator to so many records per second, all splits together.
// What was not taken in time is made up for, up to one second's worth. Without
// it, records come as fast as they are taken.
func Rate(perSecond float64) GeneratorOption {
	return generatorOption(func(o *generatorOptions) { o.rate = perSecond })
}

// SplitsMax is how many splits a generator can have.
const SplitsMax = 65_536

// Splits divides the generator into n splits, 1 to SplitsMax; the default is 1.
// Split k yields the records k, k+n, k+2n and so on.
func Splits(n int) GeneratorOption {
	return generatorOption(func(o *generatorOptions) { o.splits = n })
}

// Generator makes its records: record i is f(i), so that a job that resumes
// sees the same ones again. f is called by several goroutines when there are
// several splits. A record that f panics on is an error of that record.
func Generator[T any](f func(i int64) T, opts ...GeneratorOption) topology.Source[T] {
	g := &generator[T]{f: f, options: generatorOptions{count: math.MaxInt64, splits: 1}}
	for _, opt := range opts {
		opt.generator(&g.options)
	}
	return g
}

type generator[T any] struct {
	f       func(int64) T
	options generatorOptions
}

func (g *generator[T]) check() error {
	o := &g.options
	switch {
	case g.f == nil:
		return errors.New("its function is nil")
	case o.count < 0:
		return fmt.Errorf("the option Count is %d; it must not be negative", o.count)
	case o.splits < 1 || o.splits > SplitsMax:
		return fmt.Errorf("the option Splits is %d; it must be 1 to %d", o.splits, SplitsMax)
	case o.rate < 0 || math.IsNaN(o.rate) || math.IsInf(o.rate, 0):
		return fmt.Errorf("the option Rate is %v; it must be a number of records per second", o.rate)
	}
	return nil
}

func (g *generator[T]) Splits(context.Context) ([]string, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	return numbered(g.options.splits), nil
}

// size is how many records split k has.
func (o *generatorOptions) size(k int) int64 {
	if o.count == math.MaxInt64 {
		return math.MaxInt64
	}
	n := int64(o.splits)
	whole, rest := o.count/n, o.count%n
	if int64(k) < rest {
		whole++
	}
	return whole
}

func (g *generator[T]) Open(_ context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	k, err := split(r.Split, g.options.splits)
	if err != nil {
		return nil, err
	}
	if r.Until.End && g.options.count == math.MaxInt64 {
		return nil, fmt.Errorf("split %s: it is endless and cannot be read until its end; give it a Count", r.Split)
	}
	span, err := indexSpan(r, g.options.size(k))
	if err != nil {
		return nil, fmt.Errorf("split %s: %w", r.Split, err)
	}
	return &generatorReader[T]{
		f: g.f, span: span, first: int64(k), step: int64(g.options.splits),
		pace: pace{perSecond: g.options.rate / float64(g.options.splits)},
	}, nil
}

// generatorReader reads one split. Its position counts the split's own records.
type generatorReader[T any] struct {
	f           func(int64) T
	first, step int64
	span
	pace pace
}

func (r *generatorReader[T]) Read(ctx context.Context, b *topology.Batch[T], max int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := min(int64(max), r.left())
	if n == 0 {
		return io.EOF
	}
	n, err := r.pace.wait(ctx, n)
	if err != nil {
		return err
	}
	made, err := r.make(b, n)
	if err == nil {
		return nil
	}
	r.pace.done -= float64(n - made - 1) // they have yet to come
	i := r.first + r.next*r.step
	r.next++
	return &dataflow.RecordError{Raw: strconv.AppendInt(nil, i, 10), Where: fmt.Sprintf("record %d of the generator", i), Err: err,
		Stack: dataflow.StackOf(err)}
}

// make appends n records, or those in front of one that f panics on.
func (r *generatorReader[T]) make(b *topology.Batch[T], n int64) (made int64, err error) {
	defer dataflow.Recovered(&err) // once a batch: next says which record it was
	for made = range n {
		b.Values = append(b.Values, r.f(r.first+r.next*r.step))
		r.next++
	}
	return n, nil
}

func (r *generatorReader[T]) Position() []byte { return r.position() }

func (r *generatorReader[T]) Lag() int64 {
	if r.end == math.MaxInt64 {
		return -1
	}
	return r.left()
}

func (r *generatorReader[T]) Close() error { return nil }

// pace says when records are due: the first at once, and each of the others
// 1/perSecond after the one before.
type pace struct {
	perSecond float64
	begin     time.Time // when the record counted 0 was due
	done      float64   // records since
}

// wait waits until a record is due and returns how many of want are.
func (p *pace) wait(ctx context.Context, want int64) (int64, error) {
	if p.perSecond == 0 {
		return want, nil
	}
	now := time.Now()
	if due := now.Sub(p.begin).Seconds() * p.perSecond; due-p.done > p.perSecond {
		p.begin, p.done = now, 0 // more than a second behind: that is not made up for
	}
	for {
		due := now.Sub(p.begin).Seconds()*p.perSecond + 1
		if n := int64(due - p.done); n >= 1 {
			n = min(n, want)
			p.done += float64(n)
			return n, nil
		}
		missing := (p.done + 1 - due) / p.perSecond
		if err := sleep(ctx, time.Duration(math.Ceil(missing*float64(time.Second)))); err != nil {
			return 0, err
		}
		now = time.Now()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, time.Nanosecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
