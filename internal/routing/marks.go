package routing

// marks is a set of small numbers that is emptied in no time: a number is in it
// if its slot holds the number of the epoch.
type marks struct {
	slots []uint32
	epoch uint32
}

// reset empties the set.
func (m *marks) reset() {
	m.epoch++
	if m.epoch == 0 { // after 2^32 epochs the slots could lie
		clear(m.slots)
		m.epoch = 1
	}
}

// add says whether the number was not in the set, and puts it there.
func (m *marks) add(id uint32) bool {
	if int(id) >= len(m.slots) {
		m.slots = append(m.slots, make([]uint32, int(id)+1-len(m.slots))...)
	}
	if m.slots[id] == m.epoch {
		return false
	}
	m.slots[id] = m.epoch
	return true
}

// ids gives out small numbers, those first that were given back. So what is new
// may have the number of something that a router came to before it was removed,
// while the same message was under way; the router then takes the new for the
// old, and misses it. For that message the new one was not there yet.
type ids struct {
	next uint32
	free []uint32
}

func (i *ids) take() uint32 {
	if n := len(i.free); n > 0 {
		id := i.free[n-1]
		i.free = i.free[:n-1]
		return id
	}
	i.next++
	return i.next - 1
}

func (i *ids) give(id uint32) { i.free = append(i.free, id) }
