// Package snapshots keeps the checkpoints of a job in two logs: chunks, which
// hold segments of state, and manifests, each of which makes one checkpoint
// complete. Both logs have one writer, the job's coordinator, and are fenced
// like every log: an older incarnation of the job cannot add to them.
package snapshots

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
)

// ChunkBytes is how large a chunk is made before it is written: 512 KiB.
const ChunkBytes = 512 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store is the checkpoints of one job.
type Store struct {
	job       string
	manifests writer
	chunks    writer
	cache     *chunkCache

	incarnation uint64
	newest      uint64 // entry of the newest manifest; guarded by manifests.mu
	missing     error  // what the log of manifests has lost; nil: nothing
}

// writer is a log with the sequence it expects to be the last.
type writer struct {
	mu   sync.Mutex // one append at a time: fencing rests on it
	log  storage.Log
	last uint64
}

func (w *writer) append(ctx context.Context, kind storage.Kind, data []byte) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq, err := w.log.Append(ctx, kind, data, w.last)
	if err != nil {
		return 0, err
	}
	w.last = seq
	return seq, nil
}

// Open opens the checkpoints of a job and takes them over: whoever had them
// open before can add nothing any more.
func Open(ctx context.Context, s storage.Store, job string) (*Store, error) {
	st := &Store{job: job}
	if err := st.open(ctx, s); err != nil {
		return nil, fmt.Errorf("take over the checkpoints of job %q: %w", job, errors.Join(err, st.Close()))
	}
	st.cache = newChunkCache(st.chunks.log)
	return st, nil
}

func (s *Store) open(ctx context.Context, store storage.Store) error {
	for name, w := range map[string]*writer{"manifests": &s.manifests, "chunks": &s.chunks} {
		log, err := store.OpenLog(ctx, "job_"+s.job+"_"+name, storage.LogOptions{})
		if err != nil {
			return err
		}
		b, err := log.Bounds(ctx)
		w.log, w.last = log, b.Last
		if err != nil {
			return err
		}
	}
	known, err := newestMark(ctx, s.chunks.log)
	if err != nil {
		return err
	}
	if s.newest, err = newestManifest(ctx, s.manifests.log, known); err != nil {
		return err
	}
	s.missing = known.missing(s.newest)
	return s.takeOver(ctx, known.incarnation)
}

// takeOver appends the markers that fence the predecessor. The incarnation is a
// sequence of the log of manifests, unless that has lost some.
func (s *Store) takeOver(ctx context.Context, last uint64) error {
	seq, err := s.manifests.append(ctx, storage.Epoch, nil)
	if err != nil {
		return err
	}
	s.incarnation = max(seq, last+1)
	_, err = s.chunks.append(ctx, storage.Epoch, seal(s.mark().append(nil)))
	return err
}

func (s *Store) mark() mark {
	s.manifests.mu.Lock()
	defer s.manifests.mu.Unlock()
	return mark{s.newest, s.incarnation}
}

// Incarnation is the job's fencing epoch: higher at every Open.
func (s *Store) Incarnation() uint64 { return s.incarnation }

// WriteChunk stores a chunk and returns its sequence. It is safe for
// concurrent use.
func (s *Store) WriteChunk(ctx context.Context, segments []byte) (uint64, error) {
	seq, err := s.chunks.append(ctx, storage.Data, seal(s.mark().append(nil), segments))
	if err != nil {
		return 0, fmt.Errorf("write %d bytes of state of job %q: %w", len(segments), s.job, err)
	}
	return seq, nil
}

// WriteManifest makes a checkpoint complete.
func (s *Store) WriteManifest(ctx context.Context, m *checkpoint.Manifest) (uint64, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("encode the manifest of checkpoint %d: %w", m.Checkpoint, err)
	}
	seq, err := s.manifests.append(ctx, storage.State, seal(b))
	if err != nil {
		return 0, fmt.Errorf("write the manifest of checkpoint %d of job %q: %w", m.Checkpoint, s.job, err)
	}
	s.manifests.mu.Lock()
	s.newest = max(s.newest, seq)
	s.manifests.mu.Unlock()
	return seq, nil
}

// damagedMax is how many damaged entries List passes over before it gives up:
// the bounds of a damaged log may be damaged, too, and then there is no end.
const damagedMax = 1000

// Found is a checkpoint, and where its manifest lies.
type Found struct {
	*checkpoint.Manifest
	Seq uint64
}

// List returns all checkpoints that can be read, newest first, and says of each
// that cannot why not. One of a newer format is an error, checkpoint.ErrFormat.
func (s *Store) List(ctx context.Context) (found []Found, unreadable []error, err error) {
	b, err := s.manifests.log.Bounds(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list the checkpoints of job %q: %w", s.job, err)
	}
	for from, damaged := b.First, 0; from <= b.Last; {
		entries, err := s.manifests.log.Read(ctx, from, ChunkBytes)
		if errors.Is(err, storage.ErrCorrupt) && damaged < damagedMax {
			// It is about the first entry; those behind it may be whole.
			damaged++
			unreadable = append(unreadable, fmt.Errorf("manifest %d of job %q: %w", from, s.job, err))
			from++
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list the checkpoints of job %q: %w", s.job, err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			from = e.Seq + 1
			if e.Kind != storage.State {
				continue
			}
			m, err := decodeManifest(e.Data, s.job)
			if errors.Is(err, checkpoint.ErrFormat) {
				// To pass over it would be to go back behind what the newer release did.
				return nil, nil, fmt.Errorf("job %q: %w", s.job, err)
			}
			if err != nil {
				unreadable = append(unreadable, fmt.Errorf("manifest %d of job %q: %w", e.Seq, s.job, err))
				continue
			}
			found = append([]Found{{m, e.Seq}}, found...)
		}
	}
	if s.missing != nil {
		unreadable = append(unreadable, fmt.Errorf("job %q: %w", s.job, s.missing))
	}
	return s.retained(found), unreadable, nil
}

// retained drops those that the newest no longer counts among its own: their
// state may be gone.
func (s *Store) retained(found []Found) []Found {
	if len(found) == 0 {
		return found
	}
	kept := found[:1]
	for _, f := range found[1:] {
		for _, r := range found[0].Retained {
			if r.Seq == f.Seq {
				kept = append(kept, f)
			}
		}
	}
	return kept
}

// Verify reads all that a checkpoint refers to.
func (s *Store) Verify(ctx context.Context, m *checkpoint.Manifest) error {
	for node, groups := range m.Segments {
		for g := range groups {
			if err := s.Segments(ctx, m, node, g, func([]byte) error { return nil }); err != nil {
				return fmt.Errorf("checkpoint %d: operator %q, key group %d: %w", m.Checkpoint, node, g, err)
			}
		}
	}
	return nil
}

// Segments calls f with each segment of an operator's key group, oldest first.
// It is safe for concurrent use.
func (s *Store) Segments(ctx context.Context, m *checkpoint.Manifest, node string, group int, f func([]byte) error) error {
	groups := m.Segments[node]
	if groups == nil {
		return nil
	}
	for _, r := range groups[group] {
		chunk, err := s.cache.get(ctx, r.Seq)
		if err != nil {
			return err
		}
		if r.Offset < 0 || r.Length < 0 || r.Offset+r.Length > len(chunk) {
			return fmt.Errorf("chunk %d has %d bytes, the manifest expects %d at %d: %w", r.Seq, len(chunk), r.Length, r.Offset, storage.ErrCorrupt)
		}
		if err := f(chunk[r.Offset : r.Offset+r.Length]); err != nil {
			return err
		}
	}
	return nil
}

// ReleaseCache frees the memory that reading has taken.
func (s *Store) ReleaseCache() { s.cache.clear() }

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

func (w *writer) close() error {
	if w.log == nil {
		return nil
	}
	return w.log.Close()
}

func decodeManifest(data []byte, job string) (*checkpoint.Manifest, error) {
	b, err := unseal(data)
	if err != nil {
		return nil, err
	}
	// A newer format may look so different that nothing else in it can be read.
	var head struct{ Format int }
	if err := json.Unmarshal(b, &head); err == nil && head.Format > checkpoint.Format {
		return nil, checkpoint.FormatError(head.Format)
	}
	m := new(checkpoint.Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return m, m.Check(job)
}

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
