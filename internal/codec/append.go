package codec

// A record with nothing in it: the head of the array and four nils.
const minRecordBytes = 5

// A header with nothing in it: the head of the array, an empty name, nil.
const minHeaderBytes = 3

// AppendRecord appends the stored form of r to dst. It does not allocate when
// dst has room, and checks no limits: see Limits.Check.
func AppendRecord(dst []byte, r *Record) []byte {
	return appendFields(append(dst, mpFixArray|4), r)
}

// appendFields appends what every record has, from its key on.
func appendFields(dst []byte, r *Record) []byte {
	dst = appendBin(dst, r.Key)
	dst = appendBin(dst, r.Value)
	if len(r.Headers) == 0 {
		dst = append(dst, mpNil)
	} else {
		dst = appendHeaders(dst, r.Headers)
	}
	return appendTime(dst, r.Time)
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
