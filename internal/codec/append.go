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

// At returns the section with the time of all its records set, in Unix
// milliseconds. The section itself stays as it is.
func (s *Section) At(millis int64) (Section, error) {
	all := Section{Producer: s.Producer, Epoch: s.Epoch, First: s.First, Records: make([]byte, 0, len(s.Records))}
	var r Record
	for pos := 0; pos < len(s.Records); {
		if pos = parseRecord(s.Records, pos, &r); pos < 0 {
			return Section{}, corrupt("the section", 0, "record %d is malformed", all.Count)
		}
		r.Time = millis
		all.Add(&r)
	}
	if all.Count != s.Count {
		return Section{}, corrupt("the section", len(s.Records), "it has %d records and should have %d", all.Count, s.Count)
	}
	return all, nil
}

// Keys calls f for each record of the section, in order. The key is nil when a record
// has none. The error is an ErrCorrupt: the section is not what Add makes.
func (s *Section) Keys(f func(key []byte, tombstone bool)) error {
	var r Record
	for pos := 0; pos < len(s.Records); {
		if pos = parseRecord(s.Records, pos, &r); pos < 0 {
			return corrupt("the section", 0, "a record is malformed")
		}
		f(r.Key, r.Value == nil)
	}
	return nil
}

// Reset empties the section for the next batch and keeps its buffer.
func (s *Section) Reset() {
	s.Records, s.Count, s.MaxTime = s.Records[:0], 0, NoTime
}
