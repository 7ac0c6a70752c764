package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/group"
)

// startTends has released keys replayed, by as many goroutines as there may be
// workers.
func (l *consumerLane) startTends() {
	p := l.parking
	for i := 0; p != nil && i < len(p.due) && p.tending < l.window.Workers() && !l.finishing; {
		h, ctx := p.due[i], l.ctx
		if l.isBehind(h) {
			i++
			continue
		}
		p.due = slices.Delete(p.due, i, i+1)
		p.tending++
		if !l.consumer.sys.Go(func(context.Context) { l.tend(ctx, p, h) }) {
			p.tending--
			return
		}
	}
}

// isBehind says whether records of a key from before those parked come again: they go
// first, and no two of a key are at work at a time. So it is after a crash, or a rewind.
func (l *consumerLane) isBehind(h *heldKey) bool {
	switch {
	case h.front > 0:
		return true
	case h.ref.Keyless || len(h.offsets) == 0:
		return false
	}
	return l.window.HasBefore([]byte(h.ref.Key), h.offsets[0])
}

// tend looks after a key: it replays it if it was released, until it is free.
func (l *consumerLane) tend(ctx context.Context, p *parking, h *heldKey) {
	for l.tendOnce(ctx, p, h) {
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.tending--
	l.letIn(h)
	l.settleDown()
	l.handOut()
}

// tendOnce asks the group about a key and does what there is to do. It returns false
// when that is all.
func (l *consumerLane) tendOnce(ctx context.Context, p *parking, h *heldKey) (more bool) {
	l.mu.Lock()
	version, pending := h.version, h.pending
	h.again = false
	l.mu.Unlock()
	now, err := l.parkedNow(ctx, h.ref)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		l.consumer.sys.log.Warn("a consumer cannot ask its group about a parked key, and tries again", "group", l.consumer.options.Group, "error", err)
		return sleep(ctx, consumerRetry) == nil
	case len(now.Records) == 0:
		return l.setFree(ctx, p, h, version, pending)
	case !now.Releasing:
		return l.leaveParked(h, now)
	}
	return l.replay(ctx, p, h, now)
}

func (l *consumerLane) parkedNow(ctx context.Context, ref group.KeyRef) (group.ParkedKey, error) {
	ctx, cancel := context.WithTimeout(ctx, consumerAsk)
	defer cancel()
	return Ask[group.ParkedKey](ctx, l.consumer.sys, l.group.pid, askGroup{func(g *group.Group) any { return g.ParkedKey(ref) }})
}

// setFree lets a key go that the group said is free. That was before now: if records
// of it were on their way then, or have come since, it has to be asked again.
func (l *consumerLane) setFree(ctx context.Context, p *parking, h *heldKey, version, pending int) (again bool) {
	l.mu.Lock()
	if h.version == version && pending == 0 && h.pending == 0 {
		p.free(h)
		h.tended = false
		l.mu.Unlock()
		return false
	}
	waits := h.pending > 0
	if waits && p.moved == nil {
		p.moved = make(chan struct{})
	}
	moved := p.moved
	l.mu.Unlock()
	if !waits {
		return true
	}
	select {
	case <-moved:
		return true
	case <-ctx.Done():
		return false
	}
}

// leaveParked ends the look at a key that is parked and not released.
func (l *consumerLane) leaveParked(h *heldKey, now group.ParkedKey) (again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.know(now)
	h.tended = h.again
	return h.again
}

// letIn hands out the record that has waited for the end of a replay. If the key is
// not free it is put behind after all.
func (l *consumerLane) letIn(h *heldKey) {
	h.closing = false
	if h.waits {
		h.waits = false
		l.window.Resume(h.waiter)
	}
}

// replay hands out the records of a released key, in order.
func (l *consumerLane) replay(ctx context.Context, p *parking, h *heldKey, key group.ParkedKey) (more bool) {
	l.mu.Lock()
	h.know(key)
	l.mu.Unlock()
	for i, r := range key.Records {
		if !l.mayReplay(p, h, i == len(key.Records)-1) {
			return false
		}
		d, err := l.parkedDelivery(ctx, &key, i)
		if err != nil {
			return l.bodyMissing(ctx, h, &key, r, err)
		}
		if more, next := l.replayOne(ctx, h, d); !next {
			return more
		}
	}
	return true
}

// mayReplay says whether the next record may be replayed. What comes of the key while
// the last one is, and nothing is on its way, waits: so the replay comes to an end.
// A replay that may not go on now is taken up when it may.
func (l *consumerLane) mayReplay(p *parking, h *heldKey, last bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.handing() || l.finishing || p != l.parking || l.isBehind(h) {
		p.due = append(p.due, h)
		return false
	}
	h.closing = last && h.pending == 0
	return true
}

// replayOne hands out one record until it is dealt with. Next says whether the one
// behind it may follow, more whether there is still something to do for the key.
func (l *consumerLane) replayOne(ctx context.Context, h *heldKey, d *Delivery) (more, next bool) {
	for {
		err := l.handleParked(ctx, d)
		if ctx.Err() != nil {
			return false, false
		}
		if err == nil {
			return l.resolve(ctx, h, d)
		}
		switch v := l.consumer.dispose(ctx, d, err); v.action {
		case verdictDone:
			return l.resolve(ctx, h, d)
		case verdictRetry:
			if sleep(ctx, v.after) != nil {
				return false, false
			}
			d = d.again(err)
		case verdictPark:
			return l.parkAgain(ctx, h, d, err), false
		case verdictUnwanted:
			return false, false
		default:
			l.giveUp(&HandlerError{d.TopicPartition, d.Offset, d.Attempt, v.err})
			return false, false
		}
	}
}

// handleParked calls the handler, and with ManualAck waits for the acknowledgement.
func (l *consumerLane) handleParked(ctx context.Context, d *Delivery) error {
	if err := l.consumer.call(ctx, l.site, d); err != nil || !l.consumer.options.ManualAck {
		return err
	}
	select {
	case <-d.released.acked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// released is what a delivery out of the parking has for a ticket.
type released struct {
	once  sync.Once
	acked chan struct{}
}

func (r *released) ack() (first bool) {
	r.once.Do(func() {
		close(r.acked)
		first = true
	})
	return first
}

// resolve tells the group that a replayed record is dealt with.
func (l *consumerLane) resolve(ctx context.Context, h *heldKey, d *Delivery) (more, next bool) {
	err := l.insist(ctx, func(epoch uint64) group.Command {
		return group.Resolve{Member: l.member, Epoch: epoch, Key: h.ref, Offset: d.at}
	})
	if err != nil {
		return errors.Is(err, group.ErrInvalid), false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	l.consumer.progress.Add(1)
	if i, found := slices.BinarySearch(h.offsets, d.at); found {
		h.offsets = slices.Delete(h.offsets, i, i+1)
	}
	return true, true
}

// parkAgain puts a key back whose replay failed.
func (l *consumerLane) parkAgain(ctx context.Context, h *heldKey, d *Delivery, err error) (more bool) {
	return nil == l.insist(ctx, func(epoch uint64) group.Command {
		return group.Park{Member: l.member, Epoch: epoch, Key: h.ref, Record: group.ParkedRecord{Offset: d.at},
			Attempt: d.Attempt, Reason: "failed", Error: briefly(err)}
	})
}

// insist tells the group something until it has an answer. An ErrInvalid says that the key
// is not what it was, any other error that the partition is somebody else's.
func (l *consumerLane) insist(ctx context.Context, command func(epoch uint64) group.Command) error {
	for {
		l.mu.Lock()
		epoch := l.claim.Epoch
		l.mu.Unlock()
		_, err := l.tellGroup(ctx, command(epoch))
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, ErrMemberFenced) || errors.Is(err, ErrStopped) || errors.Is(err, group.ErrInvalid):
			return err
		}
		l.consumer.sys.log.Warn("a consumer cannot tell its group of a parked record, and tries again", "group", l.consumer.options.Group, "error", err)
		if err := sleep(ctx, consumerRetry); err != nil {
			return err
		}
	}
}

// bodyMissing puts a key back whose body cannot be read: it is for people to skip
// the record, or to give it another body.
func (l *consumerLane) bodyMissing(ctx context.Context, h *heldKey, key *group.ParkedKey, r group.ParkedRecord, err error) (more bool) {
	if ctx.Err() != nil {
		return false
	}
	if !errors.Is(err, ErrOffsetOutOfRange) && !errors.Is(err, codec.ErrCorrupt) && !errors.Is(err, ErrNoTopic) {
		l.consumer.sys.log.Warn("a consumer cannot read a parked record, and tries again", "group", l.consumer.options.Group, "error", err)
		return sleep(ctx, consumerRetry) == nil
	}
	l.consumer.sys.log.Error("the body of a parked record is gone: skip the record, or edit it", "group", l.consumer.options.Group,
		"topic", l.Topic, "partition", l.Partition, "offset", r.Offset, "error", err)
	return l.parkAgain(ctx, h, &Delivery{at: r.Offset, Attempt: key.Attempts}, fmt.Errorf("its body is gone: %w", err))
}

// parkedDelivery makes a delivery of a parked record.
func (l *consumerLane) parkedDelivery(ctx context.Context, key *group.ParkedKey, i int) (*Delivery, error) {
	r, err := l.consumer.sys.parkedBody(ctx, l.consumer.options.Group, key.Records[i].Parking)
	if err != nil {
		return nil, err
	}
	d := &Delivery{Record: r, TopicPartition: l.TopicPartition, Offset: key.Records[i].Offset, at: key.Records[i].Offset, Attempt: 1,
		here: 1, lane: l, released: &released{acked: make(chan struct{})}}
	d.AppendTime = takeArrival(&d.Record)
	if l.delay > 0 {
		d.comesFrom()
	}
	d.Cause = Released
	if i == 0 {
		d.Attempt, d.LastError = key.Attempts+1, key.Error
	}
	return d, nil
}
