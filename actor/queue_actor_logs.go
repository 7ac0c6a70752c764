package actor

import (
	"cmp"
	"fmt"
	"slices"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// queueTakes is how many messages the core is given at once.
const queueTakes = 65_536

// follow asks a feed for what its log has for the queue.
func (q *queueActor) follow(log uint32, feed *pactor.PID) {
	if q.draining {
		return
	}
	q.tell(feed, follow{queue: q.info.id, run: q.run, pid: q.self, next: q.core.Next(log)})
}

// take brings what a log has for the queue. What it has seen is left out: a feed begins
// again where it was told, and something may have been under way.
func (q *queueActor) take(m fed) {
	if m.run != q.run || q.draining {
		return
	}
	begun := q.core.Next(m.log)
	n, _ := slices.BinarySearchFunc(m.entries, begun, func(e queue.Entry, at uint64) int { return cmp.Compare(e.Offset, at) })
	if m.next > begun {
		q.takeAll(m.log, m.entries[n:], m.next)
		if begun != 0 {
			begun = m.next - begun
		}
		q.snapshot.took(begun, m.page == nil)
	}
	releaseEntries(m.entries)
	q.measure()
	q.tell(m.feed, fedTaken{q.info.id, q.run, m.next})
}

func (q *queueActor) takeAll(log uint32, entries []queue.Entry, last uint64) {
	var fresh queue.Counter
	for i := range entries {
		e := &entries[i]
		q.snapshot.bytes += int64(e.Bytes)
		if e.Arrived >= q.sys.shards.since {
			fresh.Messages++
			fresh.Bytes += int64(e.Bytes)
		}
	}
	for {
		n, next := len(entries), last
		if n > queueTakes {
			n, next = queueTakes, entries[queueTakes-1].Offset+1
		}
		if err := q.apply(queue.Take{Log: log, Entries: entries[:n], Next: next}); err != nil {
			panic(fmt.Errorf("queue %s: %w", q.info.name, err))
		}
		if entries = entries[n:]; len(entries) == 0 {
			break
		}
	}
	q.waiting = q.core.Waiting()
	q.info.admission.indexed(fresh.Messages, fresh.Bytes, q.waiting)
}
