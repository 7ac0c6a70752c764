package snapshots

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/storage"
)

const (
	// EntryBytes is how much of a chunk is stored in one entry: 1 MiB. What is
	// longer goes on in the entries behind it.
	EntryBytes = 1 << 20
	// SegmentMax is how long a segment can be: a single entry of state may be.
	SegmentMax = 2*dataflow.MaxSegmentEntry + EntryBytes
)

// chunkLog is a log of chunks.
type chunkLog struct {
	writer
	cache *chunkCache
	mark  func() mark // to begin entries with
}

func (c *chunkLog) open(ctx context.Context, s storage.Store, name string, m func() mark) error {
	err := c.writer.open(ctx, s, name)
	c.mark, c.cache = m, newChunkCache(c.log)
	return err
}

// begin appends the marker that fences the predecessor.
func (c *chunkLog) begin(ctx context.Context) error {
	_, err := c.append(ctx, storage.Epoch, seal(c.mark().append(nil)))
	return err
}

// write stores a chunk, in entries that follow one another, and returns the first.
func (c *chunkLog) write(ctx context.Context, chunk []byte) (first uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for more := true; more; more = len(chunk) > 0 {
		n := min(len(chunk), EntryBytes)
		seq, err := c.appendLocked(ctx, storage.Data, seal(c.mark().append(nil), chunk[:n]))
		if err != nil {
			return 0, err
		}
		if chunk = chunk[n:]; first == 0 {
			first = seq
		}
	}
	return first, nil
}

// At returns where a segment lies, given the entry that its chunk begins in and
// its place in the chunk.
func At(chunk uint64, offset, length int) checkpoint.Ref {
	return checkpoint.Ref{Seq: chunk + uint64(offset/EntryBytes), Offset: offset % EntryBytes, Length: length}
}

// segment reads a segment, which is not to be changed.
func (c *chunkLog) segment(ctx context.Context, r checkpoint.Ref) ([]byte, error) {
	b, err := c.cache.get(ctx, r.Seq)
	if err != nil {
		return nil, err
	}
	if r.Offset < 0 || r.Length < 0 || r.Offset > len(b) || r.Length > SegmentMax {
		return nil, notThere(r, r.Seq)
	}
	if b = b[r.Offset:]; r.Length <= len(b) {
		return b[:r.Length], nil
	}
	return c.gather(ctx, r, b)
}

// gather reads a segment that begins with b and goes on in other entries. It can
// go on only behind an entry that is full.
func (c *chunkLog) gather(ctx context.Context, r checkpoint.Ref, b []byte) ([]byte, error) {
	all := append(make([]byte, 0, r.Length), b...)
	full := r.Offset+len(b) >= EntryBytes
	for seq := r.Seq + 1; len(all) < r.Length; seq++ {
		if !full {
			return nil, notThere(r, seq-1)
		}
		var err error
		if b, err = c.cache.get(ctx, seq); err != nil {
			return nil, err
		}
		full = len(b) >= EntryBytes
		all = append(all, b[:min(len(b), r.Length-len(all))]...)
	}
	return all, nil
}

func notThere(r checkpoint.Ref, seq uint64) error {
	return fmt.Errorf("the manifest expects %d bytes from byte %d of chunk %d on, and chunk %d ends before: %w",
		r.Length, r.Offset, r.Seq, seq, storage.ErrCorrupt)
}

// packer writes segments, many to a chunk.
type packer struct {
	to     *chunkLog
	chunk  []byte
	placed []func(chunk uint64)
}

// add takes a segment. placed is told where it has come to lie, in the order in
// which segments were added, once its chunk is written.
func (p *packer) add(ctx context.Context, segment []byte, placed func(checkpoint.Ref)) error {
	offset, length := len(p.chunk), len(segment)
	p.chunk = append(p.chunk, segment...)
	p.placed = append(p.placed, func(chunk uint64) { placed(At(chunk, offset, length)) })
	if len(p.chunk) < ChunkBytes {
		return nil
	}
	return p.flush(ctx)
}

// flush writes what is left.
func (p *packer) flush(ctx context.Context) error {
	if len(p.placed) == 0 {
		return nil
	}
	seq, err := p.to.write(ctx, p.chunk)
	if err != nil {
		return err
	}
	for _, placed := range p.placed {
		placed(seq)
	}
	p.chunk, p.placed = p.chunk[:0], p.placed[:0]
	return nil
}
