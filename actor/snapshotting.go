package actor

import (
	"context"
	"fmt"
	"math"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/snapshots"
)

// Limits of a snapshot under way.
const (
	encodeLeast    = 2 << 10                // bytes of state encoded after a batch at least
	encodeShare    = 256                    // and for every microsecond that the batch took
	encodePiece    = 64 << 10               // bytes of state encoded before it looks what is being written
	encodeAlone    = 64 << 10               // bytes of state encoded at once while there is no input
	encodeRest     = 100 * time.Microsecond // and how long it rests after that
	chunksInFlight = 3                      // chunks of a task being written at once
)

// snapshotting is a task's part in checkpoints: it encodes frozen state between
// batches, has it written in the background, and reports to the coordinator
// when all is stored.
type snapshotting struct {
	attempt *attempt
	self    *pactor.PID
	name    string // of the task
	task    *dataflow.Task

	number   uint64 // of the checkpoint under way; 0: none
	encoding bool
	letters  bool // dead letters are still being stored
	part     checkpoint.Part
	current  *chunk
	spare    [][]byte // of chunks that were written, to be used again
	chunks   []*chunk // in order; those at the front are written first
	writing  int
	stored   []storedSegment // not yet part of a complete checkpoint
}

// chunk is a piece of a snapshot that is written at once.
type chunk struct {
	data     []byte
	segments []checkpoint.Segment
	number   uint64
	seq      uint64 // of the entry it begins in, once written
}

type storedSegment struct {
	number  uint64
	segment checkpoint.Segment
}

// begin takes a snapshot: what the task holds at this moment. The barrier goes
// on at once; encoding follows.
func (s *snapshotting) begin(number uint64, part checkpoint.Part) {
	if err := s.finishEncoding(); err != nil {
		s.attempt.fail(s.name, err)
		return
	}
	s.task.Flush()
	s.task.Freeze()
	s.number, s.encoding = number, true
	s.part = part
	for node, origins := range s.task.SavePositions() {
		s.part.Positions[node] = origins
	}
	s.task.Barrier(number)
	s.letters = true
	s.attempt.letters.flush(s.attempt, func(err error) {
		s.attempt.sys.Send(s.self, lettersStored{number: number, err: err})
	})
}

// newPart is an empty part of the task.
func (s *snapshotting) newPart() checkpoint.Part {
	return checkpoint.Part{Positions: map[string]map[string][]byte{}, Sinks: map[string][]byte{}, Task: s.task.Index}
}

// advance encodes about so many bytes, as far as they can be written. It says whether
// there is more to do.
func (s *snapshotting) advance(budget int) (more bool) {
	for ; s.canEncode() && budget > 0; budget -= encodePiece {
		if err := s.encode(min(budget, encodePiece)); err != nil {
			s.attempt.fail(s.name, err)
			return false
		}
		s.report()
	}
	return s.canEncode()
}

func (s *snapshotting) canEncode() bool { return s.encoding && s.writing < chunksInFlight }

// finishEncoding encodes the rest of a snapshot at once: the next one is about
// to begin.
func (s *snapshotting) finishEncoding() error {
	for s.encoding {
		if err := s.encode(math.MaxInt); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshotting) encode(budget int) error {
	more, err := s.task.Encode(budget, s.add)
	if err != nil {
		return fmt.Errorf("snapshot of checkpoint %d: %w", s.number, err)
	}
	if !more {
		s.encoding = false
		s.ship()
	}
	return nil
}

func (s *snapshotting) add(node string, group int, segment []byte) {
	if s.current == nil {
		s.current = &chunk{number: s.number, data: s.buffer()}
	}
	c := s.current
	c.segments = append(c.segments, checkpoint.Segment{Node: node, Group: group,
		Ref: checkpoint.Ref{Offset: len(c.data), Length: len(segment)}})
	c.data = append(c.data, segment...)
	if len(c.data) >= snapshots.ChunkBytes {
		s.ship()
	}
}

// buffer returns room for a chunk.
func (s *snapshotting) buffer() []byte {
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b
	}
	return nil
}

// ship has the current chunk written.
func (s *snapshotting) ship() {
	c := s.current
	if c == nil {
		return
	}
	s.current = nil
	s.chunks = append(s.chunks, c)
	s.writing++
	s.part.Bytes += int64(len(c.data))
	s.attempt.background(s.name, func(ctx context.Context) {
		seq, err := s.attempt.store.WriteChunk(ctx, c.data)
		s.attempt.sys.Send(s.self, chunkWritten{chunk: c, seq: seq, err: err})
	})
}

func (s *snapshotting) chunkWritten(m chunkWritten) {
	if m.err != nil {
		s.attempt.fail(s.name, m.err)
		return
	}
	s.writing--
	s.spare = append(s.spare, m.chunk.data[:0])
	m.chunk.seq, m.chunk.data = m.seq, nil
	// Writes may end in any order; segments of a group must stay in theirs.
	for len(s.chunks) > 0 && s.chunks[0].seq != 0 {
		c := s.chunks[0]
		s.chunks = s.chunks[1:]
		for _, g := range c.segments {
			g.Ref = snapshots.At(c.seq, g.Ref.Offset, g.Ref.Length)
			s.stored = append(s.stored, storedSegment{number: c.number, segment: g})
		}
	}
	s.report()
}

func (s *snapshotting) lettersStored(m lettersStored) {
	if m.number != s.number {
		return
	}
	if m.err != nil {
		s.attempt.fail(s.name, fmt.Errorf("store dead letters: %w", m.err))
		return
	}
	s.letters = false
	s.report()
}

// report tells the coordinator once everything is stored. Segments of earlier
// checkpoints that never completed go along: the state they hold is not
// encoded again.
func (s *snapshotting) report() {
	if s.number == 0 || s.encoding || s.writing > 0 || s.letters {
		return
	}
	for _, st := range s.stored {
		s.part.Segments = append(s.part.Segments, st.segment)
	}
	s.attempt.sys.Send(s.attempt.coord, partTaken{number: s.number, task: s.name, part: s.part})
	s.number, s.part, s.spare = 0, checkpoint.Part{}, nil
}

// completed forgets the segments that a complete checkpoint has taken over.
func (s *snapshotting) completed(number uint64) {
	n := 0
	for n < len(s.stored) && s.stored[n].number <= number {
		n++
	}
	s.stored = s.stored[n:]
}
