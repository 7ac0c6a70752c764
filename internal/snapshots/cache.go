package snapshots

import (
	"context"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/internal/storage"
)

// CacheBytes is how much of the chunk log is kept in memory while state is
// restored: 64 MiB. A chunk holds segments of many key groups, which are
// wanted one group after the other.
const CacheBytes = 64 << 20

type chunkCache struct {
	log    storage.Log
	mu     sync.Mutex
	chunks map[uint64][]byte
	order  []uint64 // oldest first
	bytes  int
}

func newChunkCache(log storage.Log) *chunkCache {
	return &chunkCache{log: log, chunks: map[uint64][]byte{}}
}

// get returns a chunk, verified.
func (c *chunkCache) get(ctx context.Context, seq uint64) ([]byte, error) {
	c.mu.Lock()
	b, ok := c.chunks[seq]
	c.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := readEntry(ctx, c.log, seq)
	if err == nil {
		_, b, err = unmark(b)
	}
	if err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	c.put(seq, b)
	return b, nil
}

func (c *chunkCache) put(seq uint64, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.chunks[seq]; ok {
		return
	}
	c.chunks[seq] = b
	c.order = append(c.order, seq)
	for c.bytes += len(b); c.bytes > CacheBytes && len(c.order) > 1; c.order = c.order[1:] {
		c.bytes -= len(c.chunks[c.order[0]])
		delete(c.chunks, c.order[0])
	}
}

func (c *chunkCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chunks, c.order, c.bytes = map[uint64][]byte{}, nil, 0
}
