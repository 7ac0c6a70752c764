package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/codec"
)

// PublishIf publishes records to one partition, all or none, provided that the newest
// record of a key is where the caller believes it to be, and waits until they are as
// durable as the topic promises. It says where the first went; the others follow
// densely. If the expectation is not met, nothing is stored, and the error is a
// KeyConflictError that says where that record is. The topic must be declared with
// KeyIndex. partition is AnyPartition for the one that a record with that key goes to.
// The records need not be of the key.
//
// It is tried again like what Publish sends, until DeliveryTimeout, with the same
// sequence: so it cannot conflict with itself, whatever was lost on the way. When it is
// an ErrUnknown, because that time is over, ctx has ended, or the partition has
// forgotten the producer meanwhile, the records may be stored: read on from where the
// key was. So does a program that was started anew: what it sends then is another
// publish, which does conflict with the first.
//
// In its partition it keeps its place among what this publisher is given: it is decided
// upon when all from before is stored, and what comes after waits until it is, which
// takes a turn of its own. A conflict does not concern what comes after.
func (p *Publisher) PublishIf(ctx context.Context, partition int, e Expected, records []Record) (Published, error) {
	b, err := p.publishIf(ctx, partition, &e, records)
	if err != nil {
		return Published{Partition: partition, Offset: NoOffset}, p.refused(err)
	}
	at, err := Future{batch: b}.Wait(ctx)
	var conflict *KeyConflictError
	switch {
	case errors.As(err, &conflict):
		conflict.Topic, conflict.Partition = p.topic.name, at.Partition
	case err != nil && ctx.Err() != nil && !errors.Is(err, ErrUnknown):
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return at, err
}

func (p *Publisher) publishIf(ctx context.Context, partition int, e *Expected, records []Record) (*publishedBatch, error) {
	if e.Key == nil {
		return nil, errors.New("an expectation needs a key")
	}
	lanes, err := p.partitions(ctx)
	if err != nil {
		return nil, err
	}
	if partition, err = p.choose(partition, len(lanes), &Record{Key: e.Key, Time: NoTime}); err != nil {
		return nil, err
	}
	b := &publishedBatch{topic: p.topic.name, partition: partition, settled: make(chan struct{}),
		expects: &Expected{slices.Clone(e.Key), e.Offset}}
	if err := p.fill(b, records); err != nil {
		return nil, err
	}
	if err := pass(ctx, p.room, b.bytes, p.options.FailFast); err != nil {
		return nil, err
	}
	if err := lanes[partition].addWhole(b); err != nil {
		p.room.leave(b.bytes)
		return nil, err
	}
	return b, nil
}

// fill puts records into a batch that takes no others.
func (p *Publisher) fill(b *publishedBatch, records []Record) error {
	limits, settings := codec.DefaultLimits(), p.topic.settings.Load()
	for i := range records {
		r := &records[i]
		err := limits.Check(r)
		if err == nil && r.Key == nil && settings.Compaction.Enabled {
			err = ErrNoKey
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		settings.add(&b.section, r)
		b.bytes += recordSize(r)
		if most := p.topic.sys.limits.SectionBytes; len(b.section.Records) > most {
			return fmt.Errorf("%w: the limit SectionBytes is %d: split it", ErrTooLarge, most)
		}
	}
	if b.section.Count == 0 {
		return errors.New("it needs at least one record")
	}
	return nil
}

// addWhole puts a batch behind all that was added before.
func (l *publisherLane) addWhole(b *publishedBatch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("the publisher: %w", ErrClosed)
	}
	if l.open != nil {
		l.queue, l.open = append(l.queue, l.open), nil
	}
	b.began = time.Now() // as with others, how long it waited for room does not count
	l.queue, l.untold = append(l.queue, b), append(l.untold, b)
	l.rouse()
	return nil
}

// unmet says whether an error is about what a batch expects of a key, and nothing else.
func (b *publishedBatch) unmet(err error) bool {
	return b.expects != nil && (errors.Is(err, ErrKeyConflict) || errors.Is(err, ErrNoKeyIndex))
}

// giveBack ends a batch whose expectation is not met: its sequence is for the next.
// Nothing that comes after it has one yet, because nothing was posted behind it.
//
// If an earlier try may have been stored, and the partition does not know the producer
// any more, the record that it conflicts with can be its own: then it is unsure.
func (l *publisherLane) giveBack(b *publishedBatch) { l.next, l.tries = b.section.First, 0 }
