package queue

import (
	"math"
	"time"
)

// delay is how long a message waits after so many failed attempts.
func (r *Retry) delay(attempts int, ref Ref) int64 {
	if r.First <= 0 {
		return 0
	}
	d := float64(r.First) * math.Pow(r.Factor, float64(max(attempts-1, 0)))
	ms := min(d, float64(r.Max)) / float64(time.Millisecond)
	if r.Jitter > 0 {
		ms *= 1 - r.Jitter*chance(r.Seed, ref, attempts)
	}
	return max(int64(ms), 1)
}

// chance is a number from 0 to 1 that is the same for the same attempt at the same
// message. The mixing is that of splitmix64 (Steele, Lea, Flood 2014).
func chance(seed uint64, ref Ref, attempts int) float64 {
	x := mix(seed ^ mix(uint64(ref.Log)<<32^uint64(attempts)) ^ mix(ref.Offset))
	return float64(x>>11) / (1 << 53)
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// charge notes that an attempt at a message has failed, or is going to be made
// although the one before crashed. What was charged at its start is not charged
// again at its end.
func (q *Queue) charge(now int64, d flight, cause Cause, due int64) {
	group := uint64(0)
	if due > 0 {
		group = d.group
	}
	q.emit(failed{d.chunk.feed, d.offset, int(d.attempt), cause, now, due, group})
}

// fail puts a message whose attempt failed back in its place, to be tried again
// after a while, or ends it, with what was wrong, when it was tried too often.
func (q *Queue) fail(now int64, d flight, cause Cause, delay time.Duration, text string) {
	wait := delay.Milliseconds()
	switch {
	case delay == 0:
		wait = q.config.Retry.delay(int(d.attempt), d.ref())
	case delay > 0:
		wait = max(wait, 1)
	}
	due := int64(0)
	if wait > 0 {
		due = now + wait
	}
	if q.config.isEnough(int(d.attempt)) {
		q.charge(now, d, cause, 0)
		q.part(now, d.where(), d.group, ReasonDeliveryLimit, text)
		return
	}
	q.charge(now, d, cause, due)
	q.putBack(now, d, due)
}

// isEnough says whether so many attempts are enough.
func (c *Config) isEnough(attempts int) bool {
	return c.DeliveryLimit > 0 && attempts >= c.DeliveryLimit
}

// isSpent says whether a message that waits has been tried often enough: the
// process died at the last attempt, or the limit was lowered.
func (q *Queue) isSpent(c *chunk, i int) bool {
	return c.marks != nil && q.config.isEnough(c.marks[c.slots[i].offset].attempts)
}

// stopTrying ends a message that waits.
func (q *Queue) stopTrying(now int64, c *chunk, i int) {
	w, group := c.where(i), c.slots[i].group
	q.takeWaiting(c, i)
	q.part(now, w, group, ReasonDeliveryLimit, "")
}

// giveBack puts a message that was not worked on back in its place. One that was
// charged for its last attempt is not tried again.
func (q *Queue) giveBack(now int64, d flight, cause Cause, wait int64) {
	if d.charged && q.config.isEnough(int(d.attempt)) {
		q.part(now, d.where(), d.group, ReasonDeliveryLimit, "")
		return
	}
	due, group := int64(0), uint64(0)
	if wait > 0 {
		due, group = now+wait, d.group
	}
	q.emit(returned{d.chunk.feed, d.offset, cause, due, group})
	q.putBack(now, d, due)
}

func (q *Queue) putBack(now int64, d flight, due int64) {
	w := d.where()
	if q.isLost(w) {
		q.lose(w, d.group)
		return
	}
	if d.expires != 0 {
		q.schedule(w.chunk, d.expires)
	}
	if due > now {
		q.makeDelayed(w, due)
	} else {
		q.makeReady(w)
		q.isBack(d.group, d.ref())
	}
}

// isLost says whether the record of a message that was in flight was not there any
// more when its chunk was loaded.
func (q *Queue) isLost(w where) bool { return w.index < 0 && w.chunk.isResident() }

// lose counts such a message as lost. It must be in no state.
func (q *Queue) lose(w where, group uint64) {
	c := w.chunk
	ref := Ref{c.feed.log, w.offset}
	delete(c.marks, w.offset)
	q.emit(lost{c.feed, w.offset, w.offset + 1, 1})
	if c.live == 0 {
		q.drop(c)
	}
	q.release(group, ref)
}
