package dataflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	goruntime "runtime"
)

// A segment is a piece of the snapshot of one key group: changed entries, one
// after the other, each as
//
//	uvarint  length of the key
//	         the key
//	uvarint  0: the entry was deleted; otherwise 1 + the length of the value
//	         the value
//
// Segments know nothing of the types in them, so the store can merge them. Of
// two entries with the same key the later one holds.

// MaxSegmentEntry is the longest key or value that a segment may hold, in bytes.
const MaxSegmentEntry = 64 << 20

// ErrCorrupt: the bytes of a segment are not what AppendEntry wrote.
var ErrCorrupt = errors.New("corrupt segment")

// AppendEntry adds an entry to a segment.
func AppendEntry(segment, key, value []byte) []byte {
	segment = binary.AppendUvarint(segment, uint64(len(key)))
	segment = append(segment, key...)
	segment = binary.AppendUvarint(segment, uint64(len(value))+1)
	return append(segment, value...)
}

// AppendDeletion adds to a segment that an entry was deleted.
func AppendDeletion(segment, key []byte) []byte {
	segment = binary.AppendUvarint(segment, uint64(len(key)))
	segment = append(segment, key...)
	return append(segment, 0)
}

// Entry is an entry of a segment. Its bytes are the segment's.
type Entry struct {
	Key, Value []byte
	Deleted    bool
}

// ReadEntry reads the first entry of a segment and returns what follows it.
// The error is an ErrCorrupt. It allocates nothing.
func ReadEntry(segment []byte) (e Entry, rest []byte, err error) {
	n, rest, err := readLength(segment, 0)
	if err != nil {
		return e, nil, fmt.Errorf("key: %w", err)
	}
	e.Key, rest = rest[:n:n], rest[n:]
	n, rest, err = readLength(rest, 1)
	if err != nil {
		return e, nil, fmt.Errorf("value: %w", err)
	}
	if n < 0 {
		e.Deleted = true
		return e, rest, nil
	}
	e.Value = rest[:n:n]
	return e, rest[n:], nil
}

// readLength reads a length that was stored with bias added to it, and checks
// it against what is there.
func readLength(b []byte, bias int) (n int, rest []byte, err error) {
	u, w := binary.Uvarint(b)
	if w <= 0 {
		return 0, nil, fmt.Errorf("%w: %d bytes from its end, where a length should be", ErrCorrupt, len(b))
	}
	if u > MaxSegmentEntry+1 || int(u)-bias > len(b)-w {
		return 0, nil, fmt.Errorf("%w: a length of %d with %d bytes left", ErrCorrupt, u, len(b)-w)
	}
	return int(u) - bias, b[w:], nil
}

// EachEntry calls f with every entry of a segment, until f fails.
func EachEntry(segment []byte, f func(Entry) error) error {
	for size := len(segment); len(segment) > 0; {
		e, rest, err := ReadEntry(segment)
		if err != nil {
			return fmt.Errorf("at byte %d of %d: %w", size-len(segment), size, err)
		}
		if err := f(e); err != nil {
			return err
		}
		segment = rest
	}
	return nil
}

// cut returns where a segment can be cut: in front of the first entry that begins
// at size bytes or later, or at its end.
func cut(segment []byte, size int) int {
	for rest := segment; len(rest) > 0; {
		if at := len(segment) - len(rest); at >= size {
			return at
		}
		var err error
		if _, rest, err = ReadEntry(rest); err != nil {
			break // whoever reads it will say so
		}
	}
	return len(segment)
}

// Share appends those entries of a segment that fall to one of several equal shares
// by their keys. A group that is too large to be merged at once is
// merged share by share.
func Share(own, segment []byte, seed maphash.Seed, share, of int) ([]byte, error) {
	if of == 1 {
		return append(own, segment...), nil
	}
	for rest := segment; len(rest) > 0; {
		e, behind, err := ReadEntry(rest)
		if err != nil {
			return own, err
		}
		if maphash.Bytes(seed, e.Key)%uint64(of) == uint64(share) {
			own = append(own, rest[:len(rest)-len(behind)]...)
		}
		rest = behind
	}
	return own, nil
}

// Merger merges the segments of one key group after the other. The zero value is
// ready for use. It keeps its memory.
//
// It has time: merging is work of the background, so it lets all others have the
// processor first every now and then.
type Merger struct {
	newest newest
	merged []byte
}

// mergerPause is after how many entries a Merger lets others run: less than a
// tenth of a millisecond of work.
const mergerPause = 256

// Merge makes segments without repetitions of those of one key group,
// oldest first, and has each emitted once it has size bytes. It is good until emit
// returns. Where fromStart says that nothing older exists, deletions have done
// their work and are dropped.
func (m *Merger) Merge(fromStart bool, size int, oldestFirst [][]byte, emit func(segment []byte) error) error {
	n := &m.newest
	n.patient = true
	if err := n.read(oldestFirst); err != nil {
		return err
	}
	merged := m.merged[:0]
	for i := range n.all {
		if i%mergerPause == 0 {
			goruntime.Gosched()
		}
		switch s := &n.all[i]; {
		case !s.held || s.Deleted && fromStart:
		case s.Deleted:
			merged = AppendDeletion(merged, s.Key)
		default:
			merged = AppendEntry(merged, s.Key, s.Value)
		}
		if len(merged) >= size || len(merged) > 0 && i == len(n.all)-1 {
			if err := emit(merged); err != nil {
				return err
			}
			merged = merged[:0]
		}
	}
	m.merged = merged
	return nil
}
