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

// lingers says whether the queue's events are to wait for more, and sees to it that they
// do not wait for ever.
func (q *queueActor) lingers() bool {
	sys, self := q.sys, q.self
	return q.lingersUntil(func() { sys.Send(self, lingered{}) })
}

func (q *queueActor) lingersUntil(over func()) bool {
	l := &q.linger
	if len(q.events) == 0 || len(q.events) >= journalLingerBytes || l.urgent || q.draining {
		return false
	}
	if l.timed {
		return true
	}
	l.timed = true
	if l.timer == nil {
		l.timer = time.AfterFunc(journalLingers, over)
	} else {
		l.timer.Reset(journalLingers)
	}
	return true
}

// lingered: the time is over. What is there is written.
func (q *queueActor) lingered() { q.linger.urgent, q.linger.timed = true, false }
