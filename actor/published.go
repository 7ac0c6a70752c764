package actor

import (
	"context"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// Published says where a record went.
type Published struct {
	Partition int
	// Offset is NoOffset where the record was stored by an earlier try, so long
	// ago that the partition does not remember the place.
	Offset uint64
}

// Future is what becomes of a record that is being published.
type Future struct {
	batch *publishedBatch
	index int
}

// Done is closed once it is known what became of the record. Those of one batch
// share it.
func (f Future) Done() <-chan struct{} { return f.batch.settled }

// Wait waits until it is known what became of the record. When ctx ends first, the
// record is tried for all the same.
func (f Future) Wait(ctx context.Context) (Published, error) {
	select {
	case <-f.batch.settled:
	case <-ctx.Done():
		select {
		case <-f.batch.settled: // both: what is known is said
		default:
			return Published{Partition: f.batch.partition, Offset: NoOffset}, fmt.Errorf("wait for a record of topic %s: %w", f.batch.topic, ctx.Err())
		}
	}
	return f.batch.result(f.index)
}

// publishedBatch is a run of records that share their fate.
type publishedBatch struct {
	topic     string
	partition int
	section   codec.Section // its sequence is given when it is first posted
	numbered  bool
	bytes     int // in the publisher's room
	began     time.Time
	callbacks []callback
	expects   *Expected // of a key; nil: nothing
	unsure    bool      // it may have been stored by a try that was lost

	settled chan struct{} // closed once the fields below are final and the callbacks were called
	base    uint64        // NoOffset: not known
	skipped int           // records in front that were stored before, at places unknown
	err     error
}

type callback struct {
	index int
	done  func(Published, error)
}

func (b *publishedBatch) result(i int) (Published, error) {
	p := Published{Partition: b.partition, Offset: NoOffset}
	if b.err == nil && b.base != NoOffset && i >= b.skipped {
		p.Offset = b.base + uint64(i-b.skipped)
	}
	return p, b.err
}

// stored notes where the records are. An ack gives the place of the first that
// was not stored before, or, when all were, of the first.
func (b *publishedBatch) stored(ack Ack) {
	b.base = ack.Offset
	if ack.Duplicates < ack.Count {
		b.skipped = ack.Duplicates
	}
}

// settle tells everybody: the callbacks first, so that they have been called when
// Flush and Close return.
func (b *publishedBatch) settle(sys *System, err error) {
	b.err = err
	for told := 0; told < len(b.callbacks); { // again behind one that panicked
		sys.guard(b.topic, func() {
			for told < len(b.callbacks) {
				c := &b.callbacks[told]
				told++
				c.done(b.result(c.index))
			}
		})
	}
	clear(b.callbacks)
	callbackLists.put(b.callbacks)
	b.callbacks = nil
	close(b.settled)
}

// callbackLists are used again: each has room for a batch.
var callbackLists slicePool[callback]

// guard calls a function that somebody wants to be told by what became of records.
// The goroutine may be the partition's, which has others to serve: so a panic is
// logged, and goes no further.
func (s *System) guard(topic string, told func()) {
	if err := dataflow.Protect(func() error { told(); return nil }); err != nil {
		s.log.Error("a function that was to be told what became of a record panicked", "topic", topic,
			"error", err, "stack", dataflow.StackOf(err))
	}
}
