package actor

import "time"

// What a queue has for the journal while nobody waits for it lingers, so that
// acknowledgements that come one by one share an append, and messages have the disk for
// themselves on their way in. A crash then has so many milliseconds of acknowledgements
// more to forget: their messages come again, as those do whose acknowledgement was on
// its way.
const (
	// journalLingers is how long at most.
	journalLingers = 5 * time.Millisecond
	// journalLingerBytes is from how many bytes on it does not.
	journalLingerBytes = 32 << 10
)

// lingered says that the time is over.
type lingered struct{}

// IgnoreDeadLetterLogging: the timer outlives the queue.
func (lingered) IgnoreDeadLetterLogging() {}

// journalLinger says whether the journal can wait.
type journalLinger struct {
	urgent bool // it cannot
	timed  bool // the timer runs
	timer  *time.Timer
}

// lingers says whether the queue's events are to wait for more.
func (q *queueActor) lingers() bool {
	return len(q.events) > 0 && len(q.events) < journalLingerBytes && !q.linger.urgent && !q.draining
}

// awaitMore sees to it that they do not wait for ever.
func (q *queueActor) awaitMore() {
	l := &q.linger
	switch {
	case l.timed:
		return
	case l.timer != nil:
		l.timer.Reset(journalLingers)
	default:
		sys, self := q.sys, q.self
		l.timer = time.AfterFunc(journalLingers, func() { sys.Send(self, lingered{}) })
	}
	l.timed = true
}

// lingered: the time is over. What is there is written.
func (q *queueActor) lingered() { q.linger.urgent, q.linger.timed = true, false }
