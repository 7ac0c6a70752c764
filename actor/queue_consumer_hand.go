package actor

import (
	"sort"

	"github.com/troupestream/troupe/internal/queue"
)

// queueBatch is deliveries that came together, by ascending tags.
type queueBatch struct {
	run  *queueRun
	all  []QueueDelivery
	next int // the first that was not handed out
	open int // not settled
}

// queueHand is what a consumer has in its hands. The consumer's lock guards it.
type queueHand struct {
	batches map[*queueBatch]struct{} // in which something is open
	waiting []*queueBatch            // of which something was not handed out, in order
	fresh   int                      // messages that were not handed out
	open    int
}

func (h *queueHand) add(run *queueRun, arrivals []arrival) *queueBatch {
	b := &queueBatch{run: run, all: make([]QueueDelivery, len(arrivals)), open: len(arrivals)}
	for i := range arrivals {
		b.all[i].arrival, b.all[i].batch = &arrivals[i], b
	}
	h.batches[b] = struct{}{}
	h.waiting = append(h.waiting, b)
	h.fresh += len(arrivals)
	h.open += len(arrivals)
	return b
}

// probationNext says whether the next message is on probation.
func (h *queueHand) probationNext() bool {
	for _, b := range h.waiting {
		for i := b.next; i < len(b.all); i++ {
			if b.all[i].state == deliveryOpen {
				return b.all[i].Probation
			}
		}
	}
	return false
}

// take takes the next message out of those that wait; nil if there is none.
func (h *queueHand) take() *QueueDelivery {
	for len(h.waiting) > 0 {
		b := h.waiting[0]
		for b.next < len(b.all) {
			d := &b.all[b.next]
			b.next++
			if d.state == deliveryOpen {
				h.fresh--
				return d
			}
		}
		h.waiting[0] = nil
		h.waiting = h.waiting[1:]
	}
	h.waiting = nil // the memory of a burst
	return nil
}

// close ends a delivery, as settled or recalled.
func (h *queueHand) close(d *QueueDelivery, s deliveryState) {
	d.state = s
	h.open--
	if d.batch.open--; d.batch.open == 0 {
		delete(h.batches, d.batch)
	}
}

// find returns the delivery of a tag that is open; nil if there is none.
func (h *queueHand) find(tag uint64) (d *QueueDelivery, handed bool) {
	for b := range h.batches {
		i := sort.Search(len(b.all), func(i int) bool { return b.all[i].Tag >= tag })
		if i < len(b.all) && b.all[i].Tag == tag && b.all[i].state == deliveryOpen {
			return &b.all[i], i < b.next
		}
	}
	return nil, false
}

// recall closes a delivery that was taken back. It returns it if it was open.
func (h *queueHand) recall(tag uint64, cause queue.Cause) *QueueDelivery {
	d, handed := h.find(tag)
	if d == nil {
		return nil
	}
	if !handed {
		h.fresh--
	}
	d.cause = cause
	h.close(d, deliveryRecalled)
	return d
}

// upTo returns those that were handed out up to a tag, and are open.
func (h *queueHand) upTo(tag uint64) []*QueueDelivery {
	var all []*QueueDelivery
	for b := range h.batches {
		for i := range b.all[:b.next] {
			if d := &b.all[i]; d.Tag <= tag && d.state == deliveryOpen {
				all = append(all, d)
			}
		}
	}
	return all
}

// unannounced returns the tags of what was handed out since it was called last, and is
// open.
func (h *queueHand) unannounced() []uint64 {
	var tags []uint64
	for b := range h.batches {
		for i := range b.all[:b.next] {
			if d := &b.all[i]; !d.started && d.state == deliveryOpen {
				d.started = true
				tags = append(tags, d.Tag)
			}
		}
	}
	return tags
}

// drop forgets everything.
func (h *queueHand) drop() {
	clear(h.batches)
	h.waiting, h.fresh, h.open = nil, 0, 0
}
