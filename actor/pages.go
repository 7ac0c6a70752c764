package actor

import (
	"container/list"
	"slices"
	"sort"
	"sync"
)

// PageCacheBytes is how much a system keeps in memory of the logs of its queues: what was
// just published or is about to be delivered.
const PageCacheBytes = 64 << 20

// pages keeps the pages of logs that were used last, up to so many bytes. It is safe for
// concurrent use. Whoever has a page may keep it as long as he likes.
type pages struct {
	max int

	mu    sync.Mutex
	bytes int
	used  list.List                  // of *page, the newest use first
	logs  map[uint32][]*list.Element // in the order of their offsets; they do not overlap
}

func newPages(bytesMax int) *pages { return &pages{max: bytesMax, logs: map[uint32][]*list.Element{}} }

func pageOf(e *list.Element) *page { return e.Value.(*page) }

// behind is the place, among the pages of a log, of the first that ends behind an offset.
func behind(all []*list.Element, offset uint64) int {
	return sort.Search(len(all), func(i int) bool { return pageOf(all[i]).end > offset })
}

// find returns the page that covers an offset; nil when it is not in memory.
func (c *pages) find(log uint32, offset uint64) *page {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.logs[log]
	i := behind(all, offset)
	if i == len(all) || pageOf(all[i]).base > offset {
		return nil
	}
	c.used.MoveToFront(all[i])
	return pageOf(all[i])
}

// add keeps a page. Those that it overlaps go: compaction has put it in their place, or
// it is one that was read again.
func (c *pages) add(p *page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.logs[p.log]
	first := behind(all, p.base)
	last := first
	for last < len(all) && pageOf(all[last]).base < p.end {
		c.bytes -= pageOf(all[last]).bytes()
		c.used.Remove(all[last])
		last++
	}
	e := c.used.PushFront(p)
	c.bytes += p.bytes()
	if first == last {
		all = append(all, nil)
		copy(all[first+1:], all[first:])
	} else {
		all = slices.Delete(all, first+1, last)
	}
	all[first] = e
	c.logs[p.log] = all
	c.shrink()
}

// shrink lets the pages go that were not used for longest.
func (c *pages) shrink() {
	for c.bytes > c.max && c.used.Len() > 0 {
		p := c.used.Remove(c.used.Back()).(*page)
		c.bytes -= p.bytes()
		c.drop(p.log, behind(c.logs[p.log], p.base))
	}
}

// drop takes the page at a place out of those of its log. It is mostly the first.
func (c *pages) drop(log uint32, i int) {
	all := c.logs[log]
	switch {
	case len(all) == 1:
		delete(c.logs, log)
	case i == 0:
		all[0] = nil
		c.logs[log] = all[1:]
	default:
		copy(all[i:], all[i+1:])
		all[len(all)-1] = nil
		c.logs[log] = all[:len(all)-1]
	}
}

// forget lets all pages of a log go.
func (c *pages) forget(log uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.logs[log] {
		c.bytes -= pageOf(e).bytes()
		c.used.Remove(e)
	}
	delete(c.logs, log)
}

// size is how many bytes it holds.
func (c *pages) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
