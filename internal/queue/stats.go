package queue

import "fmt"

// Counts returns the numbers of messages. It costs nothing. Between a restart and
// the loading of a chunk, how its messages divide into Ready and Delayed is an
// estimate; their sum is not.
func (q *Queue) Counts() Counts { return q.count }

// Dropped returns how many messages have parted, by reason, and were not dead-lettered since
// there is no dead-letter exchange. It begins at 0 with each start.
func (q *Queue) Dropped() [Reasons]uint64 { return q.dropped }

// Waiting returns how many messages wait, ready or delayed, and their bytes. The
// bytes are an estimate where Counts is one.
func (q *Queue) Waiting() Counter { return Counter{q.waiting(), q.bytes} }

// InHand returns how many deliveries a consumer has not settled.
func (q *Queue) InHand(consumer string) int {
	if k := q.consumers[consumer]; k != nil {
		return k.flights.n
	}
	return 0
}

// Paused says what is stopped.
func (q *Queue) Paused() Pause { return q.paused }

// Needed is the first offset of a log that the queue has a use for.
func (q *Queue) Needed(log uint32) uint64 {
	if f := q.feed(log); f != nil {
		return f.needed()
	}
	return 0
}

// Oldest is when the oldest message arrived, or one that was in a chunk with it;
// 0 if there is none.
func (q *Queue) Oldest() (at int64) {
	for _, f := range q.feeds {
		if len(f.chunks) > 0 && f.chunks[0].live > 0 && (at == 0 || f.chunks[0].arrived < at) {
			at = f.chunks[0].arrived
		}
	}
	return at
}

// Next is where a log is to be read on, 0 for one that nothing was taken of.
func (q *Queue) Next(log uint32) uint64 {
	if f := q.feed(log); f != nil {
		return f.next
	}
	return 0
}

// Logs returns the logs that the queue takes from, in order.
func (q *Queue) Logs() []uint32 {
	logs := make([]uint32, len(q.feeds))
	for i, f := range q.feeds {
		logs[i] = f.log
	}
	return logs
}

// Check checks that no message was lost or counted twice.
func (q *Queue) Check() error {
	n := q.count
	if n.Live != n.Ready+n.Delayed+n.InFlight+n.Dying {
		return fmt.Errorf("%d messages are live: %d ready, %d delayed, %d in flight, %d being dead-lettered", n.Live, n.Ready, n.Delayed, n.InFlight, n.Dying)
	}
	if ended := n.Acked + n.Dead + n.Expired + n.Dropped + n.Purged + n.Moved + n.Lost; n.Taken != ended+uint64(n.Live) {
		return fmt.Errorf("%d messages were taken: %d live, %d acked, %d dead, %d expired, %d dropped, %d purged, %d moved, %d lost",
			n.Taken, n.Live, n.Acked, n.Dead, n.Expired, n.Dropped, n.Purged, n.Moved, n.Lost)
	}
	return q.checkChunks()
}

func (q *Queue) checkChunks() error {
	live, delayed, flying, dying, bytes := 0, 0, 0, 0, int64(0)
	for _, f := range q.feeds {
		for _, c := range f.chunks {
			live, delayed, flying, dying, bytes = live+c.live, delayed+c.delayed, flying+c.out, dying+c.dying, bytes+c.bytes
			if err := c.check(); err != nil {
				return fmt.Errorf("log %d, from %d to %d: %w", f.log, c.first, c.end, err)
			}
		}
	}
	n := q.count
	if live != n.Live || delayed != n.Delayed || flying != n.InFlight || dying != n.Dying || bytes != q.bytes {
		return fmt.Errorf("chunks have %d live, %d delayed, %d in flight, %d being dead-lettered, %d bytes; the queue has %+v, %d bytes",
			live, delayed, flying, dying, bytes, n, q.bytes)
	}
	return nil
}

// check checks a chunk against its slots.
func (c *chunk) check() error {
	if c.live <= 0 || c.delayed < 0 || c.out < 0 || c.dying < 0 || c.bytes < 0 || c.waiting() < c.delayed {
		return fmt.Errorf("%d live, %d delayed, %d in flight, %d being dead-lettered, %d bytes", c.live, c.delayed, c.out, c.dying, c.bytes)
	}
	if !c.isResident() {
		return nil
	}
	var n [gone + 1]int
	for i := range c.slots {
		n[c.slots[i].state]++
	}
	lanes, levels := 0, uint32(0)
	for i := range c.lanes {
		l := &c.lanes[i]
		lanes += l.bits.count()
		if l.n > 0 {
			levels |= 1 << l.priority
		}
	}
	if levels != c.levels {
		return fmt.Errorf("lanes have the priorities %b, the chunk %b", levels, c.levels)
	}
	if n[ready] != lanes || n[ready]+n[blocked]+n[staged]+n[delayed]+n[out]+n[dying] != c.live || n[delayed] != c.delayed || n[out] != c.out || n[dying] != c.dying {
		return fmt.Errorf("slots %v (ready, blocked, staged, delayed, out, dying, gone), %d in lanes; the chunk has %d live, %d delayed, %d in flight, %d being dead-lettered",
			n, lanes, c.live, c.delayed, c.out, c.dying)
	}
	return nil
}

// Dying is how many messages are being dead-lettered.
func (q *Queue) Dying() int { return q.count.Dying }
