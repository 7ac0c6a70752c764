package queues

import (
	"slices"
	"sync"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/queue"
)

// holding is what a reader has read of its queue and not let go of: each message is in
// the job's state, or on its way there, until its acknowledgement is durable. Should it be
// delivered again meanwhile, it is recognized.
//
// A message begins as read. A complete checkpoint covers it: then it is acknowledged, with
// the delivery at hand, or with the next one if that came to nothing. It ends when the
// queue does not have it any more.
type holding struct {
	mu      sync.Mutex
	all     map[queue.Ref]held
	out     int    // with a delivery that is not acknowledged
	trail   []byte // the position: only ever appended to, or replaced
	added   spans  // since the trail was appended to
	refused bool   // the queue has refused an acknowledgement
}

type held struct {
	delivery *actor.QueueDelivery // nil: it is to come again
	covered  bool                 // by a complete checkpoint
	acked    bool                 // with this delivery
}

// newHolding holds what the state of a checkpoint has. position is where the job resumes.
func newHolding(position []byte, covered []queue.Ref) *holding {
	h := &holding{all: make(map[queue.Ref]held, len(covered)), trail: slices.Clip(position)}
	for _, ref := range covered {
		h.all[ref] = held{covered: true}
	}
	if len(h.trail) == 0 {
		h.trail = spans(nil).appendTo(nil)
	}
	return h
}

// take takes a delivery in. It returns false if the message is in the state already.
func (h *holding) take(d *actor.QueueDelivery) (fresh bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, known := h.all[d.Ref]
	if !known {
		h.added = h.added.add(d.Ref)
	}
	if e.delivery == nil || e.acked {
		h.out++
	}
	e.delivery, e.acked = d, false
	h.all[d.Ref] = h.acknowledged(e)
	return !known
}

// acknowledged acknowledges what is covered. If that comes too late, the message comes
// again. The lock is held.
func (h *holding) acknowledged(e held) held {
	if !e.covered || e.delivery == nil || e.acked {
		return e
	}
	h.out--
	if e.acked = e.delivery.Ack() == nil; !e.acked {
		e.delivery = nil
	}
	return e
}

// cover notes that a complete checkpoint has messages, and acknowledges them.
func (h *holding) cover(refs []queue.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ref := range refs {
		if e, known := h.all[ref]; known {
			e.covered = true
			h.all[ref] = h.acknowledged(e)
		}
	}
}

// ending returns those of some messages that are acknowledged, and those that are to be
// but have not been, as far as is known. sure: all acknowledgements are durable.
func (h *holding) ending(refs []queue.Ref, sure bool) (over, open []queue.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sure = sure && !h.refused
	h.refused = false
	for _, ref := range refs {
		switch e, known := h.all[ref]; {
		case !known:
		case e.acked && sure:
			over = append(over, ref)
		default:
			open = append(open, ref)
		}
	}
	return over, open
}

// refuse notes that the queue has refused an acknowledgement: nobody knows which.
func (h *holding) refuse(error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = true
}

// drop lets go of messages, and makes the position shorter.
func (h *holding) drop(refs []queue.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ref := range refs {
		if e := h.all[ref]; e.delivery != nil && !e.acked {
			h.out--
		}
		delete(h.all, ref)
	}
	before, _ := parsePosition(h.trail) // it is our own
	var rest spans
	for _, ref := range before {
		if _, still := h.all[ref]; still {
			rest = rest.add(ref)
		}
	}
	h.trail = rest.appendTo(nil)
}

// position is what is held. What it returns is never changed.
func (h *holding) position() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.added) > 0 {
		h.trail = h.added.appendTo(h.trail)
		h.added = h.added[:0]
	}
	return slices.Clip(h.trail)
}

// unacknowledged is how many messages are in hand.
func (h *holding) unacknowledged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out
}
