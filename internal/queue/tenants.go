package queue

import "slices"

// Fair shares between tenants: the ready messages of a priority are set aside by
// tenant, up to Limits.TenantWindow of them, and the tenants that have some take
// turns. A tenant with a long backlog so delays another by one message for each of
// its own, as long as the other's are within the window.

// tenants are those of one priority.
type tenants struct {
	byKey map[uint64]*tenant
	ring  []*tenant
	turn  int
	n     int // messages that are set aside
}

// tenant is one with ready messages.
type tenant struct {
	key   uint64
	seats []seat // in the order of delivery
}

func (q *Queue) tenantsOf(level int) *tenants {
	t := q.tenants[level]
	if t == nil {
		t = &tenants{byKey: map[uint64]*tenant{}}
		q.tenants[level] = t
	}
	return t
}

// readyLevels returns the priorities that have ready messages, set aside or not.
func (q *Queue) readyLevels() uint32 { return q.levels.mask | q.staged }

// nextFair is nextOf with tenants taking turns.
func (q *Queue) nextFair(now int64, level int) (*chunk, int) {
	t := q.tenantsOf(level)
	for {
		for t.n < q.config.Limits.TenantWindow {
			c, i := q.firstFit(now, level)
			if c == nil {
				break
			}
			if i < 0 {
				if t.n == 0 {
					return c, i
				}
				q.want(c, level)
				break
			}
			q.stage(t, c, i)
		}
		if t.n == 0 {
			return nil, 0
		}
		if c, i := q.unstageNext(t); q.fits(now, c, i) {
			return c, i
		}
	}
}

// stage sets a ready message aside with its tenant.
func (q *Queue) stage(t *tenants, c *chunk, i int) {
	s := &c.slots[i]
	q.hide(c, i)
	s.state = staged
	c.blocked++
	v := t.byKey[s.tenant]
	if v == nil {
		v = &tenant{key: s.tenant}
		t.byKey[s.tenant] = v
		t.ring = append(t.ring, v)
	}
	at := seat{c, s.offset, s.arrived, s.priority}
	place, _ := slices.BinarySearchFunc(v.seats, at, compareSeats)
	v.seats = slices.Insert(v.seats, place, at)
	t.n++
	q.staged |= 1 << s.priority
}

// unstageNext puts the first message of the tenant whose turn it is back among the
// ready ones, and returns it.
func (q *Queue) unstageNext(t *tenants) (*chunk, int) {
	if t.turn >= len(t.ring) {
		t.turn = 0
	}
	v := t.ring[t.turn]
	at := v.seats[0]
	i := at.chunk.index(at.offset)
	if q.unstage(at.chunk, i); t.turn < len(t.ring) && t.ring[t.turn] == v {
		t.turn++ // else the next one has its place
	}
	return at.chunk, i
}

// unstage puts a message that was set aside back among the ready ones.
func (q *Queue) unstage(c *chunk, i int) {
	s := &c.slots[i]
	t := q.tenantsOf(int(s.priority))
	v := t.byKey[s.tenant]
	place, found := slices.BinarySearchFunc(v.seats, seat{c, s.offset, s.arrived, s.priority}, compareSeats)
	if !found {
		return
	}
	if place == 0 {
		v.seats[0] = seat{}
		v.seats = v.seats[1:]
	} else {
		v.seats = slices.Delete(v.seats, place, place+1)
	}
	if t.n--; t.n == 0 {
		q.staged &^= 1 << s.priority
	}
	if len(v.seats) == 0 {
		t.forget(v)
	}
	q.show(c, i)
}

// forget takes a tenant without messages out of the round.
func (t *tenants) forget(v *tenant) {
	delete(t.byKey, v.key)
	i := slices.Index(t.ring, v)
	t.ring = slices.Delete(t.ring, i, i+1)
	if i < t.turn {
		t.turn--
	}
}

// unstageAll puts everything back.
func (q *Queue) unstageAll() {
	for _, t := range q.tenants {
		for t != nil && t.n > 0 {
			at := t.ring[0].seats[0]
			q.unstage(at.chunk, at.chunk.index(at.offset))
		}
	}
}
