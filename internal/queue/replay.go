package queue

import "fmt"

// replay delivers messages to one consumer again, whatever became of them. The
// deliveries have tags of their own and count in its prefetch; settling them, or
// the end of the consumer, ends them and changes nothing else.
func (q *Queue) replay(now int64, c Replay) error {
	k, err := q.consumer(c.Consumer)
	switch {
	case err != nil:
		return err
	case k.cancelled:
		return fmt.Errorf("%w: %q was cancelled", ErrInvalid, k.name)
	case len(c.Entries) > k.prefetch-k.flights.n:
		return fmt.Errorf("%w: %q has room for %d of %d messages: replay them in parts", ErrLimit, k.name, max(k.prefetch-k.flights.n, 0), len(c.Entries))
	}
	batch := make([]Delivery, len(c.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		d := k.flights.add()
		*d = flight{tag: d.tag, offset: e.Offset, at: now, bytes: e.Bytes, priority: e.Priority, attempt: 1}
		batch[i] = Delivery{Tag: d.tag, Ref: e.Ref, Body: e.Ref, Bytes: e.Bytes, Priority: e.Priority,
			Redelivered: true, Cause: CauseReplay, Attempt: 1, Group: e.Group}
	}
	if len(batch) > 0 {
		q.watch(now, k)
	}
	q.countRoom(k)
	if len(batch) > 0 {
		q.tell(Deliver{k.name, batch, 0})
	}
	return nil
}
