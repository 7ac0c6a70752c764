package queue

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/troupestream/troupe/internal/wire"
)

// What a snapshot begins with. It ends with a CRC-32C.
const snapshotVersion = 1

const sealBytes = 5 // a version and a CRC

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Release says that a queue does not need what is before an offset of a log any
// more, once the snapshot that it came with is durable. Until then a restart may
// have to take the log again from where the snapshot before left off.
type Release struct {
	Log    uint32
	Before uint64
}

// Snapshot returns the durable state, and what it releases of the logs. A queue
// that is restored from it, given the events from then on, and the logs from where
// it had come to (see Next), is the one that is restored from all events and all of
// the logs. What is in flight counts as waiting.
func (q *Queue) Snapshot() (state []byte, releases []Release) {
	w := writer{wire.Writer{B: append(make([]byte, 0, 256), snapshotVersion)}}
	n := &q.count
	for _, v := range []uint64{n.Taken, n.Acked, n.Dead, n.Expired, n.Dropped, n.Purged, n.Moved, n.Lost, q.epoch} {
		w.Num(v)
	}
	w.time(q.recovered)
	w.Flag(q.clean)
	w.Flag(q.paused.Delivery)
	w.Flag(q.paused.Publishing)
	w.Num(uint64(len(q.feeds)))
	for _, f := range q.feeds {
		w.feed(f)
	}
	w.history(&q.history)
	return sum(w.B), q.Releases()
}

// Releases returns what a snapshot of now would release, or the one does that the queue was
// just restored from.
func (q *Queue) Releases() (releases []Release) {
	for _, f := range q.feeds {
		releases = append(releases, Release{f.log, f.needed()})
	}
	return q.keepRelocated(releases)
}

// needed is the first offset that the queue needs.
func (f *feed) needed() uint64 {
	for _, c := range f.chunks {
		if offset, found := c.needed(); found {
			return offset
		}
	}
	return f.next
}

func (c *chunk) needed() (offset uint64, found bool) {
	if c.live == c.relocated() {
		return 0, false // what else is not gone was never for the queue
	}
	for i := range c.end - c.first {
		if !c.gone.has(int(i)) && !c.isRelocated(c.first+i) {
			return c.first + i, true
		}
	}
	return 0, false
}

func (c *chunk) isRelocated(offset uint64) bool {
	m, _ := c.mark(offset)
	return m.body != nil
}

// keepRelocated keeps the releases from what was relocated to their logs, and adds
// those of logs that are in use for that alone.
func (q *Queue) keepRelocated(releases []Release) []Release {
	for _, f := range q.feeds {
		for _, c := range f.chunks {
			for _, m := range c.marks {
				if m.body == nil {
					continue
				}
				i := slices.IndexFunc(releases, func(r Release) bool { return r.Log == m.body.Log })
				if i < 0 {
					releases = append(releases, Release{m.body.Log, m.body.Offset})
				} else {
					releases[i].Before = min(releases[i].Before, m.body.Offset)
				}
			}
		}
	}
	return releases
}

func (w *writer) feed(f *feed) {
	w.Num(uint64(f.log))
	w.Num(f.next)
	w.Num(uint64(len(f.marks)))
	for _, m := range f.marks {
		w.Num(uint64(m.priority))
		w.Num(m.upTo)
		w.Num(m.suspects)
	}
	w.Num(uint64(len(f.chunks)))
	last := uint64(0)
	for _, c := range f.chunks {
		w.chunk(c, &last)
	}
	w.ahead(f)
}

func (w *writer) chunk(c *chunk, last *uint64) {
	w.Num(c.first - *last)
	w.Num(c.end - c.first)
	*last = c.end
	w.time(c.arrived)
	w.Num(uint64(c.live))
	w.Num(uint64(c.delayed))
	w.Num(uint64(c.bytes))
	w.Num(uint64(c.inAll()))
	if c.out > 0 {
		w.time(1) // what is in flight may expire when it waits again
	} else {
		w.time(c.at)
	}
	w.bits(c.gone)
	w.marks(c.marks)
}

// inAll returns the priorities that have live messages which are not delayed; if
// that is not known for sure, those that may have.
func (c *chunk) inAll() (levels uint32) {
	levels = c.levels
	for i := range c.slots {
		if s := &c.slots[i]; s.state == out || s.state == blocked || s.state == staged {
			levels |= 1 << s.priority
		}
	}
	if !c.isResident() {
		levels |= c.flying
		if c.shut != nil {
			levels |= c.shut.levels
		}
	}
	return levels
}

// bits puts a set down as runs.
func (w *writer) bits(b bitset) {
	next := uint64(0)
	for i := 0; i < len(b)*64; {
		if !b.has(i) {
			i++
			continue
		}
		n := 1
		for b.has(i + n) {
			n++
		}
		w.run(&next, uint64(i), uint64(n))
		i += n
	}
	w.Num(0)
}

func (w *writer) marks(marks map[uint64]mark) {
	w.Num(uint64(len(marks)))
	for _, offset := range slices.Sorted(maps.Keys(marks)) {
		m := marks[offset]
		w.Num(offset)
		w.Num(uint64(m.attempts))
		w.Flag(m.redelivered)
		w.Num(uint64(m.cause))
		w.Num(uint64(m.reason))
		w.time(m.due)
		w.Num(m.group)
		w.time(m.first)
		w.time(m.last)
		w.Num(m.epoch)
		w.markRest(&m)
	}
}

// What of a mark is there only where its bit is set.
const (
	markHasBody = 1 << iota
	markHasText
	markBits // above all of them
)

func (w *writer) markRest(m *mark) {
	has := uint64(0)
	if m.body != nil {
		has |= markHasBody
	}
	if m.text != "" {
		has |= markHasText
	}
	w.Num(has)
	if m.body != nil {
		w.entry(m.body)
	}
	if m.text != "" {
		w.Text(m.text)
	}
}

func (w *writer) ahead(f *feed) {
	w.Num(uint64(len(f.ahead)))
	for _, n := range slices.Sorted(maps.Keys(f.ahead)) {
		p := f.ahead[n]
		w.Num(n)
		w.bits(p.gone[:])
		w.marks(p.marks)
	}
	w.Flag(f.purge != nil)
	if f.purge != nil {
		w.Num(f.purge.below)
		w.ranges(f.purge.kept)
	}
}

// openSnapshot checks a version and a sum, and returns what is between them.
func openSnapshot(b []byte) ([]byte, error) {
	if len(b) < sealBytes {
		return nil, fmt.Errorf("%w: it has only %d bytes", ErrCorrupt, len(b))
	}
	body, crc := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != crc {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	if body[0] == 0 || body[0] > snapshotVersion {
		return nil, fmt.Errorf("%w (version %d, this release reads up to %d)", ErrVersion, body[0], snapshotVersion)
	}
	return body[1:], nil
}
