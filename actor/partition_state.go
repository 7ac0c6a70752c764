package actor

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/wire"
)

// producerSpans is how many runs of offsets are remembered of each producer, to
// answer a repeated append with the offsets it got the first time. Kafka
// remembers five batches; appends that follow each other without a gap in the
// offsets count as one here.
const producerSpans = 5

// logState is what the entries of a partition's log amount to. It is a function
// of the log and nothing else: after the whole log it equals any snapshot of it
// plus the entries that follow. So it is the same for an owner that wrote the
// entries and for a successor that reads them.
type logState struct {
	covers     uint64   // sequence of the last entry that is accounted for
	next       uint64   // offset of the next record
	low        uint64   // offset of the oldest record that may be read
	appendTime int64    // of the newest batch, Unix milliseconds
	cleaned    *cleaned // the compacted log in force; nil: there is none

	producersMax int
	producers    map[string]*producer
	oldest       producer // head of a ring, from the longest unused to the newest
}

// producer is what is known of one idempotent producer.
type producer struct {
	id           string
	epoch        uint64 // the highest that appended
	nextSeq      uint64 // sequence of the record that must come next
	spans        []span // newest last, at most producerSpans
	older, newer *producer
}

// span says where a run of a producer's records went.
type span struct{ first, count, base uint64 }

func newLogState(producersMax int) *logState {
	s := &logState{producersMax: producersMax, producers: map[string]*producer{}, appendTime: math.MinInt64}
	s.oldest.older, s.oldest.newer = &s.oldest, &s.oldest
	return s
}

// applyMarker accounts for an entry that holds no records.
func (s *logState) applyMarker(seq uint64) { s.covers = seq }

// applyBatch accounts for a stored batch. The error is ErrCorrupt: the batch
// cannot follow what came before it.
func (s *logState) applyBatch(seq uint64, info *codec.BatchInfo) error {
	if info.BaseOffset != s.next {
		return fmt.Errorf("entry %d begins at offset %d, after offset %d: %w",
			seq, info.BaseOffset, s.next, storage.ErrCorrupt)
	}
	base := info.BaseOffset
	for i := range info.Sections {
		section := &info.Sections[i]
		if section.Producer != "" {
			s.note(section, base)
		}
		base += uint64(section.Count)
	}
	s.next, s.covers = base, seq
	s.appendTime = max(s.appendTime, info.AppendTime)
	return nil
}

func (s *logState) note(section *codec.SectionInfo, base uint64) {
	p := s.producers[section.Producer]
	if p == nil {
		p = &producer{id: section.Producer}
		s.producers[p.id] = p
	} else {
		p.unlink()
	}
	s.linkNewest(p)
	p.epoch = max(p.epoch, section.Epoch)
	p.nextSeq = section.First + uint64(section.Count)
	p.remember(span{section.First, uint64(section.Count), base})
	if len(s.producers) > s.producersMax {
		forgotten := s.oldest.newer
		forgotten.unlink()
		delete(s.producers, forgotten.id)
	}
}

func (s *logState) linkNewest(p *producer) {
	p.older, p.newer = s.oldest.older, &s.oldest
	p.older.newer, s.oldest.older = p, p
}

func (p *producer) unlink() { p.older.newer, p.newer.older = p.newer, p.older }

func (p *producer) remember(n span) {
	if len(p.spans) > 0 {
		last := &p.spans[len(p.spans)-1]
		if last.first+last.count == n.first && last.base+last.count == n.base {
			last.count += n.count
			return
		}
	}
	if len(p.spans) == producerSpans {
		copy(p.spans, p.spans[1:])
		p.spans = p.spans[:producerSpans-1]
	}
	p.spans = append(p.spans, n)
}

// offsetOf returns where the record with a sequence went, if that is remembered.
func (p *producer) offsetOf(seq uint64) (uint64, bool) {
	for i := len(p.spans) - 1; i >= 0; i-- {
		if n := p.spans[i]; seq >= n.first && seq-n.first < n.count {
			return n.base + seq - n.first, true
		}
	}
	return NoOffset, false
}

// stateVersion begins every snapshot, or stateVersionClean where a compacted log is
// in force.
const (
	stateVersion      = 1
	stateVersionClean = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshot returns the state as bytes: a version, varints, and a CRC-32C.
func (s *logState) snapshot() []byte { return s.snapshotWith(s.cleaned) }

// snapshotWith is of the state with another compacted log in force.
func (s *logState) snapshotWith(c *cleaned) []byte {
	b := []byte{stateVersion}
	if c != nil {
		b[0] = stateVersionClean
	}
	for _, v := range []uint64{s.covers, s.next, s.low, uint64(s.appendTime), uint64(len(s.producers))} {
		b = binary.AppendUvarint(b, v)
	}
	for p := s.oldest.newer; p != &s.oldest; p = p.newer {
		b = wire.AppendText(b, p.id)
		for _, v := range []uint64{p.epoch, p.nextSeq, uint64(len(p.spans))} {
			b = binary.AppendUvarint(b, v)
		}
		for _, n := range p.spans {
			b = binary.AppendUvarint(b, n.first)
			b = binary.AppendUvarint(b, n.count)
			b = binary.AppendUvarint(b, n.base)
		}
	}
	if c != nil {
		b = c.append(b)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errSnapshot = fmt.Errorf("the partition's state snapshot cannot be read: %w", storage.ErrCorrupt)

// restore replaces the state by a snapshot. More producers than the limit are
// forgotten, the longest unused first.
func (s *logState) restore(b []byte) error {
	if len(b) < 5 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return errSnapshot
	}
	if b[0] != stateVersion && b[0] != stateVersionClean {
		return fmt.Errorf("the partition's state snapshot has version %d, this release reads up to %d: update Troupe", b[0], stateVersionClean)
	}
	r := wire.NewReader(b[1:len(b)-4], errSnapshot)
	*s = *newLogState(s.producersMax)
	s.oldest.older, s.oldest.newer = &s.oldest, &s.oldest
	s.covers, s.next, s.low, s.appendTime = r.Num(), r.Num(), r.Num(), int64(r.Num())
	for n := r.Count(4); n > 0 && r.Err() == nil; n-- {
		s.restoreProducer(&r)
	}
	if b[0] == stateVersionClean {
		s.cleaned = readCleaned(&r)
	}
	return r.End()
}

func (s *logState) restoreProducer(r *wire.Reader) {
	p := &producer{id: r.Text()}
	p.epoch, p.nextSeq = r.Num(), r.Num()
	for n := r.Count(3); n > 0 && r.Err() == nil; n-- {
		p.remember(span{r.Num(), r.Num(), r.Num()})
	}
	if s.producers[p.id] != nil {
		r.Fail("producer %.40q is there twice", p.id)
	}
	if r.Err() != nil {
		return
	}
	s.producers[p.id] = p
	s.linkNewest(p)
	if len(s.producers) > s.producersMax {
		forgotten := s.oldest.newer
		forgotten.unlink()
		delete(s.producers, forgotten.id)
	}
}
