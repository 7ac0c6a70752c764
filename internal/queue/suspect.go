package queue

// Which messages may have been delivered is noted ahead of delivery, by priority:
// those of a log up to an offset. So the note is on disk before it is needed and
// delivers nothing late; and after a crash, what is before it and not settled is
// suspect: it may have been in the hands of a consumer, and may be what the
// process died of.

// reserve is such a note.
type reserve struct {
	priority uint8
	ahead    uint64
	upTo     uint64                          // messages before it may be delivered
	sequence uint64                          // of the event that says so
	before   struct{ upTo, sequence uint64 } // the note before the newest one
	suspects uint64                          // messages before it were maybe delivered before the last crash
}

func (f *feed) mark(priority uint8) *reserve {
	for i := range f.marks {
		if f.marks[i].priority == priority {
			return &f.marks[i]
		}
	}
	f.marks = append(f.marks, reserve{priority: priority})
	return &f.marks[len(f.marks)-1]
}

// reserve notes that a message is delivered, and some after it may be. It returns
// the number of the event that has to be durable before the delivery.
func (q *Queue) reserve(f *feed, priority uint8, offset uint64) uint64 {
	m := f.mark(priority)
	if offset+m.ahead/2 >= m.upTo {
		l := &q.config.Limits
		m.ahead = min(max(2*m.ahead, uint64(l.ReserveMin)), uint64(l.ReserveMax))
		q.emit(reserved{f, priority, offset + m.ahead})
	}
	if offset < m.before.upTo {
		return m.before.sequence
	}
	return m.sequence
}

// isSuspect says whether a message may have been what a consumer or the process
// crashed of. It was delivered before the last crash, maybe, and has not failed in
// an orderly way since; if it was not due by then it was not delivered.
func (q *Queue) isSuspect(c *chunk, i int) bool {
	s := &c.slots[i]
	epoch, due := uint64(0), s.due
	if c.marks != nil {
		m := c.marks[s.offset]
		if m.cause == CauseCrash || m.cause == CauseTimeout {
			return true
		}
		if epoch = m.epoch; m.cause == CauseReturned {
			due = 0 // what it was suspect of before, it is still
		}
	}
	return epoch < q.epoch && due <= q.recovered && s.offset < c.feed.suspectsBelow(s.priority)
}

func (f *feed) suspectsBelow(priority uint8) uint64 {
	for i := range f.marks {
		if f.marks[i].priority == priority {
			return f.marks[i].suspects
		}
	}
	return 0
}
