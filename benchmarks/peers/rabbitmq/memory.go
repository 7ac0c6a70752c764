package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

const mebibyte = 1 << 20

// resting is the memory of the process that the queues live in, in MiB, after this
// process, which may be the one, has given back what it does not use.
func resting(at peer) float64 {
	debug.FreeOSMemory()
	return float64(at.resident()) / mebibyte
}

// peak watches the memory until stop, which returns the most there was, in MiB.
func peak(at peer) (stop func() float64) {
	end, most := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		highest := at.resident()
		for {
			select {
			case <-tick.C:
				highest = max(highest, at.resident())
			case <-end:
				most <- float64(highest) / mebibyte
				return
			}
		}
	}()
	return func() float64 { close(end); return <-most }
}

// backlogCell: a queue is filled while nobody consumes, and then emptied.
func (p plan) backlogCell(size int) cell {
	n := p.scaled(backlogLength, 1000)
	return cell{"backlog", fmt.Sprintf("%d messages of %d B", n, size), func(ctx context.Context, at peer) (figures []figure, err error) {
		err = onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
			f := flow{queue: queue, n: n, size: size, pairs: 1, window: p.window, ackEvery: 1}
			before, highest := resting(at), peak(at)
			built, err := f.build(ctx, at)
			if err != nil {
				highest()
				return err
			}
			full := resting(at)
			drained, err := f.drain(ctx, at)
			figures = []figure{{"build/s", built.perSecond(n)}, {"CPU µs", built.each(n)}, {"drain/s", drained.perSecond(n)},
				{"drain CPU µs", drained.each(n)}, {"MiB before", before}, {"MiB full", full}, {"MiB peak", highest()}}
			return err
		})
		return figures, err
	}}
}

// idleCell: many durable queues that nothing happens to.
func (p plan) idleCell() cell {
	return cell{"idle", "queues", func(ctx context.Context, at peer) ([]figure, error) {
		names := make([]string, p.scaled(at.idle(), 100))
		for i := range names {
			names[i] = fmt.Sprintf("idle-%d-%d", queues.Add(1), i)
		}
		before := resting(at)
		took, err := timed(at, func() error {
			return sideBySide(ctx, names, func(ctx context.Context, name string) error { return at.declare(ctx, name, nil) })
		})
		if err != nil {
			return nil, err
		}
		after := resting(at)
		return []figure{{"queues", float64(len(names))}, {"declare/s", took.perSecond(len(names))}, {"MiB before", before}, {"MiB after", after}},
			at.remove(ctx, names...)
	}}
}

// startCell: from nothing to the first message that has gone through a durable queue.
func (p plan) startCell() cell {
	return cell{"start", "to the first message", func(ctx context.Context, like peer) ([]figure, error) {
		began := time.Now()
		at, done, err := p.again(ctx, like.name())
		defer done()
		if err != nil {
			return nil, err
		}
		var took time.Duration
		err = onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
			declared := time.Since(began)
			first, err := flow{queue: queue, n: 1, size: 100, pairs: 1, window: p.window, ackEvery: 1}.run(ctx, at)
			took = declared + first.wall
			return err
		})
		return []figure{{"ms", ms(took)}}, err
	}}
}
