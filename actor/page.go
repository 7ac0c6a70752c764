package actor

import (
	"math"
	"sort"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/queue"
)

// page is a decoded batch of a log: any of its records is found at once. It does not
// change once it is made, and is shared by all who need one of its records.
type page struct {
	log       uint32
	base, end uint64 // offsets: of the first record, and behind the last
	appended  int64  // when, in Unix ms; of the last record if it is sparse
	records   []byte
	at        []uint32 // where they are
	targets   []target
	sparse    []sparseRecord
}

// target is whom a record is for, as far as it fits here: so that of a page which has a
// message for one of many queues nothing else has to be read again.
type target struct {
	queue uint32 // 0: it names none; seeRecord: there is more to it
	bytes uint32 // of its value
}

// seeRecord says that a record names several queues, or more than a queue.
const seeRecord = math.MaxUint32

// sparseRecord is what is not the same, or follows, for all records of a page.
type sparseRecord struct {
	offset   uint64
	appended int64
}

// pageOverhead is about what a page takes besides its records.
const pageOverhead = 256

// newPage decodes a stored batch of a log.
func newPage(log uint32, data []byte) (*page, error) {
	var b codec.Batch
	if err := b.Open(data, codec.DefaultLimits()); err != nil {
		return nil, err
	}
	n := b.Info.Count
	p := &page{log: log, base: b.Info.BaseOffset, end: b.Info.End(), appended: b.Info.AppendTime,
		records: b.Records(), at: make([]uint32, 0, n), targets: make([]target, 0, n)}
	if b.Info.Sparse {
		p.sparse = make([]sparseRecord, 0, n)
	}
	var r codec.Record
	var h heads
	for {
		at, offset := b.At(), b.Offset()
		if !b.Next(&r) {
			return p, b.Err()
		}
		p.at = append(p.at, at)
		p.targets = append(p.targets, h.target(&r))
		if p.sparse != nil {
			p.sparse = append(p.sparse, sparseRecord{offset, b.Appended()})
		}
	}
}

// len is how many records it has.
func (p *page) len() int { return len(p.at) }

// offset is that of a record, by number.
func (p *page) offset(i int) uint64 {
	if p.sparse != nil {
		return p.sparse[i].offset
	}
	return p.base + uint64(i)
}

// appendedAt is when a record was appended, in Unix ms.
func (p *page) appendedAt(i int) int64 {
	if p.sparse != nil {
		return p.sparse[i].appended
	}
	return p.appended
}

// from is the number of the first record at an offset or behind it.
func (p *page) from(offset uint64) int {
	switch {
	case offset <= p.base:
		return 0
	case offset >= p.end:
		return len(p.at)
	case p.sparse == nil:
		return int(offset - p.base)
	}
	return sort.Search(len(p.sparse), func(i int) bool { return p.sparse[i].offset >= offset })
}

// read reads a record by number. Its bytes are those of the page; the slice of headers of
// r is used again.
func (p *page) read(i int, r *codec.Record) bool { return codec.RecordAt(p.records, p.at[i], r) }

// record reads the record with an offset. It is false if the page has none: it may have
// been compacted away.
func (p *page) record(offset uint64, r *codec.Record) bool {
	i := p.from(offset)
	return i < len(p.at) && p.offset(i) == offset && p.read(i, r)
}

// body reads the key and the value of the record with an offset.
func (p *page) body(offset uint64) (key, value []byte, ok bool) {
	i := p.from(offset)
	if i >= len(p.at) || p.offset(i) != offset {
		return nil, nil, false
	}
	return codec.BodyAt(p.records, p.at[i])
}

// covers says whether a message is on the page; no page covers none.
func (p *page) covers(ref queue.Ref) bool {
	return p != nil && p.log == ref.Log && p.base <= ref.Offset && ref.Offset < p.end
}

// bytes is about what the page takes in memory.
func (p *page) bytes() int {
	return pageOverhead + len(p.records) + 4*cap(p.at) + 8*cap(p.targets) + 16*cap(p.sparse)
}
