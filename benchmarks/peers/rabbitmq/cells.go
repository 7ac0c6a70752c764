package main

import (
	"context"
	"fmt"
	"time"
)

// Messages of a cell at scale 1. RabbitMQ takes some 50,000 of 100 bytes a second on
// two cores; who is faster is given more, by its speed.
const (
	flowSmall     = 200_000 // of 100 bytes
	flowLarge     = 100_000 // of 1,000 bytes
	routed        = 100_000
	backlogLength = 5_000_000
	idleQueues    = 10_000
	manyAcks      = 100 // messages that one acknowledgement is for, where it is for many
)

// all are the cells, in the order in which they are measured.
func (p plan) all() []cell {
	cells := []cell{p.startCell(), p.idleCell(), p.backlogCell(100)} // who has worked has more in memory
	for _, size := range []int{100, 1000} {
		for _, pairs := range []int{1, 4} {
			for _, acks := range []int{1, manyAcks} {
				cells = append(cells, p.queueCell(size, pairs, acks))
			}
		}
	}
	for _, size := range []int{100, 1000} {
		cells = append(cells, p.latencyCell(size))
	}
	for _, size := range []int{100, 1000} {
		cells = append(cells, p.confirmCell(size))
	}
	for _, wild := range []bool{false, true} {
		for _, bindings := range []int{1, 100, 10_000} {
			cells = append(cells, p.bindingsCell(bindings, wild))
		}
	}
	return cells
}

// through measures a flow, and counts only what arrived once each.
func through(ctx context.Context, at peer, f flow) ([]figure, error) {
	took, err := f.run(ctx, at)
	return []figure{{"messages/s", took.perSecond(f.n)}, {"CPU µs", took.each(f.n)}}, err
}

// queueCell: messages a second through a queue, until all are confirmed and acknowledged.
func (p plan) queueCell(size, pairs, acks int) cell {
	name, n := fmt.Sprintf("%d B, %d+%d, ack each", size, pairs, pairs), flowSmall
	if acks > 1 {
		name = fmt.Sprintf("%d B, %d+%d, ack %d", size, pairs, pairs, acks)
	}
	if size > 100 {
		n = flowLarge
	}
	return cell{"queue", name, func(ctx context.Context, at peer) (figures []figure, err error) {
		err = onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
			figures, err = through(ctx, at, flow{queue: queue, n: p.scaled(n*at.speed(), 1000), size: size,
				pairs: pairs, window: p.window, ackEvery: acks})
			return err
		})
		return figures, err
	}}
}

// bindingsCell: the same through a topic exchange from which so many patterns lead to
// the queue. A message has the key of each binding in turn.
func (p plan) bindingsCell(bindings int, wild bool) cell {
	name := fmt.Sprint(bindings)
	if wild {
		name += ", wildcards"
	}
	return cell{"bindings", name, func(ctx context.Context, at peer) (figures []figure, err error) {
		patterns, keys := patternsOf(bindings, wild)
		err = onQueue(ctx, at, patterns, func(queue string, declared time.Duration) error {
			figures, err = through(ctx, at, flow{queue: queue, n: p.scaled(routed*at.speed(), 1000), size: 100,
				pairs: 1, window: p.window, ackEvery: manyAcks, keys: keys})
			figures = append(figures, figure{"bind ms", ms(declared)})
			return err
		})
		return figures, err
	}}
}

// patternsOf returns patterns, and for each a key that it alone matches. With
// wildcards, a third has a star, and a third a hash.
func patternsOf(n int, wild bool) (patterns, keys []string) {
	ends := [3]string{"created", "created", "created"}
	if wild {
		ends = [3]string{"*", "#", "created"}
	}
	for i := range n {
		patterns = append(patterns, fmt.Sprintf("orders.customer-%d.%s", i, ends[i%3]))
		keys = append(keys, fmt.Sprintf("orders.customer-%d.created", i))
	}
	return patterns, keys
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
