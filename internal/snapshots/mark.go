package snapshots

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/storage"
)

// A disk that loses the end of the log of manifests, or all of it, would have a
// job go on from an older checkpoint, or from nothing, as if there had never
// been more. So the log of chunks knows how far that of manifests had come: every
// chunk, and the marker of every Open, begins with a mark.

// mark is how far the manifests had come when an entry of the chunk log was written.
type mark struct {
	manifest    uint64 // entry of the newest manifest; 0: none yet
	incarnation uint64
}

const markBytes = 16

func (m mark) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, m.manifest), m.incarnation)
}

// unmark takes the mark off the contents of an entry.
func unmark(b []byte) (mark, []byte, error) {
	if len(b) < markBytes {
		return mark{}, nil, fmt.Errorf("%d bytes are too few for a mark: %w", len(b), storage.ErrCorrupt)
	}
	return mark{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, b[markBytes:], nil
}

// newestMark reads the newest marks that can be read. An entry that cannot is
// reported by whoever needs it.
func newestMark(ctx context.Context, chunks storage.Log) (newest mark, err error) {
	for _, kind := range []storage.Kind{storage.Data, storage.Epoch} {
		e, err := chunks.Last(ctx, kind)
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
			continue
		}
		if err != nil {
			return mark{}, err
		}
		if b, err := unseal(e.Data); err == nil {
			if m, _, err := unmark(b); err == nil && m.incarnation >= newest.incarnation {
				newest = mark{max(newest.manifest, m.manifest), m.incarnation}
			}
		}
	}
	return newest, nil
}

// newestManifest returns the entry of the newest manifest there is, whether it
// can be read or not; 0: none.
func newestManifest(ctx context.Context, manifests storage.Log, known mark) (uint64, error) {
	e, err := manifests.Last(ctx, storage.State)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return 0, nil
	case errors.Is(err, storage.ErrCorrupt):
		return known.manifest, nil // List will say so
	}
	return e.Seq, err
}

// missing says what has been lost of the manifests; nil: nothing.
func (m mark) missing(newest uint64) error {
	if newest >= m.manifest {
		return nil
	}
	return fmt.Errorf("the manifest in entry %d was the newest and is gone: %w", m.manifest, storage.ErrCorrupt)
}
