// Package codec is the binary form of everything that Troupe stores or sends:
// record batches, and the values of users inside them. docs/format.md
// describes the bytes.
package codec

import (
	"fmt"
	"math"
)

// NoTime is the time of a record that has none.
const NoTime int64 = math.MinInt64

// Record is one record of a log.
type Record struct {
	Key     []byte // nil: the record has no key; distinct from an empty key
	Value   []byte // nil: a tombstone; distinct from an empty value
	Headers []Header
	Time    int64 // event time, Unix milliseconds; NoTime when it has none
}

// Header is one header of a record. Names may repeat; order is kept.
type Header struct {
	Key   string
	Value []byte
}

// Compression names how the records of a batch are compressed.
type Compression uint8

// The compressions a batch can have.
const (
	None Compression = iota
	S2
	Zstd
)

// String is the name by which people know it.
func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case S2:
		return "s2"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// Section is a run of records from one producer, already encoded, waiting to
// become part of a batch. The position of a record in its section, not its
// bytes, decides its offset: so producers encode, and the partition that
// assigns the offsets only copies.
type Section struct {
	Producer string // producer id; empty: not idempotent
	Epoch    uint64 // producer epoch: a higher one fences the lower ones
	First    uint64 // producer sequence of the first record
	Count    int    // records
	MaxTime  int64  // newest event time in the section; NoTime when none has one
	Records  []byte // the records, one after the other, by AppendRecord
}

// SectionInfo is what a stored batch remembers of each of its sections.
type SectionInfo struct {
	Producer string
	Epoch    uint64
	First    uint64
	Count    int
}

// BatchInfo is the header of a stored batch. It can be read without touching
// the records.
type BatchInfo struct {
	BaseOffset  uint64 // offset of the first record; the others follow densely, unless Sparse
	Count       int    // records
	Epoch       uint64 // epoch of the partition's owner that wrote it
	AppendTime  int64  // Unix milliseconds; never below that of an earlier batch
	MaxTime     int64  // newest event time; NoTime when none has one
	Compression Compression
	RecordBytes int // bytes of the records, uncompressed
	Sections    []SectionInfo

	// Sparse: offsets are missing between the records, because compaction took
	// theirs away. AppendTime is then that of the last record.
	Sparse      bool
	Span        uint64 // offsets from the first record to the last, both included; 0 unless Sparse
	FirstAppend int64  // append time of the first record; 0 unless Sparse
}

// End is the offset behind the last record.
func (info *BatchInfo) End() uint64 {
	if info.Sparse {
		return info.BaseOffset + info.Span
	}
	return info.BaseOffset + uint64(info.Count)
}
