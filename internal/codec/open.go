package codec

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unsafe"
)

// Batch is an opened batch and a position in it. The records that Next yields
// point into the bytes it was opened from, which must not change while any of
// them is in use.
type Batch struct {
	Info BatchInfo

	b     []byte // the records
	pos   int    // of the next record in b
	next  int    // its index
	err   error
	skip  Record // where Skip leaves what it passes over
	ahead        // of a sparse batch
}

// ReadInfo returns the header of a stored batch without touching its records.
// The header has its own checksum, so what it returns is what was written.
func ReadInfo(b []byte, l Limits) (BatchInfo, error) {
	info, _, err := readHead(b, &l)
	return info, err
}

// OpenBatch verifies a whole stored batch and returns it, ready for Next. It
// allocates only for the section list and, when the batch is compressed, for
// its records. Errors: ErrCorrupt, ErrVersion, ErrLimit.
func OpenBatch(b []byte, l Limits) (*Batch, error) {
	o := new(Batch)
	if err := o.Open(b, l); err != nil {
		return nil, err
	}
	return o, nil
}

// Open is OpenBatch into a Batch that exists, so that a reader of many batches
// can use one.
func (o *Batch) Open(b []byte, l Limits) error {
	info, body, err := readHead(b, &l)
	if err != nil {
		return err
	}
	if sum := crc32.Checksum(b[body:], castagnoli); sum != bodySum(b, body) {
		return corrupt("the batch", body, "the checksum of its records is %08x and should be %08x", sum, bodySum(b, body))
	}
	records := b[body:]
	if info.Compression != None {
		if records, err = inflate(records, info.Compression, info.RecordBytes, &l); err != nil {
			return err
		}
	}
	if len(records) != info.RecordBytes {
		return corrupt("the batch", body, "it has %d bytes of records, its header says %d", len(records), info.RecordBytes)
	}
	*o = Batch{Info: info, b: records, skip: o.skip}
	if info.Sparse {
		o.lookAhead()
	}
	return nil
}

// bodySum finds the checksum of the records: the head ends with it, and five
// bytes that frame the records follow.
func bodySum(b []byte, body int) uint32 { return binary.BigEndian.Uint32(b[body-9:]) }

// readHead verifies and parses everything before the records, and says where
// they begin.
func readHead(b []byte, l *Limits) (info BatchInfo, body int, err error) {
	headEnd, err := checkFrame(b, l)
	if err != nil {
		return info, 0, err
	}
	if info, err = parseHead(b[:headEnd]); err != nil {
		return info, 0, err
	}
	if err = checkInfo(&info, l); err != nil {
		return info, 0, err
	}
	body = headEnd + 5
	if len(b) < body || b[headEnd] != mpBin32 {
		return info, 0, corrupt("the batch", headEnd, "the records are missing")
	}
	if n := binary.BigEndian.Uint32(b[headEnd+1:]); uint64(n) != uint64(len(b)-body) {
		return info, 0, corrupt("the batch", headEnd, "%d bytes of records were announced and %d are there", n, len(b)-body)
	}
	return info, body, nil
}

// checkFrame verifies what every version of the format has in common, and
// returns where the head ends. The checksum goes before the version: a flipped
// bit in the version is damage, not a newer release.
func checkFrame(b []byte, l *Limits) (headEnd int, err error) {
	if len(b) > l.BatchBytes {
		return 0, overLimit("the batch", "bytes", len(b), "BatchBytes", l.BatchBytes)
	}
	if len(b) < atHead {
		return 0, corrupt("the batch", len(b), "it ends inside its first %d bytes", atHead)
	}
	if b[0]&0xf0 != mpFixArray || b[atHeadSum-1] != mpUint32 || b[atHeadSize-1] != mpBin32 {
		return 0, corrupt("the batch", 0, "this is not the beginning of a batch")
	}
	size := binary.BigEndian.Uint32(b[atHeadSize:])
	if uint64(size) > uint64(len(b)-atHead) {
		return 0, corrupt("the batch", atHeadSize, "a head of %d bytes was announced and %d are there", size, len(b)-atHead)
	}
	headEnd = atHead + int(size)
	want := binary.BigEndian.Uint32(b[atHeadSum:])
	if sum := headSum(b, headEnd); sum != want {
		return 0, corrupt("the batch", 0, "the checksum of its head is %08x and should be %08x", sum, want)
	}
	if b[atVersion] == 0 || b[atVersion] > Version {
		return 0, fmt.Errorf("the batch is of format %d, this release reads up to %d: %w; update Troupe",
			b[atVersion], Version, ErrVersion)
	}
	return headEnd, nil
}

const minSectionBytes = 5

func parseHead(b []byte) (info BatchInfo, err error) {
	r := reader{b: b, pos: atHead}
	fields := r.array(1)
	info.BaseOffset = r.uint()
	info.Count = r.count()
	info.Epoch = r.uint()
	info.AppendTime = r.time()
	info.MaxTime = r.time()
	info.Compression = Compression(min(r.uint(), 255))
	info.RecordBytes = r.count()
	if n := r.array(minSectionBytes); n > 0 {
		info.Sections = make([]SectionInfo, n)
	}
	for i := range info.Sections {
		s := &info.Sections[i]
		if r.array(1) != 4 {
			r.bad = true
		}
		s.Producer = string(r.str())
		s.Epoch, s.First, s.Count = r.uint(), r.uint(), r.count()
	}
	want := headFields
	if info.Sparse = b[atVersion] == versionSparse; info.Sparse {
		want = headFieldsSparse
		info.Span, info.FirstAppend = r.uint(), r.time()
	}
	sum := r.take(5)
	if r.bad || fields != want || sum[0] != mpUint32 || r.left() != 0 {
		return info, corrupt("the batch", r.pos, "its head is malformed")
	}
	return info, nil
}

// Offset is the offset of the record that Next will yield; behind the last, the
// end of the batch.
func (o *Batch) Offset() uint64 {
	if o.Info.Sparse {
		return o.offset
	}
	return o.Info.BaseOffset + uint64(o.next)
}

// Left is how many records Next has still to give.
func (o *Batch) Left() int { return o.Info.Count - o.next }

// Err is the error that ended the iteration, or nil at the end of the batch.
func (o *Batch) Err() error { return o.err }

// Next moves r to the next record and reports whether there was one. The slice
// of headers of r is used again; keys and values are never copied.
func (o *Batch) Next(r *Record) bool {
	if o.next >= o.Info.Count {
		return o.finish()
	}
	if o.Info.Sparse {
		return o.nextSparse(r)
	}
	pos := parseRecord(o.b, o.pos, r)
	if pos < 0 {
		return o.fail()
	}
	o.pos = pos
	o.next++
	return true
}

// Skip passes over n records, or as many as are left.
func (o *Batch) Skip(n int) error {
	for ; n > 0 && o.next < o.Info.Count && o.err == nil; n-- {
		o.Next(&o.skip)
	}
	return o.err
}

// SkipTo passes over the records below an offset.
func (o *Batch) SkipTo(offset uint64) error {
	for o.err == nil && o.next < o.Info.Count && o.Offset() < offset {
		o.Next(&o.skip)
	}
	return o.err
}

func (o *Batch) finish() bool {
	if o.err == nil && o.pos != len(o.b) {
		o.err = corrupt("the batch", o.pos, "%d bytes follow its last record", len(o.b)-o.pos)
	}
	return false
}

func (o *Batch) fail() bool {
	o.err = corrupt("the batch", o.pos, "record %d (offset %d) is malformed", o.next, o.Offset())
	o.next, o.pos = o.Info.Count, len(o.b)
	return false
}

// parseRecord reads the record at pos into r and returns the position after
// it, or -1.
func parseRecord(b []byte, pos int, r *Record) int {
	if pos >= len(b) || b[pos] != mpFixArray|4 {
		return -1
	}
	return parseFields(b, pos+1, r)
}

// parseFields reads what every record has, from its key on.
func parseFields(b []byte, pos int, r *Record) int {
	if r.Key, pos = shortBin(b, pos); pos < 0 {
		return -1
	}
	if r.Value, pos = shortBin(b, pos); pos < 0 {
		return -1
	}
	r.Headers = r.Headers[:0]
	if pos >= len(b) {
		return -1
	}
	if b[pos] == mpNil {
		pos++
	} else if pos = parseHeaders(b, pos, r); pos < 0 {
		return -1
	}
	return parseTime(b, pos, &r.Time)
}

// shortBin reads nil and bins of up to 255 bytes itself, and leaves the others
// to longBin.
func shortBin(b []byte, pos int) ([]byte, int) {
	if pos+1 >= len(b) {
		return nil, -1
	}
	if b[pos] == mpNil {
		return nil, pos + 1
	}
	if b[pos] == mpBin8 {
		end := pos + 2 + int(b[pos+1])
		if end > len(b) {
			return nil, -1
		}
		return b[pos+2 : end : end], end
	}
	return longBin(b, pos)
}

func longBin(b []byte, pos int) ([]byte, int) {
	r := reader{b: b, pos: pos}
	v := r.bytes()
	if r.bad {
		return nil, -1
	}
	return v, r.pos
}

func parseTime(b []byte, pos int, t *int64) int {
	if pos+9 <= len(b) && b[pos] == mpInt64 {
		*t = int64(binary.BigEndian.Uint64(b[pos+1:]))
		return pos + 9
	}
	r := reader{b: b, pos: pos}
	*t = r.time()
	if r.bad {
		return -1
	}
	return r.pos
}

// parseHeaders reads what most headers are, up to 15 with short names and values, itself.
func parseHeaders(b []byte, pos int, rec *Record) int {
	if b[pos]&0xf0 != mpFixArray {
		return parseManyHeaders(b, pos, rec)
	}
	at := pos + 1
	for n := b[pos] & 0x0f; n > 0; n-- {
		if at+1 >= len(b) || b[at] != mpFixArray|2 || b[at+1]&0xe0 != mpFixStr {
			return parseManyHeaders(b, pos, rec)
		}
		from := at + 2
		to := from + int(b[at+1]&0x1f)
		if to > len(b) {
			return -1
		}
		h := Header{Key: unsafe.String(unsafe.SliceData(b[from:to]), to-from)}
		if h.Value, at = shortBin(b, to); at < 0 {
			return -1
		}
		rec.Headers = append(rec.Headers, h)
	}
	return at
}

func parseManyHeaders(b []byte, pos int, rec *Record) int {
	rec.Headers = rec.Headers[:0]
	r := reader{b: b, pos: pos}
	for n := r.array(minHeaderBytes); n > 0 && !r.bad; n-- {
		if r.array(1) != 2 {
			r.bad = true
		}
		name := r.str()
		rec.Headers = append(rec.Headers, Header{unsafe.String(unsafe.SliceData(name), len(name)), r.bytes()})
	}
	if r.bad {
		return -1
	}
	return r.pos
}
