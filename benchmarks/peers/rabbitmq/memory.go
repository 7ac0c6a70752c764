package main

import (
	"context"
	"errors"
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

// onFresh calls f with a peer that nothing has gone through, so that its memory is that
// of what f does, and with when it was begun to be opened.
func (p plan) onFresh(ctx context.Context, like peer, f func(at peer, began time.Time) error) error {
	debug.FreeOSMemory()
	began := time.Now()
	at, done, err := p.again(ctx, like.name())
	defer done()
	if err != nil {
		return err
	}
	return f(at, began)
}

// backlogCell: a queue is filled while nobody consumes, and then emptied.
func (p plan) backlogCell(size int) cell {
	n := p.scaled(backlogLength, 1000)
	return cell{"backlog", fmt.Sprintf("%d messages of %d B", n, size), func(ctx context.Context, like peer) (figures []figure, err error) {
		err = p.onFresh(ctx, like, func(at peer, _ time.Time) error {
			return onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
				figures, err = backlog(ctx, at, flow{queue: queue, n: n, size: size, pairs: 1, window: p.window, ackEvery: 1})
				return err
			})
		})
		return figures, err
	}}
}

func backlog(ctx context.Context, at peer, f flow) ([]figure, error) {
	before, highest := resting(at), peak(at)
	built, err := f.build(ctx, at)
	if err != nil {
		highest()
		return nil, err
	}
	full := resting(at)
	drained, err := f.drain(ctx, at)
	return []figure{{"build/s", built.perSecond(f.n)}, {"CPU µs", built.each(f.n)}, {"drain/s", drained.perSecond(f.n)},
		{"drain CPU µs", drained.each(f.n)}, {"MiB before", before}, {"MiB full", full}, {"MiB peak", highest()}}, err
}

// idleCell: many durable queues that nothing happens to.
func (p plan) idleCell() cell {
	return cell{"idle", "declared", func(ctx context.Context, like peer) (figures []figure, err error) {
		names := make([]string, p.scaled(like.idle(), 100))
		for i := range names {
			names[i] = fmt.Sprintf("idle-%d", i)
		}
		err = p.onFresh(ctx, like, func(at peer, _ time.Time) error {
			before := resting(at)
			took, err := timed(at, func() error {
				return sideBySide(ctx, names, func(ctx context.Context, name string) error { return at.declare(ctx, name, nil) })
			})
			figures = []figure{{"queues", float64(len(names))}, {"declare/s", took.perSecond(len(names))},
				{"MiB before", before}, {"MiB after", resting(at)}}
			return errors.Join(err, at.remove(ctx, names...))
		})
		return figures, err
	}}
}

// startCell: from nothing to the first message that has gone through a durable queue.
func (p plan) startCell() cell {
	return cell{"start", "to the first message", func(ctx context.Context, like peer) (figures []figure, err error) {
		err = p.onFresh(ctx, like, func(at peer, began time.Time) error {
			return onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
				declared := time.Since(began)
				first, err := flow{queue: queue, n: 1, size: 100, pairs: 1, window: p.window, ackEvery: 1}.run(ctx, at)
				figures = []figure{{"ms", ms(declared + first.wall)}}
				return err
			})
		})
		return figures, err
	}}
}
