package actor

import (
	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/flow"
)

// outEdge is a wire's end at the sending task: for every task of the next
// chain a channel with its credit, and what waits for it. A task that has
// anything waiting takes no more input, and work that fills a channel with
// parcelsAhead stops half-way. What waits besides are the last parcels of each
// target, the watermark, and the barrier.
type outEdge struct {
	attempt  *attempt
	worker   *worker
	channels []outChannel
	waiting  int // channels with a queue
}

type outChannel struct {
	to     *pactor.PID
	input  int // number of the channel among the receiver's inputs
	credit flow.Sender
	queue  []*parcel
	stats  *edgeCounters
}

// Targets implements dataflow.Edge.
func (e *outEdge) Targets() int { return len(e.channels) }

// Send implements dataflow.Edge.
func (e *outEdge) Send(target int, p dataflow.Parcel) {
	c := &e.channels[target]
	m := &parcel{Parcel: p, input: c.input, attempt: e.attempt}
	if len(c.queue) == 0 && c.credit.Open() {
		e.post(c, m)
		return
	}
	if len(c.queue) == 0 {
		e.waiting++
	}
	c.queue = append(c.queue, m)
	c.stats.waiting.Store(int64(len(c.queue)))
	if e.worker.inside && len(c.queue) >= parcelsAhead {
		e.worker.pause()
	}
}

func (e *outEdge) post(c *outChannel, m *parcel) {
	c.credit.Sent(m.MailboxBytes())
	c.stats.credit.Store(int64(c.credit.Available()))
	e.attempt.sys.Send(c.to, m)
}

// granted sends what the new credit allows.
func (e *outEdge) granted(target int, g flow.Grant) {
	c := &e.channels[target]
	c.credit.Granted(g)
	c.stats.credit.Store(int64(c.credit.Available()))
	n := 0
	for n < len(c.queue) && c.credit.Open() {
		e.post(c, c.queue[n])
		c.queue[n] = nil
		n++
	}
	if n == 0 {
		return
	}
	c.queue = c.queue[n:]
	c.stats.waiting.Store(int64(len(c.queue)))
	if len(c.queue) == 0 {
		c.queue = nil
		e.waiting--
	}
}

// inChannel is a wire's end at the receiving task: one for each sending task.
type inChannel struct {
	head, channel int // of the dataflow.Task
	link          dataflow.Link
	sender        taskKey
	edge, target  int // of the sender
	credit        flow.Receiver
	queue         parcelQueue
	ended         bool
}

// parcelQueue is a queue that keeps its memory. Credit bounds its length.
type parcelQueue struct {
	items []*parcel
	next  int
}

func (q *parcelQueue) push(p *parcel) { q.items = append(q.items, p) }
func (q *parcelQueue) empty() bool    { return q.next == len(q.items) }

func (q *parcelQueue) pop() *parcel {
	p := q.items[q.next]
	q.items[q.next] = nil
	q.next++
	if q.empty() {
		q.items, q.next = q.items[:0], 0
	}
	return p
}

// inputs are all channels by which a task is fed.
type inputs struct {
	attempt  *attempt
	channels []inChannel
	turn     int
	live     int // channels that have not ended
}

// accept queues a parcel that has come in.
func (in *inputs) accept(p *parcel) { in.channels[p.input].queue.push(p) }

// next returns a channel that has a parcel and is not held back, in turn; -1
// when there is none.
func (in *inputs) next(blocked func(int) bool) int {
	for range in.channels {
		i := in.turn
		if in.turn++; in.turn == len(in.channels) {
			in.turn = 0
		}
		if !in.channels[i].queue.empty() && !blocked(i) {
			return i
		}
	}
	return -1
}

// consumed grants the sender new credit when that is due.
func (in *inputs) consumed(i, bytes int) {
	c := &in.channels[i]
	if g, due := c.credit.Consumed(bytes); due {
		in.attempt.sys.Send(in.attempt.tasks[c.sender], granted{edge: c.edge, target: c.target, grant: g})
	}
}

// end notes the end of a channel and says whether it was the last one.
func (in *inputs) end(i int) bool {
	if in.channels[i].ended {
		return false
	}
	in.channels[i].ended = true
	in.live--
	return in.live == 0
}
