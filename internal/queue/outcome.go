package queue

import "time"

// Status says where a message is.
type Status uint8

// The statuses.
const (
	// StatusUnknown: it was not taken yet, or was never for this queue.
	StatusUnknown Status = iota
	StatusReady
	StatusDelayed
	StatusInFlight
	StatusDying // being dead-lettered
	StatusAcked
	StatusDead
	StatusExpired
	StatusDropped
	StatusMoved
	// StatusGone: it is not in the queue any more, or never was, and how it ended
	// is not remembered: see Limits.History. Messages that were purged end so.
	StatusGone
	statuses
)

var statusNames = [statuses]string{"unknown", "ready", "delayed", "in flight", "dying", "acked", "dead", "expired", "dropped", "moved", "gone"}

// String returns a word or two.
func (s Status) String() string {
	if s < statuses {
		return statusNames[s]
	}
	return "status out of range"
}

// Outcome is what a queue knows of one message.
type Outcome struct {
	Status   Status
	Consumer string // that has it, or has acknowledged it
	Tag      uint64 // of the delivery
	AtMs     int64  // delivered, settled, or due then, in Unix ms; 0: that is not known
	Reason   Reason // why it is dying or dead
	Attempts int    // that failed or were charged
	// Before is about how many messages of its log wait before it.
	Before int
}

// At is when the message was delivered, settled, or is due; the zero time if that is
// not known.
func (o Outcome) At() (t time.Time) {
	if o.AtMs != 0 {
		t = time.UnixMilli(o.AtMs)
	}
	return t
}

// Outcome says where a message is. The queue cannot tell a message from a record
// of the log that was not for it, when that is between messages which wait: ask
// about messages only. It costs as much as there are deliveries in flight and
// settlements remembered.
func (q *Queue) Outcome(ref Ref) Outcome {
	if p, found := q.history.find(ref); found {
		return p.outcome()
	}
	f := q.feed(ref.Log)
	if f == nil || ref.Offset >= f.next {
		return Outcome{}
	}
	c, i := q.find(ref)
	if c == nil {
		return Outcome{Status: StatusGone}
	}
	if i < 0 && c.isResident() {
		return Outcome{}
	}
	m, _ := c.mark(ref.Offset)
	o := Outcome{Status: StatusReady, Reason: m.reason, Attempts: m.attempts}
	switch {
	case q.flying(ref, &o):
	case m.reason != ReasonNone:
		o.Status, o.AtMs = StatusDying, m.last
	case i >= 0 && c.slots[i].state == delayed:
		o.Status, o.AtMs = StatusDelayed, c.slots[i].due
	case i < 0 && m.due > 0:
		o.Status, o.AtMs = StatusDelayed, m.due
	}
	if o.Status == StatusReady || o.Status == StatusDelayed {
		o.Before = f.before(c, ref.Offset)
	}
	return o
}

func (p *past) outcome() Outcome {
	return Outcome{Status: p.how.status(), Consumer: p.who, AtMs: p.at, Reason: p.why, Attempts: int(p.attempts)}
}

// Ended says how those of the messages have ended that the queue does not have any more;
// of the others the status is StatusUnknown. They are of one log, in order. It costs as
// much as one Outcome.
func (q *Queue) Ended(entries []Entry) []Outcome {
	all := make([]Outcome, len(entries))
	for i := range entries {
		if !q.Holds(entries[i].Ref) {
			all[i].Status = StatusGone
		}
	}
	q.history.each(entries, func(i int, p *past) {
		if all[i].Status == StatusGone {
			all[i] = p.outcome()
		}
	})
	return all
}

// flying looks for a message in the hands of consumers.
func (q *Queue) flying(ref Ref, o *Outcome) (found bool) {
	for _, k := range q.consumers {
		k.flights.each(func(d *flight) {
			if d.chunk != nil && d.ref() == ref {
				found = true
				o.Status, o.Consumer, o.Tag, o.AtMs = StatusInFlight, k.name, d.tag, d.at
			}
		})
	}
	return found
}

// before estimates how many messages wait before an offset.
func (f *feed) before(c *chunk, offset uint64) (n int) {
	for _, b := range f.chunks {
		if b == c {
			return n + int(uint64(max(c.waiting(), 0))*(offset-c.first)/(c.end-c.first))
		}
		n += b.waiting()
	}
	return n
}

func (h how) status() Status {
	switch h {
	case acked:
		return StatusAcked
	case dead:
		return StatusDead
	case expired:
		return StatusExpired
	case moved:
		return StatusMoved
	}
	return StatusDropped
}

// Holds says whether a message is in the queue: waiting, in flight, or being
// dead-lettered. As to records that were never for the queue, see Outcome.
func (q *Queue) Holds(ref Ref) bool {
	c, i := q.find(ref)
	return c != nil && (i >= 0 || !c.isResident())
}
