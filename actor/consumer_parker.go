package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/troupestream/troupe/internal/group"
)

const (
	parkBatch = 256         // records that are parked together
	parkRetry = time.Second // when the parking is full, or the group does not answer
	// parkFresh is how long a body in the parking topic is of use without a place in
	// the journal: what is older, and is in no journal, may be trimmed away.
	parkFresh = time.Hour
)

// HeaderAppended is when a parked record arrived in its topic, Unix ms: the last
// header of its body in the parking topic.
const HeaderAppended = "troupe-appended"

// takeArrival removes HeaderAppended from a parked record, and returns what it says;
// 0: the record has none.
func takeArrival(r *Record) (millis int64) {
	n := len(r.Headers) - 1
	if n < 0 || r.Headers[n].Key != HeaderAppended {
		return 0
	}
	millis, _ = strconv.ParseInt(string(r.Headers[n].Value), 10, 64)
	r.Headers = r.Headers[:n:n]
	return millis
}

// store parks what is lined up, batch by batch, until there is none: first the
// bodies, then their places. What cannot be parked holds the partition up, since the
// window fills behind it; it is tried again until it can.
func (l *consumerLane) store(ctx context.Context, p *parking) {
	for {
		batch := l.nextToPark(p)
		if batch == nil {
			return
		}
		for len(batch) > 0 {
			if !l.storeBodies(ctx, batch) {
				return
			}
			n, err := l.tellGroup(ctx, l.placesOf(batch)...)
			l.areParked(p, batch[:n])
			if batch = batch[n:]; err == nil {
				continue
			}
			if passed, again := l.refusedParking(ctx, p, batch[0], err); !again {
				return
			} else if passed {
				l.areParked(p, batch[:1])
				batch = batch[1:]
			}
		}
	}
}

// nextToPark returns some of the queue; nil: there is none, and the goroutine ends.
func (l *consumerLane) nextToPark(p *parking) []*parkItem {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(p.queue) == 0 {
		p.storing = false
		l.settleDown()
		return nil
	}
	n := min(len(p.queue), parkBatch)
	batch := p.queue[:n:n]
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
	return batch
}

// storeBodies puts the bodies of records into the parking topic, of which those that
// are there already are fresh.
func (l *consumerLane) storeBodies(ctx context.Context, batch []*parkItem) bool {
	topic, mail := parkedTopic(l.consumer.options.Group), l.consumer.mail
	var records []*Record
	var fill []*parkItem
	for _, i := range batch {
		if i.stored.IsZero() || time.Since(i.stored) > parkFresh/2 {
			records, fill = append(records, parkedRecord(i.d)), append(fill, i)
		}
	}
	at, err := mail.sendAll(ctx, topic, records)
	if err != nil {
		return false
	}
	for n, i := range fill {
		i.stored, i.parking = time.Now(), at[n]
	}
	return true
}

// parkedRecord is the body of a parked record: as it was in the partition, and when
// it arrived there.
func parkedRecord(d *Delivery) *Record {
	r := d.Record
	r.Headers = r.Headers[:len(r.Headers):len(r.Headers)]
	if d.Via != "" {
		before := *d
		before.Attempt--
		r.Headers = append(r.Headers, before.origin())
	}
	plain := r.Headers
	r.Headers = append(r.Headers, Header{Key: HeaderAppended, Value: strconv.AppendInt(nil, d.AppendTime, 10)})
	if limitsCheck(&r) != nil {
		r.Headers = plain // rather without
	}
	return &r
}

// placesOf are the commands that give records their places.
func (l *consumerLane) placesOf(batch []*parkItem) []group.Command {
	all := make([]group.Command, len(batch))
	for n, i := range batch {
		record := group.ParkedRecord{Offset: i.d.at, Parking: i.parking, Bytes: i.d.size()}
		if i.failed == nil {
			all[n] = group.Hold{Member: l.member, Epoch: i.claim.Epoch, Key: i.key.ref, Record: record, Anew: i.anew}
		} else {
			all[n] = group.Park{Member: l.member, Epoch: i.claim.Epoch, Key: i.key.ref, Record: record,
				Attempt: i.d.Attempt, Reason: "failed", Error: briefly(i.failed)}
		}
	}
	return all
}

// areParked: the records are parked, durably. For their partition they are done.
func (l *consumerLane) areParked(p *parking, batch []*parkItem) {
	if len(batch) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.stalled = nil
	for _, i := range batch {
		h := i.key
		h.pending--
		if i.front {
			h.front--
		}
		h.version++
		if at, found := slices.BinarySearch(h.offsets, i.d.at); !found {
			h.offsets = slices.Insert(h.offsets, at, i.d.at)
		}
		l.done(i.d.ticket)
	}
	l.consumer.counts.parked.Add(int64(len(batch)))
	p.step()
	l.handOut()
}

// refusedParking decides about a record that the group does not take. It is passed
// over if the group has dealt with it already.
func (l *consumerLane) refusedParking(ctx context.Context, p *parking, i *parkItem, err error) (passed, again bool) {
	switch {
	case ctx.Err() != nil || errors.Is(err, ErrMemberFenced) || errors.Is(err, ErrStopped):
		return false, false
	case errors.Is(err, group.ErrNotParked):
		i.anew = true
		return false, true
	case errors.Is(err, group.ErrInvalid) && i.failed == nil:
		return true, true
	case errors.Is(err, group.ErrInvalid), errors.Is(err, group.ErrLimit) && !errors.Is(err, group.ErrParkingFull):
		l.giveUp(&HandlerError{i.d.TopicPartition, i.d.Offset, i.d.Attempt, fmt.Errorf("its key cannot be parked: %w", errors.Join(err, i.failed))})
		return false, false
	}
	l.stall(p, i, err)
	return false, sleep(ctx, parkRetry) == nil
}

// stall says, once, that the partition waits for the parking.
func (l *consumerLane) stall(p *parking, i *parkItem, err error) {
	l.mu.Lock()
	first := p.stalled == nil
	p.stalled = err
	l.mu.Unlock()
	if first {
		l.consumer.sys.log.Error("a record cannot be parked: its partition stalls until it can. Release or skip parked keys, or raise the limit",
			"group", l.consumer.options.Group, "topic", l.Topic, "partition", l.Partition, "offset", i.d.at, "error", err)
	}
}
