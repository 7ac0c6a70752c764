package actor

import (
	"sync"
	"sync/atomic"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/telemetry"
)

// queueTally counts what a queue's state does not. It is the actor's alone.
type queueTally struct {
	delivered uint64
	again     [queue.Causes]uint64  // of these
	dead      [queue.Reasons]uint64 // dead letters that are durable
}

// deliver counts messages on their way to a consumer.
func (t *queueTally) deliver(all []queue.Delivery) {
	t.delivered += uint64(len(all))
	for i := range all {
		if all[i].Redelivered {
			t.again[all[i].Cause]++
		}
	}
}

// die counts dead letters, by reason.
func (t *queueTally) die(why [queue.Reasons]uint64) {
	for i, n := range why {
		t.dead[i] += n
	}
}

// queueFigures are what metrics say of a queue. Its actor tells them at the end of a turn;
// so who collects them asks nobody, and waits for nobody. They outlast the actor.
type queueFigures struct {
	mu        sync.Mutex
	told      bool
	before    queue.Counts // when this process opened the queue
	now       queue.Counts
	tally     queueTally // of the actors that there were
	bytes     int64
	consumers int
	oldest    int64 // Unix ms; 0: nothing waits
	last      [len(queueEnds)]int64
	taken     int64
}

// opens: counters begin at what the queue had when the process opened it. When its actor
// has failed and reads its state again they go on.
func (f *queueFigures) opens(core *queue.Queue) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.told {
		f.told, f.before, f.now = true, core.Counts(), core.Counts()
	}
}

func (f *queueFigures) tell(q *queueActor) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now, f.bytes, f.consumers, f.oldest = q.core.Counts(), q.core.Waiting().Bytes, len(q.consumers), q.core.Oldest()
	f.tally.add(&q.tally)
}

// add takes what another has counted, which begins anew.
func (t *queueTally) add(o *queueTally) {
	if o.delivered == 0 && o.dead == ([queue.Reasons]uint64{}) {
		return
	}
	t.delivered += o.delivered
	for i, n := range o.again {
		t.again[i] += n
	}
	t.die(o.dead)
	*o = queueTally{}
}

// queueEnds are how messages leave a queue, and how many have.
var queueEnds = [...]struct {
	name string
	of   func(*queue.Counts) uint64
}{
	{"acked", func(c *queue.Counts) uint64 { return c.Acked }},
	{"dead", func(c *queue.Counts) uint64 { return c.Dead }},
	{"expired", func(c *queue.Counts) uint64 { return c.Expired }},
	{"dropped", func(c *queue.Counts) uint64 { return c.Dropped }},
	{"purged", func(c *queue.Counts) uint64 { return c.Purged }},
	{"moved", func(c *queue.Counts) uint64 { return c.Moved }},
	{"lost", func(c *queue.Counts) uint64 { return c.Lost }},
}

// measure says how the queue stands; false: this process has not opened it.
func (f *queueFigures) measure(name string) (s telemetry.QueueStats, told bool) {
	if f == nil {
		return s, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &f.now
	s = telemetry.QueueStats{Queue: name, Bytes: f.bytes, Consumers: int64(f.consumers), Oldest: f.oldest, Delivered: int64(f.tally.delivered),
		Messages: []telemetry.Part{{Name: "ready", N: int64(n.Ready)}, {Name: "delayed", N: int64(n.Delayed)}, {Name: "in_flight", N: int64(n.InFlight)}, {Name: "dying", N: int64(n.Dying)}}}
	f.taken = max(f.taken, int64(n.Taken-f.before.Taken))
	s.Published = f.taken
	for i, end := range queueEnds { // an actor that failed may know less than the one before did: counters do not go back
		f.last[i] = max(f.last[i], int64(end.of(n)-end.of(&f.before)))
		s.Settled = append(s.Settled, telemetry.Part{Name: end.name, N: f.last[i]})
	}
	for i, again := range f.tally.again {
		if again > 0 {
			s.Redelivered = append(s.Redelivered, telemetry.Part{Name: queue.Cause(i).String(), N: int64(again)})
		}
	}
	for i, dead := range f.tally.dead {
		if dead > 0 {
			s.DeadLetters = append(s.DeadLetters, telemetry.Part{Name: queue.Reason(i).String(), N: int64(dead)})
		}
	}
	return s, f.told
}

// exchangeFigures are what metrics say of an exchange, of all its publishers.
type exchangeFigures struct{ published, unroutable atomic.Uint64 }

// MeasureQueues adds what is known of the queues and exchanges that this process has
// opened, as of their last turns. It waits for nothing.
func (s *System) MeasureQueues(to *telemetry.Snapshot) {
	d := s.exchanges.open.Load()
	if d == nil {
		return
	}
	for _, q := range d.byName.all() {
		if stats, ok := q.figures.measure(q.name); ok {
			to.Queues = append(to.Queues, stats)
		}
	}
	for _, x := range d.exchanges.all() {
		if n, lost := x.figures.published.Load(), x.figures.unroutable.Load(); n+lost > 0 {
			to.Exchanges = append(to.Exchanges, telemetry.ExchangeStats{Exchange: x.label(), Published: int64(n), Unroutable: int64(lost)})
		}
	}
}

// label is what metrics call the exchange; the default one has no name of its own.
func (x *exchangeInfo) label() string {
	if x.name == "" {
		return "amq.default"
	}
	return x.name
}
