package queue

import (
	"cmp"
	"fmt"
	"slices"
)

// refused is the error of a tag that is not in flight.
func (k *consumer) refused(tag uint64) error {
	if tag == 0 || tag >= k.flights.next {
		return fmt.Errorf("%w: %d; %q was given %d deliveries", ErrUnknownTag, tag, k.name, max(k.flights.next, 1)-1)
	}
	return &SettledError{k.name, tag, k.recalled.cause(tag)}
}

// named returns the consumer and the tags that a command names.
func (q *Queue) named(name string, tags []uint64, multiple bool) (*consumer, []uint64, error) {
	k, err := q.consumer(name)
	if err != nil {
		return nil, nil, err
	}
	tags, err = k.tagsOf(tags, multiple)
	return k, tags, err
}

// tagsOf returns the tags that a command names.
func (k *consumer) tagsOf(tags []uint64, multiple bool) ([]uint64, error) {
	if !multiple {
		return tags, nil
	}
	upTo := uint64(0)
	if len(tags) > 0 {
		upTo = slices.Max(tags)
	}
	if upTo >= max(k.flights.next, 1) {
		return nil, k.refused(upTo)
	}
	return k.flights.tags(upTo), nil
}

// land takes a delivery from its consumer. The message is in no state then: its
// group is held, and it is counted as live alone.
func (q *Queue) land(k *consumer, tag uint64) (flight, bool) {
	d, found := k.flights.remove(tag)
	if !found {
		return d, false
	}
	if d.chunk == nil {
		return d, true
	}
	d.chunk.out--
	q.count.InFlight--
	if d.probation {
		k.probation--
	}
	return d, true
}

func (q *Queue) ack(now int64, c Ack) error {
	k, tags, err := q.named(c.Consumer, c.Tags, c.Multiple)
	if err != nil {
		return err
	}
	refs := q.scratch[:0]
	for _, tag := range tags {
		d, found := q.land(k, tag)
		if !found {
			if err == nil {
				err = k.refused(tag)
			}
			continue
		}
		if d.chunk == nil {
			continue
		}
		refs = append(refs, d.ref())
		if d.group != 0 {
			q.release(d.group, d.ref())
		}
	}
	q.countRoom(k)
	q.end(now, refs, ended{how: acked, who: k.name})
	q.scratch = refs[:0]
	q.forgetIdle(k)
	return err
}

// end makes the events of messages that are gone from the queue, one for each log,
// or more if they are many. They must be in no state.
func (q *Queue) end(now int64, refs []Ref, e ended) {
	if !slices.IsSortedFunc(refs, compareRefs) {
		slices.SortFunc(refs, compareRefs)
	}
	e.at = now
	for len(refs) > 0 {
		n := 1
		for n < len(refs) && n < maxEnded && refs[n].Log == refs[0].Log {
			n++
		}
		e.feed, e.refs = q.feed(refs[0].Log), refs[:n]
		q.emit(&e)
		refs = refs[n:]
	}
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Offset, b.Offset))
}

func (q *Queue) nack(now int64, c Nack) error {
	k, tags, err := q.named(c.Consumer, c.Tags, c.Multiple)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		d, found := q.land(k, tag)
		switch {
		case !found:
			if err == nil {
				err = k.refused(tag)
			}
		case d.chunk == nil:
		case !c.Requeue:
			q.reject(now, d, c.Error)
		case c.Returned:
			q.giveBack(now, d, CauseReturned, max(c.Delay, 0).Milliseconds())
		default:
			q.fail(now, d, CauseFailed, c.Delay, c.Error)
		}
	}
	q.countRoom(k)
	q.forgetIdle(k)
	return err
}

// reject ends a message that its consumer does not want.
func (q *Queue) reject(now int64, d flight, text string) {
	q.charge(now, d, CauseFailed, 0)
	q.part(now, d.where(), d.group, ReasonRejected, text)
}

// takeBack takes deliveries from a consumer that crashed, was cancelled, or was too
// slow. Attempts are charged to what it had started, unless it gave it back.
func (q *Queue) takeBack(now int64, k *consumer, tags []uint64, cause Cause) {
	for _, tag := range tags {
		d, _ := q.land(k, tag)
		k.recalled.add(tag, cause)
		if d.chunk == nil {
			continue
		}
		if d.started && cause != CauseReturned {
			q.fail(now, d, cause, 0, "")
		} else {
			q.giveBack(now, d, CauseReturned, 0)
		}
	}
	q.countRoom(k)
}

func (q *Queue) extend(now int64, c Extend) error {
	k, err := q.consumer(c.Consumer)
	if err != nil {
		return err
	}
	if len(c.Tags) == 0 {
		k.flights.each(func(d *flight) { d.at = now })
		for tag, d := range k.flights.old {
			d.at = now
			k.flights.old[tag] = d
		}
	}
	for _, tag := range c.Tags {
		d, found := k.flights.get(tag)
		if !found {
			if err == nil {
				err = k.refused(tag)
			}
			continue
		}
		d.at = now
		k.flights.put(d)
	}
	return err
}

func (q *Queue) start(now int64, c Started) error {
	k, err := q.consumer(c.Consumer)
	if err != nil {
		return err
	}
	d, found := k.flights.get(c.Tag)
	if !found {
		return k.refused(c.Tag)
	}
	d.started, d.at = true, now
	if d.probation && !d.charged {
		d.charged = true
		q.charge(now, d, CauseCrash, 0)
	}
	k.flights.put(d)
	q.tell(Charged{k.name, c.Tag, int(d.attempt)})
	return nil
}
