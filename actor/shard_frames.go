package actor

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// An entry of a shard's journal: a version, frames, a CRC-32C. A frame is the number of
// a queue, its kind, its length and its bytes, numbers as unsigned varints.
const shardEntryVersion = 1

type frameKind byte

// The kinds. They are stored and never change.
const (
	frameEvents        frameKind = 1 // what happened to a queue
	frameEventsMore    frameKind = 2 // its beginning; the rest follows
	frameSnapshot      frameKind = 3 // takes the place of all that was before it
	frameSnapshotBegin frameKind = 4 // the same, but its bytes follow in parts, with events in between
	frameSnapshotMore  frameKind = 5
	frameSnapshotEnd   frameKind = 6
)

func beginEntry(dst []byte) []byte { return append(dst[:0], shardEntryVersion) }

func appendFrame(dst []byte, queue uint32, kind frameKind, data []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(queue))
	dst = append(dst, byte(kind))
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

func endEntry(entry []byte) []byte {
	return binary.BigEndian.AppendUint32(entry, crc32.Checksum(entry, castagnoli))
}

// frame is one that was read. Its data is part of the entry.
type frame struct {
	queue uint32
	kind  frameKind
	data  []byte
}

func eachFrame(entry []byte, f func(frame) error) error {
	n := len(entry) - crc32.Size
	if n < 1 {
		return fmt.Errorf("%w: it has %d bytes", ErrCorrupt, len(entry))
	}
	if crc32.Checksum(entry[:n], castagnoli) != binary.BigEndian.Uint32(entry[n:]) {
		return fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	if entry[0] != shardEntryVersion {
		return fmt.Errorf("%w: it has version %d, and this release reads version %d: update Troupe", ErrCorrupt, entry[0], shardEntryVersion)
	}
	for rest := entry[1:n]; len(rest) > 0; {
		var next frame
		var ok bool
		if next, rest, ok = cutFrame(rest); !ok {
			return fmt.Errorf("%w: a frame is cut off", ErrCorrupt)
		}
		if err := f(next); err != nil {
			return err
		}
	}
	return nil
}

func cutFrame(b []byte) (f frame, rest []byte, ok bool) {
	id, n := binary.Uvarint(b)
	if n <= 0 || id>>32 != 0 || n == len(b) {
		return f, nil, false
	}
	f.queue, f.kind, b = uint32(id), frameKind(b[n]), b[n+1:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return f, nil, false
	}
	f.data = b[n : n+int(size)]
	return f, b[n+int(size):], true
}

// queueJournal is what a journal says of one queue.
type queueJournal struct {
	snapshot []byte // nil: none, the queue began empty
	events   []byte // since
	partial  []byte // of events whose end is to follow

	begun bool // a snapshot in parts has begun
	since int  // how many of the events are before it
	parts []byte
}

func (j *queueJournal) add(f frame) error {
	switch f.kind {
	case frameEvents:
		j.events = append(append(j.events, j.partial...), f.data...)
		j.partial = nil
	case frameEventsMore:
		j.partial = append(j.partial, f.data...)
	case frameSnapshot:
		*j = queueJournal{snapshot: append([]byte(nil), f.data...)}
	case frameSnapshotBegin:
		j.begun, j.since, j.parts = true, len(j.events), nil
	case frameSnapshotMore, frameSnapshotEnd:
		j.addPart(f)
	default:
		return fmt.Errorf("%w: queue %d has a frame of kind %d", ErrCorrupt, f.queue, f.kind)
	}
	return nil
}

// addPart drops parts whose beginning was trimmed: a whole snapshot follows.
func (j *queueJournal) addPart(f frame) {
	if !j.begun {
		return
	}
	j.parts = append(j.parts, f.data...)
	if f.kind == frameSnapshotEnd {
		*j = queueJournal{snapshot: j.parts, events: append([]byte(nil), j.events[j.since:]...), partial: j.partial}
	}
}

func (j *queueJournal) bytes() int { return len(j.snapshot) + len(j.events) }

// shardReader collects what the journal of a shard says of its queues, or of one.
type shardReader struct {
	queues map[uint32]*queueJournal
	only   *uint32
}

func (r *shardReader) restore([]byte) error {
	r.queues = map[uint32]*queueJournal{}
	return nil
}

func (r *shardReader) replay(entry []byte) error {
	return eachFrame(entry, func(f frame) error {
		if r.only != nil && *r.only != f.queue {
			return nil
		}
		j := r.queues[f.queue]
		if j == nil {
			j = &queueJournal{}
			r.queues[f.queue] = j
		}
		return j.add(f)
	})
}
