package actor

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/inflight"
)

// Parking a key sets it aside when a record of it fails: later records of the key
// are put behind it, in order, and the others go on. A record counts as done for its
// partition once its body is in the parking topic and its place in the group's
// journal, so the commit goes on.
//
// The group knows what is parked, and the lane knows which keys: what it takes of
// those it does not hand out but lines up for a goroutine that stores bodies and
// places in batches (consumer_parker.go). A key that is released is replayed by
// another one (consumer_replay.go), while what comes of it is still put behind.

// ParkedKey is a key that is parked, or a record without one: Topic, Partition and Key
// (or Keyless and Offset), its Records by offset, the first of which has failed, the
// Attempts and the Error of that, Since when (Unix ms), and whether it is Releasing.
type ParkedKey = group.ParkedKey

const parkedPrefix = "parked-"

// parkedTopic is where the bodies of a group's parked records are.
func parkedTopic(group string) string { return parkedPrefix + group }

// parking is what a lane knows of the parked keys of its partition, from one start
// to the next. It is guarded by the lane.
type parking struct {
	keys    map[string]*heldKey
	alone   map[uint64]*heldKey // records without a key, by offset
	queue   []*parkItem         // on their way into the parking, in order
	storing bool                // a goroutine is at them
	stalled error               // why it cannot go on, for the time being
	due     []*heldKey          // to be looked after
	tending int                 // goroutines that look after keys
	moved   chan struct{}       // closed when some of the queue is parked; nil: nobody waits
}

// heldKey is one of them.
type heldKey struct {
	ref     group.KeyRef
	offsets []uint64 // that are known to be parked
	pending int      // records on their way
	version int      // counts those that have arrived
	tended  bool     // a goroutine is at it, or is about to
	again   bool     // something was done to it from outside
	closing bool     // its last record is: what comes waits
	front   int      // records on their way to be parked in front
	waiter  inflight.Ticket
	waits   bool // there is one that does
}

// parkItem is a record on its way into the parking.
type parkItem struct {
	key     *heldKey
	d       *Delivery
	claim   group.Claim
	failed  error // nil: it is put behind
	stored  time.Time
	parking uint64 // of its body
	anew    bool   // the key has become free meanwhile
	front   bool   // see heldKey
}

func newParking(parked []group.ParkedKey) *parking {
	p := &parking{keys: map[string]*heldKey{}, alone: map[uint64]*heldKey{}}
	for _, k := range parked {
		h := p.hold(k.KeyRef)
		h.know(k)
		if k.Releasing {
			p.look(h)
		}
	}
	return p
}

// empty says that nothing is parked: the usual case.
func (p *parking) empty() bool { return p == nil || len(p.keys) == 0 && len(p.alone) == 0 }

// tended says whether a key is being replayed.
func (p *parking) tended() bool { return p != nil && p.tending > 0 }

// find returns what holds a record, nil if nothing does.
func (p *parking) find(d *Delivery) *heldKey {
	if d.Key == nil {
		return p.alone[d.at]
	}
	return p.keys[string(d.Key)]
}

// hold returns a key, which is held from now on.
func (p *parking) hold(ref group.KeyRef) *heldKey {
	at := p.named(ref)
	if at == nil {
		at = &heldKey{ref: ref}
		if ref.Keyless {
			p.alone[ref.Offset] = at
		} else {
			p.keys[ref.Key] = at
		}
	}
	return at
}

func (p *parking) named(ref group.KeyRef) *heldKey {
	if ref.Keyless {
		return p.alone[ref.Offset]
	}
	return p.keys[ref.Key]
}

// know takes over what the group says is parked.
func (h *heldKey) know(k group.ParkedKey) {
	h.offsets = h.offsets[:0]
	for _, r := range k.Records {
		h.offsets = append(h.offsets, r.Offset)
	}
}

// free forgets a key.
func (p *parking) free(h *heldKey) {
	if h.ref.Keyless {
		delete(p.alone, h.ref.Offset)
	} else {
		delete(p.keys, h.ref.Key)
	}
}

// look has a key looked after.
func (p *parking) look(h *heldKey) {
	if h.again = true; !h.tended {
		h.tended = true
		p.due = append(p.due, h)
	}
}

// step tells whoever waits that some of the queue is parked.
func (p *parking) step() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// keyRef names the key of a record in the partition of its lane.
func (l *consumerLane) keyRef(d *Delivery) group.KeyRef {
	ref := group.KeyRef{Topic: l.Topic, Partition: l.Partition, Key: string(d.Key), Keyless: d.Key == nil}
	if ref.Keyless {
		ref.Offset = d.at
	}
	return ref
}

// divert says whether a record that was taken is not for a handler, and sees to it.
func (l *consumerLane) divert(d *Delivery) bool {
	if l.parking.empty() {
		return false
	}
	h := l.parking.find(d)
	if h == nil {
		return false
	}
	switch _, parked := slices.BinarySearch(h.offsets, d.at); {
	case parked: // it was delivered before
		l.done(d.ticket)
	case len(h.offsets) > 0 && d.at < h.offsets[0] && h.pending == 0: // it comes again, and is done, or fails, before those parked
		return false
	case h.closing:
		h.waiter, h.waits = l.window.Postpone(d.ticket, d)
	default:
		l.lineUp(h, d, nil)
	}
	return true
}

// lineUp puts a record behind those on their way into the parking. Its place in the
// window stays taken until it is there; the next of its key may come.
func (l *consumerLane) lineUp(h *heldKey, d *Delivery, failed error) {
	ticket, ok := l.window.Yield(d.ticket)
	if !ok {
		return
	}
	next := *d
	next.ticket = ticket
	p := l.parking
	i := &parkItem{key: h, d: &next, claim: l.claim, failed: failed, front: len(h.offsets) > 0 && d.at < h.offsets[0]}
	p.queue = append(p.queue, i)
	h.pending++
	if i.front {
		h.front++
	}
	if !p.storing {
		ctx := l.ctx
		p.storing = l.consumer.sys.Go(func(context.Context) { l.store(ctx, p) })
	}
}

// park sets the key of a record aside that has failed.
func (l *consumerLane) park(d *Delivery, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parking != nil {
		l.lineUp(l.parking.hold(l.keyRef(d)), d, err)
	}
	l.settleDown()
	l.handOut()
}

// loadParking asks the group what is parked, when nothing that an earlier start of
// the lane has told it is under way any more; again, if that changes meanwhile.
func (f *consumerFetch) loadParking() error {
	for again := true; again; {
		if err := f.awaitTold(); err != nil {
			return err
		}
		parked, err := f.askParked()
		if err != nil {
			return err
		}
		if again, err = f.takeParking(parked); err != nil {
			return err
		}
	}
	return nil
}

// awaitTold waits until the group has been told all that was to be told.
func (f *consumerFetch) awaitTold() error {
	l := f.lane
	for {
		l.mu.Lock()
		if l.telling == 0 {
			l.parkingChanged = false
			l.mu.Unlock()
			return nil
		}
		calm := l.calmness()
		l.mu.Unlock()
		select {
		case <-calm:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

func (f *consumerFetch) askParked() ([]group.ParkedKey, error) {
	ctx, cancel := context.WithTimeout(f.ctx, consumerAsk)
	defer cancel()
	return f.lane.group.parkedIn(ctx, f.lane.TopicPartition)
}

func (f *consumerFetch) takeParking(parked []group.ParkedKey) (again bool, err error) {
	l := f.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case f.run != l.run || l.leaving:
		return false, context.Canceled
	case l.parkingChanged:
		return true, nil
	}
	l.parking = newParking(parked)
	return false, nil
}

// keyChanged: somebody has done something to a parked key.
func (l *consumerLane) keyChanged(ref group.KeyRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parking == nil || l.leaving {
		l.parkingChanged = true // the group may have been asked, and is asked again
		return
	}
	l.parking.look(l.parking.hold(ref))
	l.handOut()
}

// tellGroup sends commands, one after the other until one fails, and returns how
// many went well. Nothing is sent any more when ctx has ended; so whoever starts the
// lane anew knows what was.
func (l *consumerLane) tellGroup(ctx context.Context, commands ...group.Command) (int, error) {
	l.mu.Lock()
	if err := ctx.Err(); err != nil || l.leaving {
		l.mu.Unlock()
		return 0, errors.Join(err, ErrMemberFenced)
	}
	l.telling++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.telling--
		l.settleDown()
	}()
	within, cancel := context.WithTimeout(ctx, consumerAsk)
	defer cancel()
	a, err := Ask[groupProgress](within, l.consumer.sys, l.group.pid, groupCommands{commands})
	if err != nil {
		return 0, err
	}
	return a.done, a.err
}
