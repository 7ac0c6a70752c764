package topologytest

import (
	"context"
	"fmt"
	"slices"

	"github.com/troupestream/troupe/topology"
)

// Feed is a source that a test pushes records into. It keeps them, so that a
// Driver can be restored to any point.
type Feed[T any] struct {
	names []string
	logs  map[string]*log[T]
	d     *Driver
}

// Input returns a Feed with the given splits; with one, "0", if none is given.
func Input[T any](splits ...string) *Feed[T] {
	if len(splits) == 0 {
		splits = []string{"0"}
	}
	f := &Feed[T]{names: slices.Clone(splits), logs: map[string]*log[T]{}}
	for _, s := range splits {
		f.logs[s] = &log[T]{}
	}
	return f
}

// Push adds values to the first split. The driver works them through before
// Push returns; without one they wait.
func (f *Feed[T]) Push(values ...T) { f.PushTo(f.names[0], values...) }

// PushTo adds values to a split. What comes after End is left out.
func (f *Feed[T]) PushTo(split string, values ...T) {
	if l := f.logs[split]; l != nil && !l.closed {
		l.values = append(l.values, values...)
	}
	f.work()
}

// End ends all splits.
func (f *Feed[T]) End() {
	for _, l := range f.logs {
		l.closed = true
	}
	f.work()
}

// EndSplit ends one split.
func (f *Feed[T]) EndSplit(split string) {
	if l := f.logs[split]; l != nil {
		l.closed = true
	}
	f.work()
}

func (f *Feed[T]) work() {
	if f.d == nil {
		return
	}
	if f.d.t != nil {
		f.d.t.Helper()
	}
	f.d.run.wake()
	f.d.Run()
}

// Splits implements topology.Source.
func (f *Feed[T]) Splits(context.Context) ([]string, error) { return f.names, nil }

// Open implements topology.Source.
func (f *Feed[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	l := f.logs[r.Split]
	if l == nil {
		return nil, fmt.Errorf("there is no split %q", r.Split)
	}
	f.d, _ = ctx.Value(driverKey{}).(*Driver)
	at, err := position(r.Position)
	return &logReader[T]{log: l, at: at}, err
}
