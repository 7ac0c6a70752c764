package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/benchmarks/disk"
	"github.com/troupestream/troupe/benchmarks/measure"
)

// loneOverhead is about what an entry of the log has besides its one record, in
// bytes: the heads of the batch and of the store's message.
const loneOverhead = 150

// lone appends single records, each acknowledged before the next one begins,
// in turns with raw writes.
func (s *subject) lone(ctx context.Context) (r measure.Result, err error) {
	if err := s.renew(ctx); err != nil {
		return r, err
	}
	raw, log, err := s.turns(ctx)
	if err != nil {
		return r, err
	}
	if t, err := s.read(ctx); err != nil || t.records != uint64(len(log)) {
		return r, errors.Join(err, t.check(uint64(len(log))))
	}
	r = measure.Result{Name: "lone-append", Runs: len(log)}
	s.label(&r)
	r.SetLatencies(log)
	var sum time.Duration
	for _, took := range log {
		sum += took
	}
	r.RecordsPerS = float64(len(log)) / sum.Seconds()
	if s.durability == actor.Fsync {
		r.Ratio = measure.QuartilesOf(medianRatios(log, raw, 50))
		ratio := float64(measure.Percentile(log, 50)) / float64(measure.Percentile(raw, 50))
		r.RatioToRaw = &ratio
	}
	return r, s.remove(ctx)
}

// turns measures raw writes and appends alternately.
func (s *subject) turns(ctx context.Context) (raw, log []time.Duration, err error) {
	f, err := disk.Create(s.dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p, err := s.topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		return nil, nil, err
	}
	chunk, records := make([]byte, s.recordBytes+loneOverhead), newRecords(1, s.recordBytes)
	for until := time.Now().Add(s.plan.loneFor); len(log) == 0 || time.Now().Before(until) && len(log) < s.plan.loneMost; {
		took, err := f.Append(ctx, chunk, s.durability == actor.Fsync)
		if err != nil {
			return nil, nil, err
		}
		raw = append(raw, took)
		binary.LittleEndian.PutUint64(records[0].Value, s.records)
		start := time.Now()
		if _, err := p.Append(ctx, 0, records); err != nil {
			return nil, nil, err
		}
		log = append(log, time.Since(start))
		s.records++
	}
	return raw, log, p.Close(ctx)
}

// medianRatios are the ratios of the medians of so many turns each.
func medianRatios(a, b []time.Duration, turns int) (ratios []float64) {
	for i := 0; i+turns <= len(a); i += turns {
		ratios = append(ratios, float64(measure.Percentile(a[i:i+turns], 50))/float64(measure.Percentile(b[i:i+turns], 50)))
	}
	return ratios
}
