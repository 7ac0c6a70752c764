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
	manifests   uint64 // the newest entry of the log of manifests
	incarnation uint64
}

const markBytes = 16

func (m mark) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, m.manifests), m.incarnation)
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
				newest = mark{max(newest.manifests, m.manifests), m.incarnation}
			}
		}
	}
	return newest, nil
}

// missing says what has been lost of the manifests; nil: nothing.
func (m mark) missing(last uint64) error {
	if last >= m.manifests {
		return nil
	}
	return fmt.Errorf("the log of checkpoints ends with entry %d and had %d: %w", last, m.manifests, storage.ErrCorrupt)
}
