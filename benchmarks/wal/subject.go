package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/benchmarks/disk"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/runtime"
)

const (
	producers   = 4
	appendBytes = 64 << 10 // of records in one append
	rawMost     = 1 << 30  // bytes of one raw run
)

// subject is a topic of one record size and durability.
type subject struct {
	plan        plan
	engine      *runtime.Engine
	dir         string // for raw files
	recordBytes int
	durability  actor.Durability

	topic   *actor.Topic
	records uint64 // that the topic holds
	// What the log writes at once, as learn found it.
	batchBytes, batchRecords int
}

const topicName = "bench"

// renew replaces the topic by an empty one.
func (s *subject) renew(ctx context.Context) (err error) {
	if err := s.remove(ctx); err != nil {
		return err
	}
	s.topic, err = s.engine.Declare(ctx, topicName, actor.TopicConfig{Durability: s.durability})
	if err == nil {
		_, err = s.topic.Bounds(ctx, 0) // the partition has opened its log
	}
	return err
}

func (s *subject) remove(ctx context.Context) error {
	s.topic, s.records = nil, 0
	if err := s.engine.System().DeleteTopic(ctx, topicName); err != nil && !errors.Is(err, actor.ErrNoTopic) {
		return err
	}
	return nil
}

// learn appends and replays once, to find out how large the batches become that
// the log writes.
func (s *subject) learn(ctx context.Context) error {
	if err := s.renew(ctx); err != nil {
		return err
	}
	if _, _, err := s.append(ctx); err != nil {
		return err
	}
	t, err := s.read(ctx)
	if err == nil {
		s.batchBytes, s.batchRecords = t.bytes/t.batches, int(t.records)/t.batches
	}
	return err
}

// append has all producers append, each one append after the other without
// waiting for its acknowledgement, and waits for all of these.
func (s *subject) append(ctx context.Context) (int64, uint64, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Uint64
	next.Store(s.records)
	until := time.Now().Add(s.plan.runFor)
	var group sync.WaitGroup
	for range producers {
		group.Go(func() {
			if err := s.produce(ctx, fail, until, &next); err != nil {
				fail(err)
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return 0, 0, context.Cause(ctx)
	}
	bounds, err := s.topic.Bounds(ctx, 0)
	if err == nil && bounds.Next != next.Load() {
		err = fmt.Errorf("%d records were acknowledged, the partition has %d", next.Load(), bounds.Next)
	}
	appended := int64(next.Load() - s.records)
	s.records = next.Load()
	return appended, 0, err
}

// produce appends records with the ids that next hands out.
func (s *subject) produce(ctx context.Context, fail func(error), until time.Time, next *atomic.Uint64) error {
	p, err := s.topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		return err
	}
	records := newRecords(max(1, appendBytes/s.recordBytes), s.recordBytes)
	done := func(_ actor.Ack, err error) {
		if err != nil {
			fail(err)
		}
	}
	for first := true; err == nil && ctx.Err() == nil && (first || time.Now().Before(until)); first = false {
		end := next.Add(uint64(len(records)))
		for i := range records {
			binary.LittleEndian.PutUint64(records[i].Value, end-uint64(len(records)-i))
		}
		err = p.AppendAsync(ctx, 0, records, done)
	}
	return errors.Join(err, p.Close(ctx))
}

// newRecords makes records whose values begin with an id, and differ behind it.
func newRecords(n, bytes int) []codec.Record {
	records, slab := make([]codec.Record, n), make([]byte, n*bytes)
	for i := range slab {
		slab[i] = byte(i * 31)
	}
	for i := range records {
		records[i] = codec.Record{Value: slab[i*bytes : (i+1)*bytes : (i+1)*bytes], Time: codec.NoTime}
	}
	return records
}

// replay reads the topic from its beginning to its end, as often as it takes.
func (s *subject) replay(ctx context.Context) (records int64, _ uint64, err error) {
	for start := time.Now(); err == nil && (records == 0 || time.Since(start) < s.plan.runFor); {
		var t replayed
		t, err = s.read(ctx)
		records += int64(t.records)
	}
	return records, 0, err
}

// replayed is what was read.
type replayed struct {
	records, ids   uint64 // how many, and the sum of their ids
	batches, bytes int
}

func (s *subject) read(ctx context.Context) (t replayed, err error) {
	r, err := s.topic.OpenReader(ctx, 0, actor.FromBeginning())
	if err != nil {
		return t, err
	}
	defer r.Close()
	for r.Offset() < s.records {
		batch, err := r.Next(ctx)
		if err != nil {
			return t, err
		}
		if err := t.add(batch); err != nil {
			return t, err
		}
	}
	return t, t.check(s.records)
}

func (t *replayed) add(b *codec.Batch) error {
	t.batches++
	t.bytes += b.Info.RecordBytes
	var record codec.Record
	n, ids := t.records, t.ids
	for b.Next(&record) {
		n++
		ids += binary.LittleEndian.Uint64(record.Value)
	}
	t.records, t.ids = n, ids
	return b.Err()
}

// check holds what was read against the ids from 0 to before n.
func (t *replayed) check(n uint64) error {
	if t.records != n || t.ids != n*(n-1)/2 {
		return fmt.Errorf("%d records were read whose ids add up to %d; appended were %d with %d", t.records, t.ids, n, n*(n-1)/2)
	}
	return nil
}

// raw writes as many bytes at once as the log does, and makes them durable
// where the log does so before it acknowledges.
func (s *subject) raw(ctx context.Context) (int64, uint64, error) {
	f, err := disk.Create(s.dir)
	if err != nil {
		return 0, 0, err
	}
	chunk, written := make([]byte, s.batchBytes), 0
	for start := time.Now(); err == nil && (written == 0 || time.Since(start) < s.plan.runFor && written*len(chunk) < rawMost); written++ {
		_, err = f.Append(ctx, chunk, s.durability == actor.Fsync)
	}
	return int64(written * s.batchRecords), 0, errors.Join(err, f.Close())
}
