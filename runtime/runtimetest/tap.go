package runtimetest

import (
	"context"
	"sync"

	"github.com/troupestream/troupe/topology"
)

// Tap lets records of sources through in portions, so that a test decides how far
// a job comes. The zero value is closed.
type Tap struct {
	mu      sync.Mutex
	left    int64         // records that may still go through
	aside   int64         // besides those: records that are going through now
	open    bool          // any number may
	changed chan struct{} // closed and replaced when more may
	empty   chan struct{} // holds one when the portion has been used up
}

// Through returns the source, behind the tap.
func Through[T any](t *Tap, s topology.Source[T]) topology.Source[T] { return tapped[T]{s, t} }

// Pour lets n more records through.
func (t *Tap) Pour(n int64) {
	t.change(func() { t.left += n })
}

// Open lets all records through.
func (t *Tap) Open() {
	t.change(func() { t.open = true })
}

// Close lets no more records through.
func (t *Tap) Close() {
	t.change(func() { t.left, t.aside, t.open = 0, 0, false })
}

// Empty returns a channel that yields when a portion has been used up.
func (t *Tap) Empty() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin()
	return t.empty
}

func (t *Tap) begin() {
	if t.changed == nil {
		t.changed, t.empty = make(chan struct{}), make(chan struct{}, 1)
	}
}

func (t *Tap) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin()
	f()
	select {
	case <-t.empty:
	default:
	}
	t.wake()
}

// take sets aside as many of n records as may go through now; if none may, it
// returns what to wait for.
func (t *Tap) take(n int) (int, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin()
	if t.open {
		return n, nil
	}
	n = int(min(int64(n), t.left))
	t.left -= int64(n)
	t.aside += int64(n)
	return n, t.changed
}

// gave says how many of the n records that were set aside have gone through:
// the source may have had no more.
func (t *Tap) gave(n, through int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open || t.aside == 0 {
		return // it was opened or closed meanwhile
	}
	t.aside -= int64(n)
	if t.left += int64(n - through); through < n {
		t.wake()
	}
	if t.left == 0 && t.aside == 0 {
		select {
		case t.empty <- struct{}{}:
		default:
		}
	}
}

func (t *Tap) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait waits until at least one record of n may go through.
func (t *Tap) wait(ctx context.Context, n int) (int, error) {
	for {
		may, changed := t.take(n)
		if may > 0 {
			return may, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

type tapped[T any] struct {
	topology.Source[T]
	tap *Tap
}

func (s tapped[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	reader, err := s.Source.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	return tappedReader[T]{reader, s.tap}, nil
}

type tappedReader[T any] struct {
	topology.SourceReader[T]
	tap *Tap
}

func (r tappedReader[T]) Read(ctx context.Context, b *topology.Batch[T], max int) error {
	n, err := r.tap.wait(ctx, max)
	if err != nil {
		return err
	}
	before := b.Len()
	err = r.SourceReader.Read(ctx, b, n)
	r.tap.gave(n, b.Len()-before)
	return err
}
