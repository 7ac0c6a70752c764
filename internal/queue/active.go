package queue

// elect chooses the consumer of a queue with a single active one: the first by
// priority and age. A newcomer of higher priority, or the next after one that was
// cancelled, has to wait until the one before has settled what it has.
func (q *Queue) elect() {
	if !q.config.SingleActive {
		q.active = nil
		return
	}
	if len(q.order) == 0 && q.active == nil || len(q.order) > 0 && q.order[0] == q.active {
		return
	}
	if q.active != nil && q.active.flights.n > 0 {
		return
	}
	if q.active = nil; len(q.order) > 0 {
		q.active = q.order[0]
		q.tell(Active{q.active.name})
	} else {
		q.tell(Active{})
	}
}

// mayHave says whether a consumer can be given a message now.
func (q *Queue) mayHave(k *consumer) bool {
	return k.hasRoom && (!q.config.SingleActive || k == q.active && k == q.order[0])
}
