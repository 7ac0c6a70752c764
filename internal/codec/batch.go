package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// Version is the newest version of the batch format. This release reads it and
// all earlier ones, and writes each batch in the oldest that can express it.
const Version = 2

// The versions there are: 2 is for sparse batches.
const (
	versionDense  = 1
	versionSparse = 2
)

// Every version of the format begins with the same twelve bytes: the head of an
// array of four, the version as a positive fixint, the checksum as a uint32,
// and the head of a bin32. So a newer batch can be told from a damaged one.
// docs/format.md shows the whole layout.
const (
	atVersion  = 1
	atHeadSum  = 3 // after the code of the uint32
	atHeadSize = 8 // after the code of the bin32
	atHead     = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendBatch appends a stored batch to dst that holds the records of all
// sections, in order. The caller sets BaseOffset, Epoch, AppendTime and the
// wanted Compression of info; AppendBatch sets the rest to what it wrote. When
// compression does not make the batch smaller, it stores it uncompressed, and
// says so in info.
//
// Sections of the same producer that continue each other are remembered as
// one, and so are neighbours without a producer.
//
// The batch must fit DefaultLimits: the error is an ErrLimit, and dst is
// returned unchanged.
func AppendBatch(dst []byte, info *BatchInfo, sections []Section) ([]byte, error) {
	summarize(info, sections)
	l := DefaultLimits()
	if err := checkInfo(info, &l); err != nil {
		return dst, err
	}
	packed, release := pack(info, sections, &l)
	defer release()

	start := len(dst)
	version := byte(versionDense)
	if info.Sparse {
		version = versionSparse
	}
	dst = append(dst, mpFixArray|4, version, mpUint32, 0, 0, 0, 0, mpBin32, 0, 0, 0, 0)
	dst = appendHead(dst, info)
	headEnd := len(dst) - start
	dst = append(dst, mpBin32, 0, 0, 0, 0)
	bodyAt := len(dst)
	dst = appendBody(dst, packed, sections, info.RecordBytes)
	if size := len(dst) - start; size > l.BatchBytes {
		return dst[:start], overLimit("the batch", "bytes", size, "BatchBytes", l.BatchBytes)
	}
	seal(dst[start:], headEnd, bodyAt-start)
	return dst, nil
}

// appendBody appends the records: packed, or those of the sections as they are,
// which have so many bytes. When dst has no room for these it is joined with
// them: that clears no memory that is about to be written, as making room would.
func appendBody(dst, packed []byte, sections []Section, bytesAll int) []byte {
	if packed != nil {
		return append(dst, packed...)
	}
	if cap(dst)-len(dst) >= bytesAll {
		for i := range sections {
			dst = append(dst, sections[i].Records...)
		}
		return dst
	}
	pieces := make([][]byte, 1, len(sections)+1)
	pieces[0] = dst
	for i := range sections {
		pieces = append(pieces, sections[i].Records)
	}
	return bytes.Join(pieces, nil)
}

// seal fills in the lengths and checksums, for which room was left. The last
// five bytes of the head are the checksum of the body, so the checksum of the
// head vouches for everything.
func seal(b []byte, headEnd, bodyAt int) {
	binary.BigEndian.PutUint32(b[atHeadSize:], uint32(headEnd-atHead))
	binary.BigEndian.PutUint32(b[bodyAt-4:], uint32(len(b)-bodyAt))
	binary.BigEndian.PutUint32(b[headEnd-4:], crc32.Checksum(b[bodyAt:], castagnoli))
	binary.BigEndian.PutUint32(b[atHeadSum:], headSum(b, headEnd))
}

// headSum is the checksum over the first bytes up to headEnd, but for the four
// that hold the checksum itself.
func headSum(b []byte, headEnd int) uint32 {
	sum := crc32.Checksum(b[:atHeadSum], castagnoli)
	return crc32.Update(sum, castagnoli, b[atHeadSum+4:headEnd])
}

// How many fields the head has.
const (
	headFields       = 9
	headFieldsSparse = 11
)

func appendHead(dst []byte, info *BatchInfo) []byte {
	fields := byte(headFields)
	if info.Sparse {
		fields = headFieldsSparse
	}
	dst = append(dst, mpFixArray|fields)
	dst = appendUint(dst, info.BaseOffset)
	dst = appendUint(dst, uint64(info.Count))
	dst = appendUint(dst, info.Epoch)
	dst = appendTime(dst, info.AppendTime)
	dst = appendTime(dst, info.MaxTime)
	dst = appendUint(dst, uint64(info.Compression))
	dst = appendUint(dst, uint64(info.RecordBytes))
	dst = appendArrayHead(dst, len(info.Sections))
	for i := range info.Sections {
		s := &info.Sections[i]
		dst = append(dst, mpFixArray|4)
		dst = appendStr(dst, s.Producer)
		dst = appendUint(dst, s.Epoch)
		dst = appendUint(dst, s.First)
		dst = appendUint(dst, uint64(s.Count))
	}
	if info.Sparse {
		dst = appendUint(dst, info.Span)
		dst = appendTime(dst, info.FirstAppend)
	}
	return append(dst, mpUint32, 0, 0, 0, 0)
}

func summarize(info *BatchInfo, sections []Section) {
	info.Count, info.RecordBytes, info.MaxTime = 0, 0, NoTime
	info.Sections = info.Sections[:0]
	for i := range sections {
		s := &sections[i]
		info.Count += s.Count
		info.RecordBytes += len(s.Records)
		if s.Count > 0 && s.MaxTime > info.MaxTime {
			info.MaxTime = s.MaxTime
		}
		info.remember(s)
	}
}

func (info *BatchInfo) remember(s *Section) {
	if n := len(info.Sections); n > 0 {
		last := &info.Sections[n-1]
		continues := s.Epoch == last.Epoch && s.First == last.First+uint64(last.Count)
		if s.Producer == last.Producer && (continues || s.Producer == "") {
			last.Count += s.Count
			return
		}
	}
	info.Sections = append(info.Sections, SectionInfo{s.Producer, s.Epoch, s.First, s.Count})
}

// checkInfo holds what is written to the same rules as what is read.
func checkInfo(info *BatchInfo, l *Limits) error {
	switch {
	case info.Count > l.BatchRecords:
		return overLimit("the batch", "records", info.Count, "BatchRecords", l.BatchRecords)
	case info.RecordBytes > l.BatchBytes:
		return overLimit("the batch", "bytes of records", info.RecordBytes, "BatchBytes", l.BatchBytes)
	case len(info.Sections) > l.SectionsPerBatch:
		return overLimit("the batch", "sections", len(info.Sections), "SectionsPerBatch", l.SectionsPerBatch)
	case info.RecordBytes/minRecordBytes < info.Count:
		return fmt.Errorf("the batch is %w: %d records cannot fit into %d bytes", ErrCorrupt, info.Count, info.RecordBytes)
	case info.Sparse && info.Span < uint64(info.Count):
		return fmt.Errorf("the batch is %w: %d records cannot have their places among %d offsets", ErrCorrupt, info.Count, info.Span)
	case info.BaseOffset > math.MaxUint64-(info.End()-info.BaseOffset):
		return fmt.Errorf("the batch is %w: its offsets do not fit 64 bits", ErrCorrupt)
	case info.Compression > Zstd:
		return fmt.Errorf("the batch is %w: there is no compression %d", ErrCorrupt, info.Compression)
	}
	return checkSections(info, l)
}

func checkSections(info *BatchInfo, l *Limits) error {
	count := 0
	for i := range info.Sections {
		s := &info.Sections[i]
		if len(s.Producer) > l.ProducerBytes {
			return overLimit("a producer id of the batch", "bytes", len(s.Producer), "ProducerBytes", l.ProducerBytes)
		}
		if s.Count < 0 || s.Count > info.Count {
			return fmt.Errorf("the batch is %w: section %d claims %d of %d records", ErrCorrupt, i, s.Count, info.Count)
		}
		count += s.Count
	}
	if count != info.Count {
		return fmt.Errorf("the batch is %w: its sections have %d records, its header says %d", ErrCorrupt, count, info.Count)
	}
	return nil
}
