package natsnode

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/natsnode/blocks"
)

// Guard stands between the server and the blocks of one log that were not looked
// at when it was opened, because the log looks like its seal. The server must not
// load one of them before it was: if lengths in it are damaged, it would cut it.
// A nil Guard lets everything through.
type Guard struct {
	log    string
	dir    string
	acked  uint64
	accept string

	unseen atomic.Int64 // blocks; 0: the way is free

	mu     sync.Mutex
	blocks []sealedBlock // ascending
	seen   []bool
	bad    []*Damaged // what was found in each
}

// trimmedBytes is the size up to which the server may rewrite a block in its own
// time that was trimmed by half: 2 MiB. Larger ones it rewrites while it trims.
const trimmedBytes = 2 << 20

// recently is how long ago a block must have been written for the server not to
// load it in search of message ids to remember: 1 s. It looks back as far as the
// window of the stream for duplicates, which is shorter.
const recently = time.Second

// newGuard looks at the blocks that the server loads without being asked for
// what is in them: the newest, those with the last entry of each subject, those
// written a moment ago, and a trimmed one that it may rewrite.
func newGuard(s *Server, name string, all []sealedBlock, needed []uint32) (*Guard, error) {
	dir, err := blocks.Dir(s.streamDir(name))
	if err != nil {
		return nil, err
	}
	last, floor := s.acked.find(name).limits()
	g := &Guard{log: name, dir: dir, acked: last, accept: s.acceptFile(name),
		blocks: all, seen: make([]bool, len(all)), bad: make([]*Damaged, len(all))}
	g.unseen.Store(int64(len(all)))
	newest := true
	for i, b := range slices.Backward(all) {
		trimmed := b.First < floor && b.Bytes <= trimmedBytes
		if newest || trimmed || slices.Contains(needed, b.Index) || isRecent(blocks.File(dir, b.Index)) {
			g.look(i)
		}
		newest = newest && b.First == 0 // nothing but tombstones
	}
	return g, nil
}

func isRecent(path string) bool {
	info, err := os.Stat(path)
	return err != nil || time.Since(info.ModTime()) < recently
}

// damage is what was found when the guard was made.
func (g *Guard) damage() *Damaged {
	for _, d := range g.bad {
		if d != nil {
			return d
		}
	}
	return nil
}

// look looks at a block, once.
func (g *Guard) look(i int) *Damaged {
	if g.seen[i] {
		return g.bad[i]
	}
	g.seen[i] = true
	g.unseen.Add(-1)
	last := uint64(0)
	for _, next := range g.blocks[i+1:] {
		if next.First > 0 {
			last = next.First - 1
			break
		}
	}
	b := g.blocks[i]
	d, err := blocks.Skim(blocks.File(g.dir, b.Index), b.First, last)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // dropped since
	case err != nil:
		d = &blocks.Damage{File: blocks.File(g.dir, b.Index), Why: "it cannot be read: " + err.Error()}
	case d == nil:
		return nil
	}
	g.unseen.Add(1) // the way will never be free
	g.bad[i] = &Damaged{Log: g.log, File: filepath.Clean(d.File), At: d.At, Why: d.Why, Acked: g.acked, Accept: g.accept}
	if first := g.blocks[0].First; first > 0 && first < b.First {
		g.bad[i].First, g.bad[i].Last = first, b.First-1
	}
	return g.bad[i]
}

// Readable says up to which sequence, exclusive, the server may be asked for
// entries from sequence from on, if they have at most bytes. The error is about
// the block that from is in.
func (g *Guard) Readable(from uint64, bytes int) (until uint64, err error) {
	if g == nil || g.unseen.Load() == 0 {
		return math.MaxUint64, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	begin := 0
	for i, b := range g.blocks {
		if b.First > 0 && b.First <= from {
			begin = i
		}
	}
	ahead := int64(0)
	for i := begin; i < len(g.blocks); i++ {
		if d := g.look(i); d != nil && i == begin {
			return 0, d
		} else if d != nil && g.blocks[i].First > from {
			return g.blocks[i].First, nil
		}
		if i > begin {
			ahead += g.blocks[i].Bytes
		}
		if ahead >= int64(bytes) && i > begin {
			break
		}
	}
	return math.MaxUint64, nil
}

// Guard returns the guard of a log, nil if it needs none.
func (s *Server) Guard(log string) *Guard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guards[log]
}
