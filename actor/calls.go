package actor

import (
	"maps"
	"slices"
	"sync"
)

// calls are the calls of user code that are under way: when a job does not end,
// they say why.
type calls struct {
	mu     sync.Mutex
	active map[string]int
}

// call is one of them.
type call struct {
	of  *calls
	who string
}

func (c *calls) enter(who string) call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == nil {
		c.active = map[string]int{}
	}
	c.active[who]++
	return call{c, who}
}

func (c call) leave() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.of.active[c.who]--; c.of.active[c.who] == 0 {
		delete(c.of.active, c.who)
	}
}

// names says who is being called, sorted.
func (c *calls) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.active))
}
