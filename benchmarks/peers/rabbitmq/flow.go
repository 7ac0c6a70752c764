package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

const prefetch = 500

// flow is messages through a queue, with so many publishers and as many consumers.
type flow struct {
	queue    string
	n        int
	size     int // of a body, in bytes
	pairs    int
	window   int
	ackEvery int
	key      func(number int) string // routing key
}

func noKey(int) string { return "" }

// together calls all and waits; the first that fails ends the others.
func together(ctx context.Context, all ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var first error
	var once sync.Once
	for _, f := range all {
		group.Go(func() {
			if err := f(ctx); err != nil {
				once.Do(func() { first = err; cancel() })
			}
		})
	}
	group.Wait()
	return first
}

// run publishes and consumes side by side, until all is confirmed and acknowledged.
func (f flow) run(ctx context.Context, at peer) (spent, error) {
	a := newArrivals(f.n)
	return f.verified(ctx, at, a, append(f.publishers(at), f.consumers(at, a)...)...)
}

// build publishes alone: a confirm then stands for a message that was stored.
func (f flow) build(ctx context.Context, at peer) (spent, error) {
	return timed(at, func() error { return together(ctx, f.publishers(at)...) })
}

// drain consumes alone.
func (f flow) drain(ctx context.Context, at peer) (spent, error) {
	a := newArrivals(f.n)
	return f.verified(ctx, at, a, f.consumers(at, a)...)
}

// verified measures, and tells then whether each message arrived once and was settled.
func (f flow) verified(ctx context.Context, at peer, a *arrivals, all ...func(context.Context) error) (spent, error) {
	took, err := timed(at, func() error { return together(ctx, all...) })
	if err := errors.Join(err, a.check()); err != nil {
		return took, err
	}
	left, err := at.left(ctx, f.queue)
	if err == nil && left > 0 {
		err = fmt.Errorf("%w: %d are left in the queue", errNotOnce, left)
	}
	return took, err
}

func (f flow) publishers(at peer) (all []func(context.Context) error) {
	for i := range f.pairs {
		all = append(all, func(ctx context.Context) error { return f.publish(ctx, at, i) })
	}
	return all
}

// publish publishes one publisher's share: each pairs-th message.
func (f flow) publish(ctx context.Context, at peer, first int) error {
	p, err := at.publisher(ctx, f.queue, f.window)
	if err != nil {
		return err
	}
	defer p.close()
	var failed atomic.Pointer[error]
	done := func(err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	made := bodies{size: f.size}
	for i := first; i < f.n; i += f.pairs {
		if err := p.publish(ctx, f.key(i), made.body(i), done); err != nil {
			return err
		}
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (f flow) consumers(at peer, a *arrivals) (all []func(context.Context) error) {
	for range f.pairs {
		all = append(all, func(ctx context.Context) error {
			return at.consume(ctx, consuming{f.queue, prefetch, f.ackEvery, a.all, a.handle})
		})
	}
	return all
}
