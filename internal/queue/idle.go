package queue

// A queue is unused while it has no consumers and nobody touches it.

// touch is a sign of use.
func (q *Queue) touch(now int64) {
	if len(q.order) == 0 {
		q.unused, q.reported = now, false
	}
}

// idle reports a queue that was unused for Config.Expires, once.
func (q *Queue) idle(now int64) {
	if len(q.order) > 0 {
		return
	}
	if q.unused == 0 {
		q.unused = now
	}
	if at := q.expiresAt(); at != 0 && at <= now {
		q.reported = true
		q.tell(Expired{Unused: true})
	}
}

// expiresAt is when the queue is to be reported as unused; 0: never.
func (q *Queue) expiresAt() int64 {
	if q.config.Expires == 0 || len(q.order) > 0 || q.reported || q.unused == 0 {
		return 0
	}
	return q.unused + q.config.Expires.Milliseconds()
}
