package main

import (
	"context"
	"math"
	"sync/atomic"
)

// window bounds the messages that a publisher has unconfirmed. One goroutine takes;
// others give back.
type window struct {
	size  int64
	taken int64
	given atomic.Int64
	goal  atomic.Int64  // how many have to be given for the one that takes to go on
	wake  chan struct{} // holds one
}

func newWindow(size int) *window {
	w := &window{size: int64(size), wake: make(chan struct{}, 1)}
	w.goal.Store(math.MaxInt64)
	return w
}

// take waits for room for one more.
func (w *window) take(ctx context.Context, ended <-chan struct{}) error {
	if err := w.await(ctx, ended, w.taken+1-w.size); err != nil {
		return err
	}
	w.taken++
	return nil
}

// empty waits until all are given back.
func (w *window) empty(ctx context.Context, ended <-chan struct{}) error {
	return w.await(ctx, ended, w.taken)
}

// await sets the goal and then looks again: give counts and then looks at the goal. So
// one of them sees what the other did.
func (w *window) await(ctx context.Context, ended <-chan struct{}, given int64) error {
	if w.given.Load() >= given {
		return nil
	}
	w.goal.Store(given)
	defer w.goal.Store(math.MaxInt64)
	for w.given.Load() < given {
		select {
		case <-w.wake:
		case <-ended:
			return errHungUp
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (w *window) give() {
	if w.given.Add(1) >= w.goal.Load() {
		select {
		case w.wake <- struct{}{}:
		default: // it is being woken
		}
	}
}
