package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// TestWindow: no more than its size are under way, whoever gives back when, and the one
// that takes is always woken.
func TestWindow(t *testing.T) {
	const size, n = 7, 20_000
	w := newWindow(size)
	var open, most atomic.Int64
	confirm := make(chan struct{}, n)
	for range 3 {
		go func() {
			for range confirm {
				open.Add(-1)
				w.give()
			}
		}()
	}
	for range n {
		if err := w.take(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if now := open.Add(1); now > most.Load() {
			most.Store(now)
		}
		confirm <- struct{}{}
	}
	if err := w.empty(t.Context(), nil); err != nil || open.Load() != 0 || most.Load() > size {
		t.Errorf("%v: %d are open, and were %d", err, open.Load(), most.Load())
	}
	close(confirm)
}

func TestWindowEnds(t *testing.T) {
	w := newWindow(1)
	if err := w.take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	close(ended)
	if err := w.take(t.Context(), ended); !errors.Is(err, errHungUp) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.empty(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
