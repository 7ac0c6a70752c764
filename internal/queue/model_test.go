package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// fate of a message in the model.
type fate uint8

const (
	waits fate = iota
	flies
	dies
	over
)

// message is one in the naive model: everything about it in one place, nothing
// paged, nothing indexed.
type message struct {
	Entry
	fate     fate
	how      string
	who      string
	tag      uint64
	attempts int
	returned bool
	started  bool
	holds    bool // its group, since it was delivered first
	charged  bool
	due      int64 // of a retry
	exposed  uint64
	marked   bool // must be redelivered as such
}

// world is a queue, its logs, its journal, and the naive model of it.
type world struct {
	*rapid.T
	config Config
	q      *Queue
	now    int64
	logs   map[uint32][]*Entry // what is in them, nil where it is not for the queue
	offset uint64              // the first of every log
	late   bool                // loads are answered later
	loads  []Load

	all     map[Ref]*message
	durable map[Ref]message
	events  []byte
	synced  uint64 // sequence that is durable

	journal  [][]byte
	snapshot []byte
	covered  int

	consumers map[string]*hand
	born      int
	paused    Pause
	pausedD   Pause
	stopped   bool
	letters   []Ref
	delivered []*message // by the last command
	served    int        // loads of the last command
}

// hand is a consumer in the model.
type hand struct {
	Subscribe
	cancelled bool
	last      uint64
}

func newWorld(t *rapid.T, c Config) *world {
	q, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &world{T: t, config: q.config, q: q, now: 1_000_000, offset: 1000, logs: map[uint32][]*Entry{1: nil, 2: nil},
		all: map[Ref]*message{}, durable: map[Ref]message{}, consumers: map[string]*hand{}}
}

// do applies a command, and lets the model follow.
func (w *world) do(c Command) error {
	w.delivered, w.served = w.delivered[:0], 0
	err := w.apply(c)
	if err != nil { // then no time has passed
		w.apply(Tick{})
	}
	w.serve(w.late)
	w.settle()
	w.check()
	return err
}

func (w *world) apply(c Command) error {
	events, effects, err := w.q.Apply(w.now, c)
	if err != nil && !partial(c) && (len(events) > 0 || len(effects) > 0) {
		w.Fatalf("%T failed with %v and did something all the same", c, err)
	}
	w.events = append(w.events, events...)
	for _, e := range effects {
		w.follow(e)
	}
	if err := w.q.Check(); err != nil {
		w.Fatalf("after %T: %v", c, err)
	}
	return err
}

// serve answers loads, all of them or some.
func (w *world) serve(some bool) {
	for len(w.loads) > 0 {
		if some && rapid.Bool().Draw(w.T, "later") {
			return
		}
		l := w.loads[0]
		w.loads = w.loads[1:]
		if w.served++; w.served > 1000 {
			w.Fatalf("loading does not end: %v", l)
		}
		if err := w.apply(Loaded{l, w.read(l.Log, l.First, l.Next), 0}); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) read(log uint32, from, to uint64) (entries []Entry) {
	for _, e := range w.logs[log][from-w.offset : to-w.offset] {
		if e != nil {
			entries = append(entries, *e)
		}
	}
	return entries
}

// follow lets an effect happen in the model.
func (w *world) follow(e Effect) {
	switch e := e.(type) {
	case Load:
		w.loads = append(w.loads, e)
	case Deliver:
		for _, d := range e.Deliveries {
			w.deliver(w.consumers[e.Consumer], d, e.After)
		}
	case DeadLetter:
		for _, l := range e.Letters {
			m := w.all[l.Ref]
			if l.Reason == ReasonExpired && m.fate == waits {
				w.expire(m)
			} else if l.Reason == ReasonDeliveryLimit && m.fate == waits && w.spent(m) {
				w.end(m, "delivery-limit")
			} else if l.Reason == ReasonMaxLength && m.fate == waits {
				m.fate, m.how = dies, "maxlen"
			}
			if m.fate != dies || m.how != l.Reason.String() || m.attempts != l.Attempts {
				w.Fatalf("%v dies of %v after %d attempts; it is %+v", l.Ref, l.Reason, l.Attempts, m)
			}
			w.letters = append(w.letters, l.Ref)
		}
	case Recalled:
		for _, tag := range e.Tags {
			w.takeBack(e.Consumer, tag, true)
		}
	case Cancelled:
		if h := w.consumers[e.Consumer]; !h.cancelled || len(w.inHand(e.Consumer)) > 0 {
			w.Fatalf("%q is said to have nothing", e.Consumer)
		}
		delete(w.consumers, e.Consumer)
	}
}

func (w *world) deliver(h *hand, d Delivery, after uint64) {
	m := w.all[d.Ref]
	switch {
	case m == nil || m.fate != waits:
		w.Fatalf("%v is delivered; it is %+v", d.Ref, m)
	case h == nil || h.cancelled:
		w.Fatalf("%v is delivered to nobody", d.Ref)
	case d.Tag != h.last+1:
		w.Fatalf("tag %d comes after %d", d.Tag, h.last)
	case m.Due > w.now || m.due > w.now:
		w.Fatalf("%v is delivered at %d, and due at %d and %d", d.Ref, w.now, m.Due, m.due)
	case d.Attempt != m.attempts+1:
		w.Fatalf("%v is delivered as attempt %d after %d", d.Ref, d.Attempt, m.attempts)
	case m.marked && (!d.Redelivered || !d.Probation):
		w.Fatalf("%v was maybe delivered before a crash, and is delivered as %+v", d.Ref, d)
	case (m.attempts > 0 || m.returned) && !d.Redelivered:
		w.Fatalf("%v was delivered before, and is delivered as %+v", d.Ref, d)
	case m.Expires != 0 && m.Expires <= w.now && (m.attempts > 0 || m.Expires > m.Arrived):
		w.Fatalf("%v is delivered at %d, and expired at %d", d.Ref, w.now, m.Expires)
	}
	for _, o := range w.all {
		if w.config.SingleActive && o.fate == flies && o.who != h.Consumer {
			w.Fatalf("%v is delivered to %q, and %v is with %q", m.Ref, h.Consumer, o.Ref, o.who)
		}
		if m.Group != 0 && o.Group == m.Group && o.fate == flies {
			w.Fatalf("%v is delivered beside %v of the same group", m.Ref, o.Ref)
		}
	}
	h.last, m.holds = d.Tag, true
	m.fate, m.who, m.tag, m.exposed, m.charged, m.started = flies, h.Consumer, d.Tag, after, false, false
	if n := len(w.inHand(h.Consumer)); n > h.Prefetch {
		w.Fatalf("%q has %d, its prefetch is %d", h.Consumer, n, h.Prefetch)
	}
	w.delivered = append(w.delivered, m)
}

func (w *world) inHand(consumer string) (all []*message) {
	for _, m := range w.all {
		if m.fate == flies && m.who == consumer {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *message) int { return cmp.Compare(a.tag, b.tag) })
	return all
}

func (w *world) held(consumer string, tag uint64) *message {
	for _, m := range w.inHand(consumer) {
		if m.tag == tag {
			return m
		}
	}
	return nil
}

// end ends a message for a reason.
func (w *world) end(m *message, how string) {
	m.fate, m.how = over, how
	if w.config.DeadLetter {
		m.fate = dies
	}
}

func (w *world) expire(m *message) { w.end(m, "expired") }

// attempt is the number of the one that is being made.
func (m *message) attempt() int {
	if m.charged {
		return m.attempts
	}
	return m.attempts + 1
}

// fail has an attempt at a message fail.
func (w *world) fail(m *message, delay int64) {
	m.attempts = m.attempt()
	m.fate, m.marked, m.due = waits, false, 0
	if limit := w.config.DeliveryLimit; limit > 0 && m.attempts >= limit {
		w.end(m, "delivery-limit")
	} else if delay > 0 {
		m.due = w.now + delay
	}
}

// takeBack has a consumer lose a delivery.
func (w *world) takeBack(consumer string, tag uint64, charge bool) {
	m := w.held(consumer, tag)
	if charge && m.started {
		w.fail(m, w.config.Retry.delay(m.attempt(), m.Ref))
		return
	}
	w.giveBack(m, 0)
}

// giveBack puts a message back that was not tried.
func (w *world) giveBack(m *message, due int64) {
	if m.charged && w.spent(m) {
		w.end(m, "delivery-limit")
		return
	}
	m.fate, m.due, m.returned = waits, due, true
}

func (w *world) spent(m *message) bool {
	return w.config.DeliveryLimit > 0 && m.attempts >= w.config.DeliveryLimit
}

// taken says whether the queue has taken a message.
func (w *world) taken(m *message) bool { return m.Offset < w.q.Next(m.Log) }

// settle lets the model do what the queue does by itself.
func (w *world) settle() {
	if w.stopped || w.q.loading > 0 {
		return
	}
	for _, m := range w.all {
		if m.fate == waits && w.taken(m) && m.Expires != 0 && m.Expires <= w.now {
			w.expire(m)
		} else if m.fate == waits && w.taken(m) && w.spent(m) {
			w.end(m, "delivery-limit")
		}
	}
	if w.config.Overflow == DropHead {
		ready := w.waiting()
		slices.SortFunc(ready, func(a, b *message) int {
			return cmp.Or(cmp.Compare(dropRank(a, w.now), dropRank(b, w.now)), cmp.Compare(a.Arrived, b.Arrived), compareRefs(a.Ref, b.Ref))
		})
		for w.config.MaxLength >= 0 && len(ready) > w.config.MaxLength {
			w.end(ready[0], "maxlen")
			ready = ready[1:]
		}
	}
}

// dropRank orders what is dropped: what is ready by priority, then what is delayed.
func dropRank(m *message, now int64) int {
	if m.isDelayed(now) {
		return MaxPriorities
	}
	return int(m.Priority)
}

func (m *message) isDelayed(now int64) bool { return max(m.Due, m.due) > now }

func (w *world) waiting() (all []*message) {
	for _, m := range w.all {
		if m.fate == waits && w.taken(m) {
			all = append(all, m)
		}
	}
	return all
}

// check compares the queue with the model, and looks for what is out of order.
func (w *world) check() {
	if w.q.loading > 0 {
		return
	}
	n := w.count()
	got := w.q.Counts()
	got.Taken, got.Lost, got.Moved = 0, 0, 0
	if got != n {
		w.Fatalf("the queue counts %+v, the model %+v", got, n)
	}
	w.checkStates()
	w.checkOrder()
}

func (w *world) count() (n Counts) {
	for _, m := range w.all {
		switch {
		case m.fate != over && !w.taken(m):
		case m.fate == flies:
			n.InFlight++
		case m.fate == dies:
			n.Dying++
		case m.fate == waits && m.isDelayed(w.now):
			n.Delayed++
		case m.fate == waits:
			n.Ready++
		case m.how == "acked":
			n.Acked++
		case m.how == "dead":
			n.Dead++
		case m.how == "expired":
			n.Expired++
		case m.how == "purged":
			n.Purged++
		case m.fate == over:
			n.Dropped++
		}
	}
	n.Live = n.Ready + n.Delayed + n.InFlight + n.Dying
	return n
}

// checkStates compares message by message.
func (w *world) checkStates() {
	for ref, m := range w.all {
		if !w.taken(m) {
			continue
		}
		c, i := w.q.find(ref)
		if (c == nil) != (m.fate == over) {
			w.Fatalf("%v: in the queue is %v, in the model %+v", ref, c != nil, m)
		}
		if c == nil {
			continue
		}
		mk, _ := c.mark(ref.Offset)
		if mk.attempts != m.attempts || mk.redelivered != (m.attempts > 0 || m.returned) || (mk.reason != ReasonNone) != (m.fate == dies) {
			w.Fatalf("%v: the queue's mark is %+v, the model has %+v", ref, mk, m)
		}
		if !c.isResident() {
			continue
		}
		s := c.slots[i].state
		ok := s == dying && m.fate == dies || s == out && m.fate == flies || s.waits() && m.fate == waits && (s == delayed) == m.isDelayed(w.now)
		if !ok {
			w.Fatalf("%v: the queue has it in state %d, the model as %+v", ref, s, m)
		}
	}
}

// before is the strict order of delivery.
func before(a, b *message) bool {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Arrived, b.Arrived), compareRefs(a.Ref, b.Ref)) < 0
}

// checkOrder checks that nothing was delivered before something that could be, and
// that everything was delivered that could be.
func (w *world) checkOrder() {
	holders := map[uint64][]*message{}
	for _, m := range w.all {
		if m.Group != 0 && m.holds && (m.fate == flies || m.fate == waits) {
			holders[m.Group] = append(holders[m.Group], m)
		}
	}
	free := []*message{}
	for _, m := range w.waiting() {
		if h := holders[m.Group]; !m.isDelayed(w.now) && (len(h) == 0 || len(h) == 1 && h[0] == m) {
			free = append(free, m)
		}
	}
	for _, d := range w.delivered {
		for _, m := range free {
			if d.fate == flies && w.config.isStrict() && !w.config.FairTenants && before(m, d) && m.Due == 0 && m.due == 0 { // what was delayed may be still on its way in
				w.Fatalf("%v was delivered before %v; %d loads", d, m, w.served)
			}
		}
	}
	if len(free) > 0 && !w.paused.Delivery && !w.stopped && !w.q.stalled && !w.mayStall(free) {
		for name, h := range w.consumers {
			k := w.q.consumers[name]
			if n := len(w.inHand(name)); !h.cancelled && n < h.Prefetch && k.probation == 0 && (!w.config.SingleActive || k == w.q.active && k == w.q.order[0]) {
				w.Fatalf("%q has %d of %d, and %v waits; %s", name, n, h.Prefetch, free[0].Ref, w.memory())
			}
		}
	}
}

// mayStall: delivery looks past no more blocked messages than the resident chunks hold,
// as long as what they wait for is with a consumer, or delayed.
func (w *world) mayStall(free []*message) bool {
	back := slices.ContainsFunc(free, func(m *message) bool { return m.Group != 0 && m.holds })
	blocked := slices.ContainsFunc(w.q.resident, func(c *chunk) bool { return c.blocked > 0 })
	return !back && blocked && len(w.q.resident) >= w.q.mostResident()
}

// flush makes everything durable.
func (w *world) flush() {
	if len(w.loads) > 0 && !w.stopped { // else the model would not know all that is durable
		late := w.late
		w.late = false
		w.do(Tick{})
		w.late = late
	}
	if len(w.events) > 0 {
		w.journal = append(w.journal, slices.Clone(w.events))
		w.events = nil
	}
	w.synced = w.q.Sequence()
	w.pausedD = w.paused
	w.durable = map[Ref]message{}
	for ref, m := range w.all {
		w.durable[ref] = *m
	}
}

func (w *world) save() {
	w.flush()
	w.snapshot, _ = w.q.Snapshot()
	w.covered = len(w.journal)
}

// crash loses what is not durable, and restores the queue.
func (w *world) crash() {
	for ref, m := range w.all {
		d, found := w.durable[ref]
		if !found {
			d = message{Entry: m.Entry}
		}
		if m.fate == flies && m.exposed <= w.synced && d.fate != over && d.fate != dies && !w.stopped {
			d.marked = true
		}
		if d.fate == flies {
			d.fate, d.who = waits, ""
		}
		d.holds = d.due > 0
		*m = d
	}
	w.events, w.loads, w.letters, w.consumers = nil, nil, nil, map[string]*hand{}
	w.paused = w.pausedD
	q, err := New(w.config)
	if w.snapshot != nil {
		q, err = Restore(w.config, w.snapshot)
	}
	for _, entry := range w.journal[w.covered:] {
		if err == nil {
			err = q.Replay(entry)
		}
	}
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		w.Fatal(err)
	}
	w.q, w.synced, w.stopped = q, 0, false
	w.do(Recover{})
}

// take takes some of a log.
func (w *world) take(log uint32, n int) error {
	from := max(w.q.Next(log), w.offset)
	to := min(from+uint64(n), w.offset+uint64(len(w.logs[log])))
	entries := w.read(log, from, to)
	for _, e := range entries {
		if w.all[e.Ref] == nil {
			w.all[e.Ref] = &message{Entry: e}
		}
	}
	return w.do(Take{Log: log, Entries: entries, Next: to})
}

// publish appends to a log.
func (w *world) publish(log uint32, e *Entry) {
	if e != nil {
		e.Ref = Ref{log, w.offset + uint64(len(w.logs[log]))}
		e.Arrived = w.now
	}
	w.logs[log] = append(w.logs[log], e)
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.consumers)) }

func (m *message) String() string {
	e := m.Entry
	return fmt.Sprintf("%v (arrived %d, expires %d, due %d, group %d, priority %d; fate %d %s, at %q tag %d, attempts %d, returned %v, charged %v, due again %d)",
		e.Ref, e.Arrived, e.Expires, e.Due, e.Group, e.Priority, m.fate, m.how, m.who, m.tag, m.attempts, m.returned, m.charged, m.due)
}

// memory says which chunks there are, and what is in memory.
func (w *world) memory() (s string) {
	for _, f := range w.q.feeds {
		for _, c := range f.chunks {
			s += fmt.Sprintf("[%d:%d-%d arrived %d live %d levels %b resident %v open %v blocked %d out %d delayed %d head %v]", f.log, c.first, c.end, c.arrived,
				c.live, c.levels, c.isResident(), f.open == c, c.blocked, c.out, c.delayed, f.heads[0] == c)
		}
	}
	return s
}
