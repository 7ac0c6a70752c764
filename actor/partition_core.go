package actor

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
)

// NoOffset is the offset of records whose offset is not known any more.
const NoOffset = uint64(math.MaxUint64)

// Errors of an append. Test for them with errors.Is. After each of them nothing
// of the append was stored.
var (
	// ErrOutOfSequence: records of this producer are missing in front of these.
	ErrOutOfSequence = errors.New("out of sequence")
	// ErrProducerFenced: the producer id was taken over with a higher epoch.
	ErrProducerFenced = errors.New("the producer was replaced by a newer one")
	// ErrTooLarge: one append exceeds a limit; the message names it.
	ErrTooLarge = errors.New("the append is too large")
)

// Ack says where the records of an append went.
type Ack struct {
	Partition int
	Offset    uint64 // of the first record that was not a duplicate; the others follow densely
	Count     int    // records of the append
	// Duplicates of these records were stored by an earlier append, and not
	// again. When all were, Offset is where the first went, or NoOffset when
	// the partition does not remember that any more.
	Duplicates int
}

// order is one append that waits for its turn. It is also the message that
// brings it to the partition.
type order struct {
	section codec.Section
	begins  bool      // first of its producer's session: see judge
	exact   bool      // if it raises the producer's epoch, its sequence must be the next
	expects *Expected // of a key; nil: nothing
	// done is told once what became of it, on any goroutine. It must not block.
	done func(Ack, error)

	skip    int // records of the section that are duplicates
	settled atomic.Bool
}

// orderOverhead is what an order costs in memory beyond its records, roughly.
const orderOverhead = 256

// MailboxBytes makes an order data.
func (o *order) MailboxBytes() int { return len(o.section.Records) + orderOverhead }

// Refused answers an order that the partition did not handle.
func (o *order) Refused(err error) { o.settle(Ack{Offset: NoOffset, Count: o.section.Count}, err) }

// settle answers the order. Only the first answer counts: after a panic both the
// mailbox and the partition answer what they hold.
func (o *order) settle(ack Ack, err error) {
	if !o.settled.Swap(true) {
		o.done(ack, err)
	}
}

// verdict is what becomes of an append.
type verdict uint8

const (
	accepted verdict = iota
	duplicate
	refused
	undecided // it repeats something that is not stored yet: ask again after that
)

// judge decides about one section, given what is stored and what is planned.
//
// The sequence of a producer goes on when its epoch rises: a producer that
// resumes from a checkpoint sends again what it had sent after it, and the
// duplicates are told by their sequence.
//
// A producer that is not known is new, or was forgotten because too many others
// appended since. If it says that its session begins here, it is taken at its
// word; otherwise something of it was lost on the way, and it is refused.
func (b *batchPlan) judge(s *logState, o *order) (verdict, Ack, error) {
	section := &o.section
	ack := Ack{Offset: NoOffset, Count: section.Count}
	if section.Producer == "" {
		return accepted, ack, nil
	}
	stored := s.producers[section.Producer]
	line, planned := b.lines[section.Producer]
	switch {
	case planned:
	case stored != nil:
		line = producerLine{stored.epoch, stored.nextSeq}
	case o.begins || section.First == 0:
		line = producerLine{section.Epoch, section.First}
	default:
		return refused, ack, fmt.Errorf("%w: producer %q is not known here and its records before sequence %d are missing",
			ErrOutOfSequence, section.Producer, section.First)
	}
	end := section.First + uint64(section.Count)
	switch {
	case section.Epoch < line.epoch:
		return refused, ack, fmt.Errorf("%w: producer %q has epoch %d, this append has %d",
			ErrProducerFenced, section.Producer, line.epoch, section.Epoch)
	case o.exact && section.Epoch > line.epoch && section.First != line.next:
		return refused, ack, fmt.Errorf("%w: producer %q begins at sequence %d with epoch %d, and the one before it has meanwhile come to %d",
			ErrOutOfSequence, section.Producer, section.First, section.Epoch, line.next)
	case section.First > line.next:
		return refused, ack, fmt.Errorf("%w: producer %q sent sequence %d, the next is %d",
			ErrOutOfSequence, section.Producer, section.First, line.next)
	case section.First == line.next:
		return accepted, ack, nil
	case stored != nil && end <= stored.nextSeq:
		ack.Offset, _ = stored.offsetOf(section.First)
		ack.Duplicates = section.Count
		return duplicate, ack, nil
	case planned:
		return undecided, ack, nil
	}
	o.skip = int(line.next - section.First)
	return accepted, ack, nil
}

// producerLine is where a producer will stand once the plan is stored.
type producerLine struct{ epoch, next uint64 }

// batchLimits bound one batch.
type batchLimits struct {
	bytes    int // of records; a single section may exceed it
	sections int
	records  int
}

// batchPlan is the next batch of a partition: which appends go into it.
type batchPlan struct {
	limits   batchLimits
	orders   []*order
	sections []codec.Section
	bytes    int
	records  int
	taken    int // bytes of all orders that fill removed from the queue
	lines    map[string]producerLine
	keys     *keyIndex // nil: the topic has none
}

// fill takes orders from the front of the queue into the plan, until it is full
// or one must wait for it to be stored, and settles those that need no storing.
// It returns what stays in the queue. All is decided in the order of the queue.
func (b *batchPlan) fill(s *logState, queue []*order) []*order {
	b.reset()
	i := 0
	for ; i < len(queue) && !b.isFull(queue[i]); i++ {
		o := queue[i]
		v, ack, err := b.judge(s, o)
		if v == accepted && o.expects != nil && o.skip == 0 {
			v, err = b.meets(s, o)
		}
		if v == undecided {
			break
		}
		if v == accepted {
			err = b.add(o)
		}
		b.taken += o.MailboxBytes()
		if v == duplicate || err != nil {
			o.settle(ack, err)
		}
	}
	kept := append(queue[:0], queue[i:]...)
	clear(queue[len(kept):])
	return kept
}

func (b *batchPlan) reset() {
	clear(b.orders)
	clear(b.sections)
	clear(b.lines)
	if b.keys != nil {
		b.keys.planned.Reset()
	}
	b.orders, b.sections, b.bytes, b.records, b.taken = b.orders[:0], b.sections[:0], 0, 0, 0
	if b.lines == nil {
		b.lines = map[string]producerLine{}
	}
}

func (b *batchPlan) isFull(o *order) bool {
	return len(b.orders) > 0 &&
		(b.bytes+len(o.section.Records) > b.limits.bytes ||
			b.records+o.section.Count > b.limits.records ||
			len(b.sections) >= b.limits.sections)
}

func (b *batchPlan) add(o *order) error {
	section := o.section
	if o.skip > 0 {
		var err error
		if section, err = cutSection(section, o.skip); err != nil {
			return err
		}
	}
	if b.keys != nil {
		if err := b.keys.plan(&section); err != nil {
			return err
		}
	}
	b.orders = append(b.orders, o)
	b.sections = append(b.sections, section)
	b.bytes += len(section.Records)
	b.records += section.Count
	if section.Producer != "" {
		b.lines[section.Producer] = producerLine{section.Epoch, section.First + uint64(section.Count)}
	}
	return nil
}

// meets decides whether what an append expects of a key is so. What is sent again
// does not come here: it was when it was stored.
func (b *batchPlan) meets(s *logState, o *order) (verdict, error) {
	v, actual, err := b.keys.check(o.expects, s.low)
	if v == refused && err == nil {
		err = &KeyConflictError{Key: o.expects.Key, Expected: o.expects.Offset, Actual: actual}
	}
	return v, err
}

// settleAt answers every append of a stored plan whose first record has offset base.
func (b *batchPlan) settleAt(base uint64) {
	for i, o := range b.orders {
		o.settle(Ack{Offset: base, Count: o.section.Count, Duplicates: o.skip}, nil)
		base += uint64(b.sections[i].Count)
	}
}

// refuseAll answers every append of a plan that was not stored.
func (b *batchPlan) refuseAll(err error) { refuseOrders(b.orders, err) }

func refuseOrders(orders []*order, err error) {
	for _, o := range orders {
		o.Refused(err)
	}
}

// giveBack puts the appends of a plan that was not stored in front of the queue.
func (b *batchPlan) giveBack(queue []*order) (all []*order, bytes int) {
	all = make([]*order, 0, len(b.orders)+len(queue))
	for _, o := range b.orders {
		o.skip = 0
		bytes += o.MailboxBytes()
		all = append(all, o)
	}
	b.reset()
	return append(all, queue...), bytes
}

// cutSection returns the section without its first records. It is rare: only a
// producer that resumes with other batch borders than before needs it.
func cutSection(section codec.Section, skip int) (codec.Section, error) {
	b, err := codec.AppendBatch(nil, &codec.BatchInfo{}, []codec.Section{section})
	if err != nil {
		return section, err
	}
	batch, err := codec.OpenBatch(b, codec.DefaultLimits())
	if err == nil {
		err = batch.Skip(skip)
	}
	if err != nil {
		return section, fmt.Errorf("the append of producer %q cannot be read: %w", section.Producer, err)
	}
	rest := codec.Section{Producer: section.Producer, Epoch: section.Epoch, First: section.First + uint64(skip)}
	for r := (codec.Record{}); batch.Next(&r); {
		rest.Add(&r)
	}
	return rest, batch.Err()
}

// checkOrder refuses an append that could not become part of any batch.
func checkOrder(section *codec.Section, l *PartitionLimits) error {
	limits := codec.DefaultLimits()
	switch {
	case section.Count <= 0 || len(section.Records) == 0:
		return errors.New("an append needs at least one record")
	case len(section.Records) > l.SectionBytes:
		return fmt.Errorf("%w: %d bytes, the limit SectionBytes is %d: split it", ErrTooLarge, len(section.Records), l.SectionBytes)
	case section.Count > limits.BatchRecords:
		return fmt.Errorf("%w: %d records, the limit BatchRecords is %d: split it", ErrTooLarge, section.Count, limits.BatchRecords)
	case len(section.Producer) > limits.ProducerBytes:
		return fmt.Errorf("%w: a producer id of %d bytes, the limit ProducerBytes is %d", ErrTooLarge, len(section.Producer), limits.ProducerBytes)
	case section.First > math.MaxUint64-uint64(section.Count):
		return fmt.Errorf("%w: sequence %d with %d records does not fit 64 bits", ErrOutOfSequence, section.First, section.Count)
	}
	return nil
}

// outcome is what an error of the store says about an append.
type outcome uint8

const (
	isStored     outcome = iota
	notStored            // for certain; others may succeed
	outcomeOpen          // perhaps stored: the log must be asked
	ownerChanged         // not stored, and nothing of this owner ever will be
	logGone              // the store was closed or the log deleted
)

func classify(err error) outcome {
	switch {
	case err == nil:
		return isStored
	case errors.Is(err, storage.ErrFenced):
		return ownerChanged
	case errors.Is(err, storage.ErrFull), errors.Is(err, storage.ErrTooLarge),
		errors.Is(err, codec.ErrLimit), errors.Is(err, codec.ErrCorrupt):
		return notStored
	case errors.Is(err, storage.ErrClosed), errors.Is(err, storage.ErrNotFound):
		return logGone
	}
	return outcomeOpen
}
