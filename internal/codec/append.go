package codec

import (
	"encoding/binary"
	"slices"
)

// A record with nothing in it: the head of the array and four nils.
const minRecordBytes = 5

// A header with nothing in it: the head of the array, an empty name, nil.
const minHeaderBytes = 3

// A record's bytes beyond its key, value and headers are at most these: the
// head of the array, two heads of bins, a nil and a time.
const maxRecordFrame = 1 + 5 + 5 + 1 + 9

// AppendRecord appends the stored form of r to dst. It does not allocate when
// dst has room, and checks no limits: see Limits.Check.
func AppendRecord(dst []byte, r *Record) []byte {
	n := len(dst)
	dst = slices.Grow(dst, maxRecordFrame+len(r.Key)+len(r.Value))
	b := dst[:cap(dst)] // one check for room; from here on only stores
	b[n] = mpFixArray | 4
	n = putBin(b, n+1, r.Key)
	n = putBin(b, n, r.Value)
	if len(r.Headers) != 0 {
		return appendTime(appendHeaders(b[:n], r.Headers), r.Time)
	}
	b[n] = mpNil
	if r.Time == NoTime {
		b[n+1] = mpNil
		return b[:n+2]
	}
	b[n+1] = mpInt64
	binary.BigEndian.PutUint64(b[n+2:], uint64(r.Time))
	return b[:n+10]
}

// putBin is appendBin into a slice that has room.
func putBin(b []byte, at int, v []byte) int {
	if v == nil {
		b[at] = mpNil
		return at + 1
	}
	if len(v) < 1<<8 {
		b[at+1] = byte(len(v))
		b[at] = mpBin8
		at += 2
	} else {
		at = len(appendBinHead(b[:at], len(v)))
	}
	return at + copy(b[at:], v)
}

func appendHeaders(dst []byte, hs []Header) []byte {
	dst = appendArrayHead(dst, len(hs))
	for i := range hs {
		dst = append(dst, mpFixArray|2)
		dst = appendStr(dst, hs[i].Key)
		dst = appendBin(dst, hs[i].Value)
	}
	return dst
}

// Add encodes r as the next record of the section. An empty Section is ready
// for it.
func (s *Section) Add(r *Record) {
	if s.Count == 0 || r.Time > s.MaxTime {
		s.MaxTime = r.Time
	}
	s.Records = AppendRecord(s.Records, r)
	s.Count++
}

// Reset empties the section for the next batch and keeps its buffer.
func (s *Section) Reset() {
	s.Records, s.Count, s.MaxTime = s.Records[:0], 0, NoTime
}
