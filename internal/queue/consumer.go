package queue

import (
	"cmp"
	"fmt"
	"slices"
)

// consumer is who deliveries go to.
type consumer struct {
	name      string
	prefetch  int
	priority  int
	born      uint64
	exclusive bool
	cancelled bool // is given nothing more, and is forgotten when it has nothing
	hasRoom   bool

	pull      bool
	wanted    int   // by its Pull
	until     int64 // of its Pull
	pulling   bool
	probation int // deliveries on probation that it has
	holds     bool

	flights  flights
	deadline int64 // no settle timeout comes before; 0: there is none
	recalled recalled

	batch []Delivery // of the command that is being applied
	after uint64     // see Deliver
}

// room is how many messages the consumer can be given now.
func (k *consumer) room() int {
	n := k.prefetch - k.flights.n
	if k.cancelled {
		return 0
	}
	if k.pull {
		n = min(n, k.wanted)
	}
	return max(n, 0)
}

// countRoom keeps the number of consumers with room.
func (q *Queue) countRoom(k *consumer) {
	has := k.room() > 0
	if has == k.hasRoom {
		return
	}
	k.hasRoom = has
	if has {
		q.room++
	} else {
		q.room--
	}
}

func (q *Queue) subscribe(now int64, c Subscribe) error {
	l := &q.config.Limits
	switch {
	case c.Consumer == "" || len(c.Consumer) > l.NameBytes:
		return fmt.Errorf("%w: a consumer's name has 1 to %d bytes (limit NameBytes), not %d", ErrInvalid, l.NameBytes, len(c.Consumer))
	case q.consumers[c.Consumer] != nil:
		return fmt.Errorf("%w: there is a consumer %q already; every start of one needs another name", ErrInvalid, c.Consumer)
	case len(q.consumers) >= l.Consumers:
		return fmt.Errorf("%w: the queue has %d consumers, the limit Consumers is %d", ErrLimit, len(q.consumers), l.Consumers)
	case c.Prefetch < 0 || c.Prefetch > l.Prefetch:
		return fmt.Errorf("%w: a prefetch of %d, the limit Prefetch is %d", ErrLimit, c.Prefetch, l.Prefetch)
	}
	for _, k := range q.order {
		if k.exclusive || c.Exclusive {
			return fmt.Errorf("%w: %q consumes it; cancel that first", ErrExclusive, k.name)
		}
	}
	orDefault(&c.Prefetch, defaultPrefetch)
	q.born++
	k := &consumer{name: c.Consumer, prefetch: c.Prefetch, priority: c.Priority, born: q.born, exclusive: c.Exclusive, pull: c.Pull, holds: c.Holds}
	q.consumers[k.name] = k
	place, _ := slices.BinarySearchFunc(q.order, k, func(a, b *consumer) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.born, b.born))
	})
	q.order = slices.Insert(q.order, place, k)
	q.reorder()
	q.unused, q.reported = 0, false
	q.countRoom(k)
	return nil
}

// consumer returns the one that sent a command.
func (q *Queue) consumer(name string) (*consumer, error) {
	k := q.consumers[name]
	if k == nil {
		return nil, fmt.Errorf("%w: %q; what it had was given back: subscribe again with another name", ErrUnknownConsumer, name)
	}
	return k, nil
}

func (q *Queue) pull(now int64, c Pull) error {
	k, err := q.consumer(c.Consumer)
	switch {
	case err != nil:
		return err
	case !k.pull || k.cancelled:
		return fmt.Errorf("%w: %q did not subscribe with Pull, or was cancelled", ErrInvalid, k.name)
	case c.N <= 0:
		return fmt.Errorf("%w: %d messages are pulled", ErrInvalid, c.N)
	}
	if !k.pulling {
		k.pulling = true
		q.pulls++
	}
	k.wanted, k.until = c.N, c.Until
	q.countRoom(k)
	return nil
}

// awaits says whether messages are being loaded that a consumer may be given: a pull
// waits for those, also beyond its time, or one for what is there at once would find
// nothing after a restart.
func (q *Queue) awaits(k *consumer) bool {
	return q.loading > 0 && q.readyLevels() != 0 && !q.paused.Delivery && q.mayHave(k)
}

// endPulls ends the pulls that are filled or whose time is up.
func (q *Queue) endPulls(now int64) {
	for i := 0; q.pulls > 0 && i < len(q.order); i++ {
		if k := q.order[i]; k.pulling && (k.wanted == 0 || k.until <= now && !q.awaits(k)) {
			q.endPull(k)
		}
	}
}

func (q *Queue) endPull(k *consumer) {
	q.tell(Pulled{k.name, k.wanted})
	k.wanted, k.pulling = 0, false
	q.pulls--
	q.countRoom(k)
}

func (q *Queue) cancel(now int64, c Cancel) error {
	k, err := q.consumer(c.Consumer)
	if err != nil {
		return err
	}
	if c.Requeue {
		q.takeBack(now, k, k.flights.tags(0), CauseReturned)
	}
	if !k.cancelled {
		k.cancelled = true
		q.retire(now, k)
	}
	q.forgetIdle(k)
	return nil
}

// retire takes a consumer out of those that are delivered to.
func (q *Queue) retire(now int64, k *consumer) {
	q.order = slices.DeleteFunc(q.order, func(o *consumer) bool { return o == k })
	q.reorder()
	if k.pulling {
		q.endPull(k)
	}
	q.countRoom(k)
	if len(q.order) == 0 {
		q.unused = now
	}
	if q.config.AutoDelete && !k.pull && !slices.ContainsFunc(q.order, func(o *consumer) bool { return !o.pull }) {
		q.tell(Expired{})
	}
}

// forgetIdle forgets a cancelled consumer that has nothing in flight.
func (q *Queue) forgetIdle(k *consumer) {
	if k.cancelled && k.flights.n == 0 && q.consumers[k.name] == k {
		delete(q.consumers, k.name)
		q.tell(Cancelled{k.name})
	}
}

func (q *Queue) gone(now int64, c Gone) error {
	k, err := q.consumer(c.Consumer)
	if err != nil {
		return err
	}
	q.takeBack(now, k, k.flights.tags(0), CauseCrash)
	delete(q.consumers, k.name)
	if !k.cancelled {
		k.cancelled = true
		q.retire(now, k)
	}
	return nil
}

// recalled remembers the newest tags that were taken back from a consumer.
type recalled struct {
	tags []uint64 // a ring
	next int
	why  []Cause
}

const rememberedRecalls = 1024

func (r *recalled) add(tag uint64, why Cause) {
	if len(r.tags) < rememberedRecalls {
		r.tags, r.why = append(r.tags, tag), append(r.why, why)
		return
	}
	r.tags[r.next], r.why[r.next] = tag, why
	r.next = (r.next + 1) % rememberedRecalls
}

func (r *recalled) cause(tag uint64) Cause {
	if i := slices.Index(r.tags, tag); i >= 0 {
		return r.why[i]
	}
	return CauseNone
}

// byAge returns all consumers, also those that were cancelled.
func (q *Queue) byAge() []*consumer {
	all := make([]*consumer, 0, len(q.consumers))
	for _, k := range q.consumers {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *consumer) int { return cmp.Compare(a.born, b.born) })
	return all
}
