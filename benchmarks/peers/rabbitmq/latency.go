package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
)

const (
	latencyRate = 5000 // messages/s
	latencyFor  = 10 * time.Second
	confirmRate = 100
	confirmFor  = 20 * time.Second
)

// paced publishes at a fixed rate, whether or not the peer keeps up, and measures from
// when a message was due.
type paced struct {
	flow
	rate    int
	began   atomic.Int64    // Unix nanoseconds
	handled []time.Duration // from due until the handler had it
	settled []time.Duration // from due until it was confirmed
	woke    []time.Duration // from due until the publisher was ready for it: what the machine adds
}

func newPaced(f flow, rate int) *paced {
	f.pairs, f.ackEvery = 1, 1
	return &paced{flow: f, rate: rate, handled: make([]time.Duration, f.n), settled: make([]time.Duration, f.n), woke: make([]time.Duration, f.n)}
}

func (p *paced) due(number int) time.Duration {
	return time.Duration(number) * time.Second / time.Duration(p.rate)
}

// publish keeps a thread for itself, which sleeps more exactly than the runtime does:
// a sleep would otherwise take longer than a message.
func (p *paced) publish(ctx context.Context, at peer) error {
	runtime.LockOSThread() // and ends it with this goroutine
	exactSleep()
	pub, err := p.publisher(ctx, at)
	if err != nil {
		return err
	}
	defer pub.close()
	errs := make([]error, p.n)
	made, began := bodies{size: p.size}, time.Now()
	p.began.Store(began.UnixNano())
	for i := range p.n {
		due := began.Add(p.due(i))
		if wait := time.Until(due); wait > 0 {
			sleep(wait)
			p.woke[i] = time.Since(due)
		}
		if err := pub.publish(ctx, p.queue, made.body(i), func(err error) { p.settled[i], errs[i] = time.Since(due), err }); err != nil {
			return err
		}
	}
	return errors.Join(pub.flush(ctx), errors.Join(errs...))
}

// endToEnd publishes to a consumer.
func (p *paced) endToEnd(ctx context.Context, at peer) (spent, error) {
	a := newArrivals(p.n)
	handle := func(body []byte) {
		now := time.Now().UnixNano()
		if i, first := a.arrived(body); first {
			p.handled[i] = time.Duration(now-p.began.Load()) - p.due(i)
		}
	}
	return p.verified(ctx, at, a,
		func(ctx context.Context) error { return p.publish(ctx, at) },
		func(ctx context.Context) error {
			return at.consume(ctx, consuming{p.queue, prefetch, 1, a.all, handle})
		})
}

// latencyCell: from when a message was due until the handler had it. The confirms of
// this cell may stand for less than a stored message: see README.md.
func (p plan) latencyCell(size int) cell {
	return cell{"latency", fmt.Sprintf("%d B, %d/s", size, latencyRate), func(ctx context.Context, at peer) (figures []figure, err error) {
		err = onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
			n := p.scaled(latencyRate*int(latencyFor.Seconds()), 1000)
			run := newPaced(flow{queue: queue, n: n, size: size, window: p.window}, latencyRate)
			took, err := run.endToEnd(ctx, at)
			figures = append(percentiles(run.handled), figure{"CPU µs", took.each(n)}, figure{"woke p99 µs", us(run.woke, 99)})
			return err
		})
		return figures, err
	}}
}

// confirmCell: from when a lone message was due until it was confirmed. Nobody
// consumes, so that a confirm stands for a message that was stored.
func (p plan) confirmCell(size int) cell {
	return cell{"confirm", fmt.Sprintf("%d B, %d/s, no consumer", size, confirmRate), func(ctx context.Context, at peer) (figures []figure, err error) {
		err = onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
			run := newPaced(flow{queue: queue, n: p.scaled(confirmRate*int(confirmFor.Seconds()), 20), size: size, window: p.window}, confirmRate)
			err := together(ctx, func(ctx context.Context) error { return run.publish(ctx, at) })
			figures = append(percentiles(run.settled), figure{"woke p99 µs", us(run.woke, 99)})
			return err
		})
		return figures, err
	}}
}

func percentiles(took []time.Duration) []figure {
	return []figure{{"p50 µs", us(took, 50)}, {"p99 µs", us(took, 99)}, {"p99.9 µs", us(took, 99.9)}}
}

// us is a percentile in microseconds. The first fifth does not count.
func us(took []time.Duration, p float64) float64 {
	return float64(measure.Percentile(took[len(took)/5:], p).Nanoseconds()) / 1000
}
