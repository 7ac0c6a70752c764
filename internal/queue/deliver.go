package queue

// deliver hands out what can be handed out.
func (q *Queue) deliver(now int64) {
	q.elect()
	if q.paused.Delivery || q.held {
		return
	}
	for q.room > 0 && q.readyLevels() != 0 {
		k := q.candidate()
		if k == nil {
			break
		}
		c, i := q.next(now)
		if c == nil {
			break
		}
		suspect := q.isSuspect(c, i)
		if suspect && k.probation > 0 {
			if k = q.withoutProbation(); k == nil {
				break
			}
		}
		q.hand(now, k, c, i, suspect)
	}
	q.sendBatches()
}

// Hold stops deliveries, or lets them go on with the next command. It is for a moment in
// which messages must not get into the hands of consumers, and does not outlast a restart.
func (q *Queue) Hold(on bool) { q.held = on }

// candidate returns the consumer whose turn it is: of those with room, one of the
// highest priority; of these, the next in the round.
func (q *Queue) candidate() *consumer {
	return q.pick(q.mayHave)
}

func (q *Queue) withoutProbation() *consumer {
	return q.pick(func(k *consumer) bool { return q.mayHave(k) && k.probation == 0 })
}

// pick returns the first consumer that will do, of the highest priority that has
// one, and from the turn on.
func (q *Queue) pick(will func(*consumer) bool) *consumer {
	for _, r := range q.ranks {
		for n, i := r.from, max(r.from, min(q.turn, r.to)); n < r.to; n, i = n+1, i+1 {
			if i >= r.to {
				i -= r.to - r.from
			}
			if will(q.order[i]) {
				q.turn = i
				return q.order[i]
			}
		}
	}
	return nil
}

// rank is the consumers of one priority, by their places in Queue.order.
type rank struct{ from, to int }

// reorder follows a change of the consumers that are delivered to.
func (q *Queue) reorder() {
	q.turn, q.ranks = 0, q.ranks[:0]
	for i, k := range q.order {
		if i == 0 || k.priority != q.order[i-1].priority {
			q.ranks = append(q.ranks, rank{i, i})
		}
		q.ranks[len(q.ranks)-1].to++
	}
}

// mostAtOnce is for how many deliveries room is made at once. What one batch has no use
// for is for the next.
const mostAtOnce = 512

// hand gives a ready message to a consumer.
func (q *Queue) hand(now int64, k *consumer, c *chunk, i int, suspect bool) {
	s := &c.slots[i]
	q.takeReady(c, i)
	s.state = out
	c.out++
	q.count.InFlight++
	var m mark
	if c.marks != nil {
		m = c.marks[s.offset]
	}
	probation := suspect && !k.holds
	body := m.bodyOf(Ref{c.feed.log, s.offset})
	q.hold(s.group, Ref{c.feed.log, s.offset})
	d := k.flights.add()
	tag := d.tag
	*d = flight{tag: tag, chunk: c, offset: s.offset, group: s.group, at: now, expires: s.expires, bytes: s.bytes,
		priority: s.priority, attempt: uint32(m.attempts) + 1, probation: probation}
	if len(k.batch) == 0 {
		if cap(k.batch) == 0 {
			k.batch = make([]Delivery, 0, min(k.room()+1, q.count.Ready+1, mostAtOnce))
		}
		q.touched = append(q.touched, k)
	}
	cause := m.cause
	if suspect {
		if cause != CauseTimeout {
			cause = CauseCrash
		}
	}
	if probation {
		k.probation++
	}
	k.batch = append(k.batch, Delivery{Tag: tag, Ref: Ref{c.feed.log, s.offset}, Body: body, Bytes: s.bytes, Priority: s.priority,
		Redelivered: suspect || m.redelivered, Cause: cause, Probation: probation, Attempt: m.attempts + 1, Group: s.group})
	k.after = max(k.after, q.reserve(c.feed, s.priority, s.offset))
	if s.group != 0 { // nobody may have to do those before it again, after it
		k.after = max(k.after, q.current())
	}
	if k.pull {
		k.wanted--
	}
	q.watch(now, k)
	q.countRoom(k)
	q.turn++
	q.pinned = q.pinned[:0]
	q.levels.delivered(int(s.priority))
	q.loadAhead(c, int(d.priority))
}

// sendBatches lets the deliveries of the command go.
func (q *Queue) sendBatches() {
	for i, k := range q.touched {
		q.tell(Deliver{k.name, k.batch, k.after})
		k.batch = k.batch[len(k.batch):]
		q.touched[i] = nil
	}
	q.touched = q.touched[:0]
}
