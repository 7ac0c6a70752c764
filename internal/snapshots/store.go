// Package snapshots keeps the checkpoints of a job in two logs: chunks, which
// hold segments of state, and manifests, each of which makes one checkpoint
// complete. Both logs have one writer, the job's coordinator, and are fenced
// like every log: an older incarnation of the job cannot add to them. A savepoint
// has a log of its own, with both.
package snapshots

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
)

// ChunkBytes is how large a chunk is made before it is written: 512 KiB.
const ChunkBytes = 512 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store is the checkpoints of one job.
type Store struct {
	job       string
	store     storage.Store
	manifests writer
	chunks    chunkLog

	incarnation uint64
	newest      atomic.Uint64 // entry of the newest manifest
	missing     error         // what the log of manifests has lost; nil: nothing
	weights     []weight      // of the chunk log, oldest first; for Tidy
}

// writer is a log with the sequence it expects to be the last.
type writer struct {
	mu    sync.Mutex // one append at a time: fencing rests on it
	log   storage.Log
	last  uint64
	bytes uint64 // appended since it was opened
}

// open opens the log of that name, for a writer that is to take it over.
func (w *writer) open(ctx context.Context, s storage.Store, name string) error {
	log, err := s.OpenLog(ctx, name, storage.LogOptions{})
	if err != nil {
		return err
	}
	w.log = log
	b, err := log.Bounds(ctx)
	w.last = b.Last
	return err
}

func (w *writer) append(ctx context.Context, kind storage.Kind, data []byte) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.appendLocked(ctx, kind, data)
}

func (w *writer) appendLocked(ctx context.Context, kind storage.Kind, data []byte) (uint64, error) {
	seq, err := w.log.Append(ctx, kind, data, w.last)
	if err != nil {
		return 0, err
	}
	w.last, w.bytes = seq, w.bytes+uint64(len(data))
	return seq, nil
}

func (w *writer) close() error {
	if w.log == nil {
		return nil
	}
	return w.log.Close()
}

// Open opens the checkpoints of a job and takes them over: whoever had them
// open before can add nothing any more.
func Open(ctx context.Context, s storage.Store, job string) (*Store, error) {
	st := &Store{job: job, store: s}
	if err := st.open(ctx); err != nil {
		return nil, fmt.Errorf("take over the checkpoints of job %q: %w", job, errors.Join(err, st.Close()))
	}
	return st, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := s.manifests.open(ctx, s.store, "job_"+s.job+"_manifests"); err != nil {
		return err
	}
	if err := s.chunks.open(ctx, s.store, "job_"+s.job+"_chunks", s.mark); err != nil {
		return err
	}
	known, err := newestMark(ctx, s.chunks.log)
	if err != nil {
		return err
	}
	newest, err := newestManifest(ctx, s.manifests.log, known)
	if err != nil {
		return err
	}
	s.newest.Store(newest)
	s.missing = known.missing(newest)
	if err := s.takeOver(ctx, known.incarnation); err != nil {
		return err
	}
	return s.sweepSavepoints(ctx)
}

// takeOver appends the markers that fence the predecessor. The incarnation is a
// sequence of the log of manifests, unless that has lost some.
func (s *Store) takeOver(ctx context.Context, last uint64) error {
	seq, err := s.manifests.append(ctx, storage.Epoch, nil)
	if err != nil {
		return err
	}
	s.incarnation = max(seq, last+1)
	return s.chunks.begin(ctx)
}

func (s *Store) mark() mark { return mark{s.newest.Load(), s.incarnation} }

// Incarnation is the job's fencing epoch: higher at every Open.
func (s *Store) Incarnation() uint64 { return s.incarnation }

// WriteChunk stores a chunk and returns the entry that it begins in. It is safe
// for concurrent use. See At.
func (s *Store) WriteChunk(ctx context.Context, segments []byte) (uint64, error) {
	seq, err := s.chunks.write(ctx, segments)
	if err != nil {
		return 0, fmt.Errorf("write %d bytes of state of job %q: %w", len(segments), s.job, err)
	}
	return seq, nil
}

// WriteManifest makes a checkpoint complete, and returns what names it among those
// that are kept.
func (s *Store) WriteManifest(ctx context.Context, m *checkpoint.Manifest) (checkpoint.Retained, error) {
	r, err := writeManifest(ctx, &s.manifests, m)
	if err != nil {
		return r, fmt.Errorf("write the manifest of checkpoint %d of job %q: %w", m.Checkpoint, s.job, err)
	}
	s.newest.Store(r.Seq)
	return r, nil
}

// Segments calls f with each segment of an operator's key group, oldest first.
// It is safe for concurrent use.
func (s *Store) Segments(ctx context.Context, m *checkpoint.Manifest, node string, group int, f func([]byte) error) error {
	groups := m.Segments[node]
	if groups == nil {
		return nil
	}
	for _, r := range groups[group] {
		segment, err := s.chunks.segment(ctx, r)
		if err != nil {
			return err
		}
		if err := f(segment); err != nil {
			return err
		}
	}
	return nil
}

// ReleaseCache frees the memory that reading has taken.
func (s *Store) ReleaseCache() { s.chunks.cache.clear() }

// Trim drops what no retained checkpoint needs: chunks below chunk, manifests
// below manifest. A chunk of 0 says that none is needed yet; what is there then
// may belong to the checkpoint under way, so it stays.
func (s *Store) Trim(ctx context.Context, chunk, manifest uint64) error {
	return errors.Join(s.chunks.log.Trim(ctx, chunk), s.manifests.log.Trim(ctx, manifest))
}

// ChunkBytesKept is how much the chunk log takes.
func (s *Store) ChunkBytesKept(ctx context.Context) (uint64, error) {
	b, err := s.chunks.log.Bounds(ctx)
	return b.Bytes, err
}

// Close closes the logs.
func (s *Store) Close() error { return errors.Join(s.manifests.close(), s.chunks.close()) }

// seal puts a checksum in front of data.
func seal(data ...[]byte) []byte {
	b := slices.Concat(append([][]byte{make([]byte, 4)}, data...)...)
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

func unseal(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("%d bytes are too few: %w", len(b), storage.ErrCorrupt)
	}
	if crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return nil, fmt.Errorf("the checksum of %d bytes does not match: %w", len(b), storage.ErrCorrupt)
	}
	return b[4:], nil
}
