package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
)

type plan struct {
	scale  float64
	rounds int
	cells  string
	log    io.Writer
}

// cell is one row of the tables, for every peer.
type cell struct {
	durability durability
	bytes      int // of a value
	partitions int
}

func (c cell) String() string {
	return fmt.Sprintf("%s %d B x %d", c.durability, c.bytes, c.partitions)
}

const (
	keys         = 1000
	latencyRate  = 5000 // records/s
	latencyFor   = 4 * time.Second
	recordsSmall = 2_000_000 // of 100 bytes
	recordsLarge = 300_000   // of 1,000 bytes
	most         = 2 * time.Minute
)

// result is what one peer did in one cell: medians of the rounds.
type result struct {
	Peer       string     `json:"peer"`
	Durability durability `json:"durability"`
	Bytes      int        `json:"value_bytes"`
	Partitions int        `json:"partitions"`
	Records    int        `json:"records"`
	Produce    rate       `json:"produce"`
	Consume    rate       `json:"consume"`
	EndToEnd   rate       `json:"end_to_end"`
	P50us      float64    `json:"ack_p50_us"`
	P99us      float64    `json:"ack_p99_us"`
	P999us     float64    `json:"ack_p999_us"`
}

// rate is a speed, and the processor time of all processes together.
type rate struct {
	RecordsPerS float64 `json:"records_per_s"`
	CPUNs       float64 `json:"cpu_ns_per_record"`
}

func measureAll(ctx context.Context, peers []peer, p plan) (all []result, err error) {
	for _, d := range []durability{flushed, defaults, unsynced} {
		for _, size := range []int{100, 1000} {
			for _, partitions := range []int{1, 8} {
				c := cell{d, size, partitions}
				if !strings.Contains(c.String(), p.cells) {
					continue
				}
				results, err := p.measure(ctx, peers, c)
				if err != nil {
					return all, fmt.Errorf("%s: %w", c, err)
				}
				all = append(all, results...)
			}
		}
	}
	return all, nil
}

// measure takes the rounds of a cell: each peer once a round, forwards and backwards.
func (p plan) measure(ctx context.Context, peers []peer, c cell) ([]result, error) {
	rounds := make([][]result, len(peers))
	for round := range p.rounds {
		order := make([]int, len(peers))
		for i := range order {
			order[i] = i
		}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			fmt.Fprintf(p.log, "%s, round %d of %d, %s\n", c, round+1, p.rounds, peers[i].name())
			r, err := p.round(ctx, peers[i], c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", peers[i].name(), err)
			}
			rounds[i] = append(rounds[i], r)
		}
	}
	var all []result
	for _, r := range rounds {
		all = append(all, medians(r))
	}
	return all, nil
}

func (p plan) round(ctx context.Context, at peer, c cell) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*most)
	defer cancel()
	n := recordsSmall
	if c.bytes > 100 {
		n = recordsLarge
	}
	if at.name() == "jetstream" {
		n /= 8 // a sync for each message, at worst
	}
	n = max(1000, int(float64(n)*p.scale))
	if at.name() == "jetstream" && c.durability == flushed {
		n = max(1000, n/10)
	}
	r = result{Peer: at.name(), Durability: c.durability, Bytes: c.bytes, Partitions: c.partitions, Records: n}
	err = onTopic(ctx, at, c, "throughput", func(topic string) error {
		if r.Produce, err = timed(at, n, func() error { return produce(ctx, at, topic, c.bytes, n) }); err != nil {
			return err
		}
		r.Consume, err = timed(at, n, func() error { return consume(ctx, at, topic, c.partitions, n) })
		return err
	})
	if err != nil {
		return r, err
	}
	err = onTopic(ctx, at, c, "end-to-end", func(topic string) error {
		r.EndToEnd, err = timed(at, n, func() error {
			read := make(chan error, 1)
			go func() { read <- consume(ctx, at, topic, c.partitions, n) }()
			return errors.Join(produce(ctx, at, topic, c.bytes, n), <-read)
		})
		return err
	})
	if err != nil {
		return r, err
	}
	err = onTopic(ctx, at, c, "latency", func(topic string) error { return r.latencies(ctx, at, topic, c.bytes) })
	return r, err
}

var topics atomic.Int64

func onTopic(ctx context.Context, at peer, c cell, what string, f func(topic string) error) error {
	topic := fmt.Sprintf("%s-%d", what, topics.Add(1))
	if err := at.create(ctx, topic, c.partitions, c.durability); err != nil {
		return fmt.Errorf("create a topic: %w", err)
	}
	if err := f(topic); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return at.remove(ctx, topic)
}

// timed measures f, and the processor time of this process and of the peer's own.
func timed(at peer, n int, f func() error) (rate, error) {
	cpu, began := measure.ProcessorTime()+at.processor(), time.Now()
	err := f()
	took := time.Since(began)
	return rate{float64(n) / took.Seconds(), float64((measure.ProcessorTime() + at.processor() - cpu).Nanoseconds()) / float64(n)}, err
}

// values makes records whose values begin with their number; what is behind it does
// not matter, as nothing is compressed.
type values struct {
	bytes int
	slab  []byte
	keys  [keys][]byte
}

func newValues(bytes int) *values {
	v := &values{bytes: bytes}
	for i := range v.keys {
		v.keys[i] = []byte("key-" + strconv.Itoa(i))
	}
	return v
}

func (v *values) record(i int) (key, value []byte) {
	if len(v.slab) < v.bytes {
		v.slab = make([]byte, 1<<20)
	}
	value, v.slab = v.slab[:v.bytes:v.bytes], v.slab[v.bytes:]
	binary.LittleEndian.PutUint64(value, uint64(i))
	return v.keys[i%keys], value
}

// produce publishes n records and waits until all are acknowledged.
func produce(ctx context.Context, at peer, topic string, bytes, n int) error {
	p, err := at.producer(ctx, topic, false)
	if err != nil {
		return err
	}
	defer p.close()
	var acked atomic.Int64
	var failed atomic.Pointer[error]
	done := func(err error) {
		if acked.Add(1); err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	v := newValues(bytes)
	for i := range n {
		key, value := v.record(i)
		if err := p.publish(ctx, key, value, done); err != nil {
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

// consume reads n records from a topic's beginning, and holds their numbers against
// what was published.
func consume(ctx context.Context, at peer, topic string, partitions, n int) error {
	seen, sum, wrong := 0, uint64(0), 0
	err := at.consume(ctx, topic, partitions, func(value []byte) bool {
		if len(value) < 8 {
			wrong++
			return false
		}
		seen++
		sum += binary.LittleEndian.Uint64(value)
		return seen < n
	})
	if want := uint64(n) * uint64(n-1) / 2; err == nil && (seen != n || sum != want || wrong > 0) {
		err = fmt.Errorf("%d records with the sum %d were read, %d were published, with the sum %d", seen, sum, n, want)
	}
	return err
}

// latencies publishes at a fixed rate, whether or not the peer keeps up, and measures
// from when a record was due until it was acknowledged. The first fifth does not count.
func (r *result) latencies(ctx context.Context, at peer, topic string, bytes int) error {
	p, err := at.producer(ctx, topic, true)
	if err != nil {
		return err
	}
	defer p.close()
	v, n := newValues(bytes), int(latencyFor.Seconds()*latencyRate)
	took, errs := make([]time.Duration, n), make([]error, n)
	var group sync.WaitGroup
	group.Add(n)
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * time.Second / latencyRate)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		key, value := v.record(i)
		if err := p.publish(ctx, key, value, func(err error) {
			took[i], errs[i] = time.Since(due), err
			group.Done()
		}); err != nil {
			return err
		}
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	took = took[n/5:]
	us := func(p float64) float64 { return float64(measure.Percentile(took, p).Nanoseconds()) / 1000 }
	r.P50us, r.P99us, r.P999us = us(50), us(99), us(99.9)
	return nil
}

// medians takes the median of each figure.
func medians(rounds []result) result {
	m := rounds[0]
	of := func(f func(*result) *float64) {
		var all []float64
		for i := range rounds {
			all = append(all, *f(&rounds[i]))
		}
		*f(&m) = measure.QuartilesOf(all).Median
	}
	for _, f := range []func(*result) *float64{
		func(r *result) *float64 { return &r.Produce.RecordsPerS }, func(r *result) *float64 { return &r.Produce.CPUNs },
		func(r *result) *float64 { return &r.Consume.RecordsPerS }, func(r *result) *float64 { return &r.Consume.CPUNs },
		func(r *result) *float64 { return &r.EndToEnd.RecordsPerS }, func(r *result) *float64 { return &r.EndToEnd.CPUNs },
		func(r *result) *float64 { return &r.P50us }, func(r *result) *float64 { return &r.P99us },
		func(r *result) *float64 { return &r.P999us },
	} {
		of(f)
	}
	return m
}
