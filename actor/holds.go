package actor

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/troupestream/troupe/internal/queue"
)

// holds is what the queues of this process still need of logs, so that partitions keep
// it. A queue needs what is in front of its durable snapshot and is not settled, and all
// behind it. It is safe for concurrent use.
//
// What is held is in memory alone: after a restart the queues say it anew, and until all
// of a log have, nothing of it is dropped. That a topic is held at all is noted with it.
type holds struct {
	mu     sync.Mutex
	queues map[uint32]map[uint32]*hold // by queue, and by log
}

// hold is what one queue needs of one log.
type hold struct {
	released uint64 // nothing before it, says a durable snapshot
	fed      uint64 // it was sent nothing from here on
	limit    uint64 // from here on it is not to have every record; 0: none
	// reached is up to where the feed of the queue has read the log; nil: it has none at
	// the moment.
	reached *atomic.Uint64
	bodies  uint64 // the first offset of bodies that were relocated to the log, and 1; 0: there are none
}

func newHolds() *holds { return &holds{queues: map[uint32]map[uint32]*hold{}} }

func (h *holds) of(log, queue uint32) *hold {
	logs := h.queues[queue]
	if logs == nil {
		logs = map[uint32]*hold{}
		h.queues[queue] = logs
	}
	if logs[log] == nil {
		logs[log] = new(hold)
	}
	return logs[log]
}

// release notes what a durable snapshot of a queue does not need any more, and what it has
// relocated.
func (h *holds) release(queue uint32, releases []queue.Release, relocated []queue.Move) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.queues[queue] {
		o.bodies = 0
	}
	for _, r := range releases {
		h.of(r.Log, queue).released = r.Before
	}
	for i := range relocated {
		h.of(relocated[i].To.Log, queue).keep(relocated[i].To.Offset)
	}
}

func (o *hold) keep(body uint64) {
	if o.bodies == 0 || body < o.bodies-1 {
		o.bodies = body + 1
	}
}

// keeps notes that a queue has the body of a message at an offset, from now on.
func (h *holds) keeps(log, queue uint32, offset uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(log, queue).keep(offset)
}

// sends notes, before that is so, that a queue is sent what a log has up to an offset. From
// limit on only what names the queue is for it; 0: there is none.
func (h *holds) sends(log, queue uint32, next uint64) (limit uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.of(log, queue)
	o.fed = max(o.fed, next)
	return o.limit
}

// limit ends, at an offset or where the queue is further by now, that it has every record
// of a log, and returns where that is.
func (h *holds) limit(log, queue uint32, at uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.of(log, queue)
	o.limit = max(at, o.fed)
	return o.limit
}

// unlimit is for a queue that is bound again, or was not unbound after all.
func (h *holds) unlimit(log, queue uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(log, queue).limit = 0
}

// forget is for a queue that is deleted.
func (h *holds) forget(queue uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.queues, queue)
}

// follows notes that a queue is fed from an offset on, and where its feed says how far it
// has read for all; nil: it is fed no more.
func (h *holds) follows(log, queue uint32, next uint64, reached *atomic.Uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.of(log, queue)
	o.fed, o.reached = max(o.fed, next), reached
}

// before is the first offset of a log that a queue needs. One that has released all that
// it was sent needs nothing of what its feed has read beyond: there was nothing for it.
func (h *holds) before(log, queue uint32) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.queues[queue][log]
	if o == nil {
		return 0
	}
	from := o.released
	if o.reached != nil && o.released >= o.fed {
		from = max(from, o.reached.Load())
	}
	if o.bodies != 0 {
		from = min(from, o.bodies-1)
	}
	return from
}

// release notes that a durable snapshot of a queue does not need what is before some
// offsets of its logs; relocated is what the queue has relocated by now. After a restart
// it is to be said of the snapshot that the queue was restored from.
func (s *System) release(queue uint32, releases []queue.Release, relocated []queue.Move) {
	s.holds.release(queue, releases, relocated)
	if d := s.exchanges.open.Load(); d != nil {
		d.released(queue, releases)
	}
}

// everything is how far a partition can be trimmed that no queue needs.
const everything = math.MaxUint64

// heldFrom is the first offset that a queue needs of a partition whose topic is held:
// everything, if none does. Where it is not known, because the queues have not all said
// it since they were opened, it is 0.
func (s *System) heldFrom(at logKey) uint64 {
	d := s.exchanges.open.Load()
	if d == nil {
		return 0
	}
	id, ok := d.logIDs.get(at)
	if !ok {
		return everything
	}
	return d.heldFrom(id)
}

// heldFrom is the first offset of a log that one of its queues needs.
func (d *queueDirectory) heldFrom(log uint32) uint64 {
	from := uint64(everything)
	for _, q := range d.queuesOf(log) {
		from = min(from, d.sys.holds.before(log, q.id))
	}
	return from
}

// queuesOf returns the queues that a log may have something for.
func (d *queueDirectory) queuesOf(log uint32) (all []*queueInfo) {
	shards, queues := map[int]bool{}, map[uint32]bool{}
	d.mu.Lock()
	for k := range d.feeds {
		if k.log == log {
			shards[k.shard] = shards[k.shard] || k.queue == 0
			queues[k.queue] = true
		}
	}
	d.mu.Unlock()
	if len(shards) == 0 {
		return nil
	}
	for _, q := range d.byName.all() {
		if shards[q.shard] || queues[q.id] {
			all = append(all, q)
		}
	}
	return all
}
