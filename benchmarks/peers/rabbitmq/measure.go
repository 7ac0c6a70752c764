package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/benchmarks/disk"
	"github.com/troupestream/troupe/benchmarks/measure"
)

type plan struct {
	scale  float64
	rounds int
	window int // messages that a publisher may have unconfirmed
	cells  string
	dir    string // on the disk that the peers use
	log    io.Writer
	// again opens a further peer of a kind, with nothing in it.
	again func(ctx context.Context, name string) (at peer, done func(), err error)
}

// scaled is a number of messages at the plan's scale.
func (p plan) scaled(n, least int) int { return max(least, int(float64(n)*p.scale)) }

// cell is one row of a table, for every peer.
type cell struct {
	table string
	name  string
	round func(context.Context, peer) ([]figure, error)
}

func (c cell) String() string { return c.table + " " + c.name }

// figure is one column: what a round came to.
type figure struct {
	name  string
	value float64
}

// result is what one peer did in one cell, over all rounds.
type result struct {
	Table   string                       `json:"table"`
	Cell    string                       `json:"cell"`
	Peer    string                       `json:"peer"`
	Columns []string                     `json:"columns"`
	Figures map[string]measure.Quartiles `json:"figures"`
}

const most = 15 * time.Minute // for one peer in one round of one cell

func measureAll(ctx context.Context, peers []peer, p plan) (all []result, err error) {
	for _, c := range p.all() {
		if !strings.Contains(c.String(), p.cells) {
			continue
		}
		results, err := p.measure(ctx, peers, c)
		if err != nil {
			return all, fmt.Errorf("%s: %w", c, err)
		}
		all = append(all, results...)
	}
	return all, nil
}

// measure takes the rounds of a cell: each peer once a round, forwards and backwards.
func (p plan) measure(ctx context.Context, peers []peer, c cell) ([]result, error) {
	results := make([]result, len(peers))
	rounds := make([]map[string][]float64, len(peers))
	order := make([]int, len(peers))
	for i := range order {
		order[i], rounds[i] = i, map[string][]float64{}
		results[i] = result{Table: c.table, Cell: c.name, Peer: peers[i].name(), Figures: map[string]measure.Quartiles{}}
	}
	for round := range p.rounds {
		for _, i := range order {
			fmt.Fprintf(p.log, "%s, round %d of %d, %s\n", c, round+1, p.rounds, peers[i].name())
			figures, err := p.once(ctx, c, peers[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", peers[i].name(), err)
			}
			results[i].Columns = results[i].Columns[:0]
			for _, f := range figures {
				results[i].Columns = append(results[i].Columns, f.name)
				rounds[i][f.name] = append(rounds[i][f.name], f.value)
			}
		}
		slices.Reverse(order)
	}
	for i := range results {
		for name, figures := range rounds[i] {
			results[i].Figures[name] = measure.QuartilesOf(figures)
		}
	}
	return results, nil
}

func (p plan) once(ctx context.Context, c cell, at peer) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	sync, err := p.sync(ctx)
	if err != nil {
		return nil, err
	}
	figures, err := c.round(ctx, at)
	return append(figures, sync), errors.Join(err, at.clear(ctx))
}

// sync is how long the disk takes at this moment to make 4 KiB durable: what others do to
// it shows there.
func (p plan) sync(ctx context.Context) (figure, error) {
	t, err := disk.Append(ctx, p.dir, make([]byte, 4096), 50, true)
	return figure{"sync µs", float64(measure.Percentile(t.Writes, 50).Nanoseconds()) / 1000}, err
}

var queues atomic.Int64

// onQueue calls f with the name of a new queue and how long it took to declare it, and
// deletes it.
func onQueue(ctx context.Context, at peer, bindings []string, f func(queue string, declared time.Duration) error) error {
	queue, began := fmt.Sprintf("bench-%d", queues.Add(1)), time.Now()
	if err := at.declare(ctx, queue, bindings); err != nil {
		return fmt.Errorf("declare a queue: %w", err)
	}
	if err := f(queue, time.Since(began)); err != nil {
		return err
	}
	return at.remove(ctx, queue)
}

// spent is the time that something took, and the processor time of this process and
// of the peer's own.
type spent struct{ wall, processor time.Duration }

func timed(at peer, f func() error) (spent, error) {
	processor, began := measure.ProcessorTime()+at.processor(), time.Now()
	err := f()
	return spent{time.Since(began), measure.ProcessorTime() + at.processor() - processor}, err
}

func (s spent) perSecond(n int) float64 { return float64(n) / s.wall.Seconds() }

// each is the processor time of one of n, in microseconds.
func (s spent) each(n int) float64 { return float64(s.processor.Nanoseconds()) / 1000 / float64(n) }
