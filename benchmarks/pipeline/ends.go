package pipeline

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/troupestream/troupe/topology"
)

// slabSource reads the records where they lie, in passes, for as long as the
// loops do. All splits make the same number of passes.
type slabSource struct {
	data   *Data
	splits int
	until  time.Time

	mu   sync.Mutex
	made int // passes that were begun
}

func newSlabSource(d *Data, splits int) *slabSource {
	return &slabSource{data: d, splits: splits, until: time.Now().Add(d.runFor), made: 1}
}

// another says whether there is a pass after so many. The first split that
// comes to its end decides, and the others follow.
func (s *slabSource) another(after int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == after && time.Now().Before(s.until) {
		s.made++
	}
	return s.made > after
}

func (s *slabSource) passes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// Splits implements topology.Source.
func (s *slabSource) Splits(context.Context) ([]string, error) {
	ids := make([]string, s.splits)
	for k := range ids {
		ids[k] = strconv.Itoa(k)
	}
	return ids, nil
}

// Open implements topology.Source.
func (s *slabSource) Open(_ context.Context, r topology.OpenRequest) (topology.SourceReader[[]byte], error) {
	k, err := strconv.Atoi(r.Split)
	if err != nil || r.Position != nil {
		return nil, fmt.Errorf("split %q from %q: a slab is read from its beginning: %w", r.Split, r.Position, err)
	}
	from, to := s.data.Shard(k, s.splits)
	return &slabReader{source: s, from: from, to: to, next: from, pass: 1}, nil
}

type slabReader struct {
	source   *slabSource
	from, to int
	next     int
	pass     int
	done     int64 // records of all passes
}

// Read implements topology.SourceReader.
func (r *slabReader) Read(_ context.Context, b *topology.Batch[[]byte], max int) error {
	if r.next == r.to {
		if !r.source.another(r.pass) {
			return io.EOF
		}
		r.pass, r.next = r.pass+1, r.from
	}
	end := min(r.next+max, r.to)
	for i := r.next; i < end; i++ {
		b.Values = append(b.Values, r.source.data.Record(i))
	}
	r.done += int64(end - r.next)
	r.next = end
	if end == r.from { // an empty split
		return io.EOF
	}
	return nil
}

func (r *slabReader) Position() []byte { return strconv.AppendInt(nil, r.done, 10) }
func (r *slabReader) Lag() int64       { return int64(r.to - r.next) }
func (r *slabReader) Close() error     { return nil }

// tally is a sink that drops its records and keeps only sums over them. Every
// kept record comes as its user's new count, so the sum of the users' hashes is
// the checksum of the job, and the counts of a user add up to N·(N+1)/2.
type tally struct {
	mu    sync.Mutex
	total sums
}

type sums struct{ users, counts uint64 }

// Info implements topology.Sink.
func (t *tally) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: topology.AtLeastOnce, Inline: true}
}

// Open implements topology.Sink.
func (t *tally) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[Count], error) {
	return &tallyWriter{tally: t}, nil
}

// check holds the counts against those of so many passes.
func (t *tally) check(d *Data, passes int) error {
	if want := d.triangles(passes); t.total.counts != want {
		return fmt.Errorf("the counts of all users add up to %d, should be %d", t.total.counts, want)
	}
	return nil
}

type tallyWriter struct {
	tally *tally
	sums
}

func (w *tallyWriter) Write(_ context.Context, b *topology.Batch[Count]) error {
	s := w.sums
	for i := range b.Values {
		s.users += b.Values[i].User
		s.counts += uint64(b.Values[i].N)
	}
	w.sums = s
	return nil
}

func (w *tallyWriter) Prepare(context.Context, uint64) ([]byte, error) { return nil, nil }
func (w *tallyWriter) Commit(context.Context, uint64) error            { return nil }

// Close hands the sums in: the job closes its sinks before it has ended.
func (w *tallyWriter) Close() error {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	w.tally.total.users += w.users
	w.tally.total.counts += w.counts
	return nil
}
