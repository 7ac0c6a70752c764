package queues

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/wire"
)

// The position of a job in a queue is not a place: it is the messages that are in the
// job's state and that the queue may not know to be acknowledged yet. It is stored as
// segments, one behind the other: a version, a number of runs, and of each run its log,
// its first offset and how many offsets it has. Reading appends segments, so that the
// position behind a batch costs as much as the batch.

const (
	positionVersion = 1
	// positionMax is how many messages a position may have: what is in hand, and what
	// was acknowledged since the last complete checkpoint, several times over.
	positionMax = 1 << 22
)

// span is messages of one log whose offsets follow each other.
type span struct {
	log   uint32
	first uint64
	n     uint64
}

// spans are messages, in the order in which they were added.
type spans []span

func (s spans) add(r queue.Ref) spans {
	if last := len(s) - 1; last >= 0 && s[last].log == r.Log && s[last].first+s[last].n == r.Offset {
		s[last].n++
		return s
	}
	return append(s, span{r.Log, r.Offset, 1})
}

// appendTo appends a segment.
func (s spans) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(append(b, positionVersion), uint64(len(s)))
	for _, r := range s {
		b = binary.AppendUvarint(b, uint64(r.log))
		b = binary.AppendUvarint(b, r.first)
		b = binary.AppendUvarint(b, r.n)
	}
	return b
}

var errPosition = errors.New("the checkpoint's position is not one in a queue")

// parsePosition returns the messages of a position. One that was acknowledged while
// checkpoints went on may be there twice.
func parsePosition(b []byte) (all []queue.Ref, err error) {
	p := positionReader{wire.NewReader(b, errPosition)}
	for p.Len() > 0 {
		if version := p.Byte(); version != positionVersion {
			p.Fail("version %d is not known", version)
		}
		for n := p.Num(); n > 0 && p.Err() == nil; n-- {
			all = p.span(all)
		}
	}
	if p.Err() != nil {
		return nil, fmt.Errorf("%w; start the job afresh", p.Err())
	}
	return all, nil
}

type positionReader struct{ wire.Reader }

func (p *positionReader) span(all []queue.Ref) []queue.Ref {
	log, first, n := p.Num(), p.Num(), p.Num()
	switch {
	case p.Err() != nil:
	case log > 1<<32-1 || first+n < first:
		p.Fail("log %d, offset %d and %d more", log, first, n)
	case n > positionMax || uint64(len(all))+n > positionMax:
		p.Fail("it has more than %d messages", positionMax)
	default:
		for i := range n {
			all = append(all, queue.Ref{Log: uint32(log), Offset: first + i})
		}
	}
	return all
}
