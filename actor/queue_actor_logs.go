package actor

import (
	"fmt"

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

// take brings what a log has for the queue.
func (q *queueActor) take(m fed) {
	if m.run != q.run || q.draining {
		return
	}
	before, all, fresh := q.core.Next(m.log), queue.Counter{}, queue.Counter{}
	for i := range m.entries {
		e := &m.entries[i]
		add(&all, e)
		if e.Arrived >= q.sys.shards.since {
			add(&fresh, e)
		}
	}
	for rest := m.entries; ; {
		n, next := len(rest), m.next
		if n > queueTakes {
			n, next = queueTakes, rest[queueTakes-1].Offset+1
		}
		if err := q.apply(queue.Take{Log: m.log, Entries: rest[:n], Next: next}); err != nil {
			panic(fmt.Errorf("queue %s: %w", q.info.name, err))
		}
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
	}
	if before != 0 {
		before = m.next - before
	}
	q.snapshot.took(before, all.Bytes)
	q.waiting = q.core.Waiting()
	q.info.admission.indexed(fresh.Messages, fresh.Bytes, q.waiting)
	q.measure()
	q.tell(m.feed, fedTaken{q.info.id, q.run, m.next})
}

func add(c *queue.Counter, e *queue.Entry) {
	c.Messages++
	c.Bytes += int64(e.Bytes)
}
