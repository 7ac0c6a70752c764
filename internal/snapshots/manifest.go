package snapshots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
)

const (
	// partBytes is how much of a manifest's bulk lies in one entry: 1 MiB.
	partBytes = 1 << 20
	// ManifestMax is how large the bulk of a manifest may become: 256 MiB. It
	// takes about 8 bytes for a segment, of which each key group with state of
	// each operator has 1 to SegmentsMax and some more, and what sources and
	// sinks have to remember.
	ManifestMax = 256 << 20
)

// manifestEntry is what makes a checkpoint complete: the manifest without its
// bulk, and the end of that. What does not fit lies in the entries in front of it,
// of kind Data. They mean nothing without it.
type manifestEntry struct {
	checkpoint.Manifest
	Parts uint64 `json:"parts,omitempty"` // entries in front
	Bulk  []byte `json:"bulk,omitempty"`
}

// writeManifest appends a manifest.
func writeManifest(ctx context.Context, w *writer, m *checkpoint.Manifest) (kept checkpoint.Retained, err error) {
	bulk := m.AppendBulk(nil)
	if len(bulk) > ManifestMax {
		return kept, fmt.Errorf("it takes %d bytes, and %d are allowed: the state lies in very many segments; fewer key groups make it smaller", len(bulk), ManifestMax)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := manifestEntry{Manifest: *m}
	for ; len(bulk) > partBytes; bulk = bulk[partBytes:] {
		if _, err := w.appendLocked(ctx, storage.Data, seal(bulk[:partBytes])); err != nil {
			return kept, err
		}
		e.Parts++
	}
	e.Bulk, e.Format = bulk, max(m.Format, checkpoint.PlainFormat)
	e.Graph, e.Positions, e.Sinks, e.Segments, e.Retained = nil, nil, nil, nil, nil
	b, err := json.Marshal(e)
	if err != nil {
		return kept, err
	}
	seq, err := w.appendLocked(ctx, storage.State, seal(b))
	return keptAs(m, seq, e.Parts), err
}

// keptAs is what names a checkpoint among those that are kept.
func keptAs(m *checkpoint.Manifest, seq, parts uint64) checkpoint.Retained {
	chunk, _ := m.OldestChunk()
	return checkpoint.Retained{Checkpoint: m.Checkpoint, Seq: seq, Parts: parts, Chunk: chunk, Savepoint: m.Savepoint}
}

// decodeHead reads what the entry of a manifest says without its bulk.
func decodeHead(data []byte) (*manifestEntry, error) {
	b, err := unseal(data)
	if err != nil {
		return nil, err
	}
	// A newer format may look so different that nothing else in it can be read.
	var head struct{ Format int }
	if err := json.Unmarshal(b, &head); err == nil && head.Format > checkpoint.Format {
		return nil, checkpoint.FormatError(head.Format)
	}
	e := new(manifestEntry)
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return e, nil
}

// readManifest reads a manifest, given its entry.
func readManifest(ctx context.Context, log storage.Log, entry storage.Entry, job string) (m *checkpoint.Manifest, parts uint64, err error) {
	e, err := decodeHead(entry.Data)
	if err != nil {
		return nil, 0, err
	}
	if e.Format > 1 {
		bulk, err := readBulk(ctx, log, entry.Seq, e)
		if err == nil {
			err = e.ReadBulk(bulk)
		}
		if errors.Is(err, checkpoint.ErrBulk) {
			err = fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if err := e.Check(job); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return &e.Manifest, e.Parts, nil
}

func readBulk(ctx context.Context, log storage.Log, seq uint64, e *manifestEntry) (bulk []byte, err error) {
	if e.Parts >= seq || e.Parts > ManifestMax/partBytes {
		return nil, fmt.Errorf("%d parts in front of entry %d: %w", e.Parts, seq, storage.ErrCorrupt)
	}
	for at := seq - e.Parts; at < seq; at++ {
		part, err := readEntry(ctx, log, at)
		if err != nil {
			return nil, fmt.Errorf("part %d of %d: %w", e.Parts-(seq-at)+1, e.Parts, err)
		}
		bulk = append(bulk, part...)
	}
	return append(bulk, e.Bulk...), nil
}

// readEntry reads one entry of a log and takes off its checksum.
func readEntry(ctx context.Context, log storage.Log, seq uint64) ([]byte, error) {
	entries, err := log.Read(ctx, seq, 1)
	if err != nil {
		return nil, fmt.Errorf("read entry %d: %w", seq, err)
	}
	if len(entries) == 0 || entries[0].Seq != seq {
		return nil, fmt.Errorf("entry %d is gone: %w", seq, storage.ErrNotFound)
	}
	b, err := unseal(entries[0].Data)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", seq, err)
	}
	return b, nil
}
