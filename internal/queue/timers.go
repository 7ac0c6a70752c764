package queue

// timers is a heap of chunks by when something in them is due or expires.
type timers []*chunk

// schedule has a chunk looked at at a time, or earlier.
func (q *Queue) schedule(c *chunk, at int64) {
	if c.at == 0 || at < c.at {
		c.at = at
		q.timers.fix(c)
	}
}

// fix puts a chunk where it belongs after its time has changed.
func (h *timers) fix(c *chunk) {
	if c.at == 0 {
		h.remove(c)
		return
	}
	if c.place == 0 {
		*h = append(*h, c)
		c.place = len(*h)
	}
	h.down(h.up(c.place - 1))
}

func (h *timers) remove(c *chunk) {
	if c.place == 0 {
		return
	}
	i, last := c.place-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	c.place = 0
	if i < last {
		h.down(h.up(i))
	}
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h timers) up(i int) int {
	for i > 0 && h[i].at < h[(i-1)/2].at {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	return i
}

func (h timers) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].at < h[least].at {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
