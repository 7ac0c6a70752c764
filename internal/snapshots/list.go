package snapshots

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
)

// damagedMax is how many damaged entries List passes over before it gives up:
// the bounds of a damaged log may be damaged, too, and then there is no end.
const damagedMax = 1000

// Found is a checkpoint, and where its manifest lies.
type Found struct {
	*checkpoint.Manifest
	Seq   uint64
	parts uint64
}

// Kept is what names it among those that are kept.
func (f Found) Kept() checkpoint.Retained { return keptAs(f.Manifest, f.Seq, f.parts) }

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
			m, parts, err := readManifest(ctx, s.manifests.log, e, s.job)
			if errors.Is(err, checkpoint.ErrFormat) {
				// To pass over it would be to go back behind what the newer release did.
				return nil, nil, fmt.Errorf("job %q: %w", s.job, err)
			}
			if err != nil && !isDamage(err) {
				return nil, nil, fmt.Errorf("manifest %d of job %q: %w", e.Seq, s.job, err)
			}
			if err != nil {
				unreadable = append(unreadable, fmt.Errorf("manifest %d of job %q: %w", e.Seq, s.job, err))
				continue
			}
			found = append([]Found{{m, e.Seq, parts}}, found...)
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

// isDamage says whether an error is about what is stored, as opposed to a store that
// cannot be reached.
func isDamage(err error) bool {
	return errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrNotFound)
}
