package queue

// stallMS is after how many milliseconds delivery is tried again that had no room
// to load what it needs.
const stallMS = 20

// wakeUp asks for a Tick at the next time that something is to happen.
func (q *Queue) wakeUp(now int64) {
	at := q.nextTime()
	if q.stalled && (at == 0 || at > now+stallMS) {
		at = now + stallMS
	}
	if at != 0 && (q.wake == 0 || at < q.wake || q.wake <= now) {
		q.wake = max(at, now+1)
		q.tell(Wake{q.wake})
	}
}

func (q *Queue) nextTime() (at int64) {
	sooner := func(t int64) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	if len(q.timers) > 0 {
		sooner(q.timers[0].at)
	}
	sooner(q.deadline)
	for i := 0; q.pulls > 0 && i < len(q.order); i++ {
		if k := q.order[i]; k.pulling && !q.awaits(k) {
			sooner(k.until)
		}
	}
	sooner(q.expiresAt())
	sooner(q.letters.next())
	return at
}
