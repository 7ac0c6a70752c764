package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

const prefetch = 500

// flow is messages through a queue, with so many publishers and as many consumers.
type flow struct {
	queue    string
	keys     []string // routing keys, in turn, to the queue's exchange; nil: the queue's name
	n        int
	size     int // of a body, in bytes
	pairs    int
	window   int
	ackEvery int
}

func (f flow) publisher(ctx context.Context, at peer) (publisher, error) {
	exchange := ""
	if f.keys != nil {
		exchange = exchangeOf(f.queue)
	}
	return at.publisher(ctx, exchange, f.window)
}

func (f flow) key(number int) string {
	if f.keys == nil {
		return f.queue
	}
	return f.keys[number%len(f.keys)]
}

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

// sideBySide calls f for each name, for many at a time.
func sideBySide(ctx context.Context, names []string, f func(context.Context, string) error) error {
	var next atomic.Int64
	worker := func(ctx context.Context) error {
		for i := next.Add(1) - 1; i < int64(len(names)); i = next.Add(1) - 1 {
			if err := errors.Join(ctx.Err(), f(ctx, names[i])); err != nil {
				return err
			}
		}
		return nil
	}
	return together(ctx, slices.Repeat([]func(context.Context) error{worker}, 32)...)
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
	p, err := f.publisher(ctx, at)
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
