package actor

import "sort"

// block is one stored batch as bytes.
type block struct {
	seq  uint64
	base uint64
	end  uint64 // offset after its last record
	log  uint64 // id of the compacted log it is from; 0: the head
	gap  bool   // compaction has taken away what was in front of it
	data []byte
}

// tailCache keeps the newest batches of a partition, so that readers at the tail
// are served without touching the store. It holds at most max bytes, but always
// the newest batch. Readers share the bytes; nobody may change them.
type tailCache struct {
	max    int
	bytes  int
	blocks []block // oldest first
}

func (c *tailCache) add(n block) {
	c.blocks = append(c.blocks, n)
	c.bytes += len(n.data)
	for len(c.blocks) > 1 && c.bytes > c.max {
		c.bytes -= len(c.blocks[0].data)
		c.blocks[0].data = nil
		c.blocks = c.blocks[1:]
	}
}

// trim forgets the batches below an offset.
func (c *tailCache) trim(before uint64) {
	for len(c.blocks) > 0 && c.blocks[0].end <= before {
		c.bytes -= len(c.blocks[0].data)
		c.blocks[0].data = nil
		c.blocks = c.blocks[1:]
	}
}

// from returns the cached batches that hold offset and what follows, up to
// bytesMax but at least one; false when offset is not in the cache.
func (c *tailCache) from(offset uint64, bytesMax int) ([]block, bool) {
	i := sort.Search(len(c.blocks), func(i int) bool { return c.blocks[i].end > offset })
	if i == len(c.blocks) || c.blocks[i].base > offset {
		return nil, false
	}
	j, bytes := i, 0
	for j < len(c.blocks) && (j == i || bytes+len(c.blocks[j].data) <= bytesMax) {
		bytes += len(c.blocks[j].data)
		j++
	}
	return append([]block(nil), c.blocks[i:j]...), true
}
