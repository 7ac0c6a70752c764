package queue

import "slices"

// A chunk is shut when it is paged out while all that it has ready waits for other
// messages of their groups. Delivery passes it over until one of those groups is
// released: else it would be loaded only to be found blocked again, and push the
// chunk out that it was paged out for.

// shutGroups is up to how many groups a shut chunk knows that it waits for. One with
// more is looked at again after every release.
const shutGroups = 256

// shut is why a chunk is passed over.
type shut struct {
	levels uint32   // the priorities of what is blocked
	groups []uint64 // ascending; nil: too many
}

// isBlocked says whether all that a resident chunk has ready is blocked.
func (c *chunk) isBlocked() bool {
	return c.blocked > 0 && c.levels == 0 && !slices.ContainsFunc(c.slots, func(s slot) bool { return s.state == staged })
}

// shutOut shuts a chunk that is being paged out.
func (q *Queue) shutOut(c *chunk) {
	v := &shut{}
	for i := range c.slots {
		s := &c.slots[i]
		if s.state != blocked {
			continue
		}
		q.unseat(c, i)
		c.blocked--
		s.state = gone // as it is to the rest of what pages it out
		v.levels |= 1 << s.priority
		if place, found := slices.BinarySearch(v.groups, s.group); !found && len(v.groups) <= shutGroups {
			v.groups = slices.Insert(v.groups, place, s.group)
		}
	}
	if len(v.groups) > shutGroups {
		v.groups = nil
	}
	c.shut = v
	q.shut = append(q.shut, c)
}

// reopen lets delivery come to a shut chunk again.
func (q *Queue) reopen(c *chunk) {
	if c.shut == nil {
		return
	}
	levels := c.shut.levels
	q.forgetShut(c)
	for p := range uint8(MaxPriorities) {
		if levels&(1<<p) != 0 {
			q.raise(c, p)
		}
	}
}

// reopenFor reopens the chunks that wait for a group.
func (q *Queue) reopenFor(group uint64) {
	for i := len(q.shut) - 1; i >= 0; i-- {
		v := q.shut[i].shut
		if _, waits := slices.BinarySearch(v.groups, group); waits || v.groups == nil {
			q.reopen(q.shut[i])
		}
	}
}

func (q *Queue) forgetShut(c *chunk) {
	if c.shut != nil {
		c.shut = nil
		q.shut = slices.DeleteFunc(q.shut, func(o *chunk) bool { return o == c })
	}
}
