package codec

import "errors"

// A record of a sparse batch is an array of six: how far its offset is above the
// first, how much later than the first it was appended, and then what every
// record has. A tombstone may have a seventh: when it was compacted.
const (
	sparseFields        = 6
	sparseFieldsStamped = 7
)

// ahead is what is read of the next record of a sparse batch before it is asked
// for: Offset needs it.
type ahead struct {
	offset    uint64
	appended  int64
	stamped   bool
	malformed bool

	last struct{ appended, compacted int64 } // of the record given last
}

// lookAhead reads how the next record begins. Offsets must rise.
func (o *Batch) lookAhead() {
	if o.next == o.Info.Count {
		o.offset = o.Info.End()
		return
	}
	r := reader{b: o.b, pos: o.pos}
	fields := r.array(1)
	delta, later := r.uint(), r.uint()
	offset := o.Info.BaseOffset + delta
	switch {
	case r.bad, fields != sparseFields && fields != sparseFieldsStamped,
		delta >= o.Info.Span, o.next == 0 && delta != 0, o.next > 0 && offset <= o.offset,
		o.next == o.Info.Count-1 && delta != o.Info.Span-1:
		o.malformed = true
		return
	}
	o.pos, o.offset, o.appended, o.stamped = r.pos, offset, o.Info.FirstAppend+int64(later), fields == sparseFieldsStamped
}

func (o *Batch) nextSparse(r *Record) bool {
	if o.malformed {
		return o.fail()
	}
	pos := parseFields(o.b, o.pos, r)
	o.last.appended, o.last.compacted = o.appended, NoTime
	if pos >= 0 && o.stamped {
		pos = parseTime(o.b, pos, &o.last.compacted)
	}
	if pos < 0 {
		return o.fail()
	}
	o.pos = pos
	o.next++
	o.lookAhead()
	return true
}

// Appended is when the record that Next gave last was appended, in Unix
// milliseconds.
func (o *Batch) Appended() int64 {
	if o.Info.Sparse {
		return o.last.appended
	}
	return o.Info.AppendTime
}

// Compacted is the time that the record which Next gave last was stamped with by
// Sparse.Add; NoTime when it was not.
func (o *Batch) Compacted() int64 {
	if o.Info.Sparse {
		return o.last.compacted
	}
	return NoTime
}

// Sparse collects records for one batch whose offsets need not follow each other.
// The zero value is ready.
type Sparse struct {
	section     Section
	base, last  uint64
	first, then int64 // append times of the first and the last
}

// Add adds a record. Offsets must rise; the append time of a record, in Unix
// milliseconds, counts as that of the one before it when it is below that. A
// tombstone may be stamped with the time at which it was compacted; NoTime: it is
// not.
func (s *Sparse) Add(offset uint64, appended, compacted int64, r *Record) {
	if s.section.Count == 0 {
		s.base, s.first, s.section.MaxTime = offset, appended, NoTime
	} else {
		appended = max(appended, s.then)
	}
	fields := byte(sparseFields)
	if compacted != NoTime {
		fields = sparseFieldsStamped
	}
	b := append(s.section.Records, mpFixArray|fields)
	b = appendUint(b, offset-s.base)
	b = appendUint(b, uint64(appended-s.first))
	b = appendFields(b, r)
	if compacted != NoTime {
		b = appendTime(b, compacted)
	}
	s.section.Records, s.last, s.then = b, offset, appended
	s.section.MaxTime = max(s.section.MaxTime, r.Time)
	s.section.Count++
}

// Count is how many records it holds.
func (s *Sparse) Count() int { return s.section.Count }

// Bytes is how many bytes they have, uncompressed.
func (s *Sparse) Bytes() int { return len(s.section.Records) }

// Reset empties it for the next batch and keeps its buffer.
func (s *Sparse) Reset() { *s = Sparse{section: Section{Records: s.section.Records[:0]}} }

// AppendBatch appends the stored batch to dst. Of info the caller sets Epoch and
// the wanted Compression. The errors are those of the function AppendBatch.
func (s *Sparse) AppendBatch(dst []byte, info *BatchInfo) ([]byte, error) {
	if s.section.Count == 0 {
		return dst, errors.New("a batch needs at least one record")
	}
	info.BaseOffset, info.AppendTime = s.base, s.then
	info.Sparse, info.Span, info.FirstAppend = true, s.last-s.base+1, s.first
	return AppendBatch(dst, info, []Section{s.section})
}
