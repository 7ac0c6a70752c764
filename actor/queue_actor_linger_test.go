package actor

import (
	"testing"
	"time"
)

// What nobody waits for is not written at once, and not never.
func TestJournalLingers(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		over := make(chan struct{}, 8)
		q := &queueActor{}
		q.linger.timer = time.AfterFunc(time.Hour, func() { over <- struct{}{} })
		q.linger.timer.Stop()
		write := func() { // as advance does
			q.events, q.linger.urgent = q.events[:0], false
		}
		requireLingers := func(what string, want bool) {
			t.Helper()
			got := q.lingers()
			if got {
				q.awaitMore()
			}
			if got != want {
				t.Errorf("%s: it lingers: %v", what, got)
			}
		}
		requireLingers("nothing to write", false)
		q.events = append(q.events, 1)
		began := time.Now()
		requireLingers("an acknowledgement", true)
		requireLingers("another one", true)
		<-over
		if took := time.Since(began); took != journalLingers {
			t.Errorf("it lingered for %v", took)
		}
		q.lingered()
		requireLingers("its time is over", false)
		write()

		q.events = append(q.events, 1)
		requireLingers("the next", true)
		q.durable = 0
		q.holdUntil(heldBack{after: 1, patient: true})
		requireLingers("its answer is not waited for", true)
		q.holdUntil(heldBack{after: 1})
		requireLingers("its answer is waited for", false)
		write()

		q.events = make([]byte, journalLingerBytes)
		requireLingers("many", false)
		q.events, q.draining = q.events[:1], true
		requireLingers("the queue ends", false)
		<-over
	})
}
