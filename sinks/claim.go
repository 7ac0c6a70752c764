package sinks

import (
	"fmt"
	"os"
	"sync"

	"github.com/troupestream/troupe/internal/filemark"
)

// owner is who writes a file: the operator of a job, whichever of its starts.
type owner struct{ job, sink string }

// claim is the right to write a file. Files are told apart by what they are, not by their
// path, so links do not fool it. Other processes are kept away by a lock, where the file
// system has them; it ends with the process.
type claim struct {
	file os.FileInfo
	path string
	by   owner
}

var claims struct {
	mu   sync.Mutex
	held []*claim
}

// claimFile refuses a file that another operator writes or reads. An older writer of the
// same operator, left over from a start that has failed, loses it.
func claimFile(f *os.File, by owner) (*claim, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s cannot be examined: %w", f.Name(), err)
	}
	if path, yes := filemark.BeingRead(info); yes {
		return nil, fmt.Errorf("%s is being read by a source (as %s), and writing would destroy what it reads; give the sink a file of its own", f.Name(), path)
	}
	claims.mu.Lock()
	defer claims.mu.Unlock()
	c := &claim{file: info, path: f.Name(), by: by}
	for i, other := range claims.held {
		if !os.SameFile(info, other.file) {
			continue
		}
		if other.by != by {
			return nil, fmt.Errorf("%s is being written by sink %q of job %q already (as %s); give each sink a file of its own",
				c.path, other.by.sink, other.by.job, other.path)
		}
		claims.held[i] = c
		_ = lockFile(f) // or the older one keeps the lock until it ends
		return c, nil
	}
	if !lockFile(f) {
		return nil, fmt.Errorf("%s is being written by another process; give each job a file of its own", f.Name())
	}
	claims.held = append(claims.held, c)
	return c, nil
}

// held says that no newer writer has taken over.
func (c *claim) held() bool {
	claims.mu.Lock()
	defer claims.mu.Unlock()
	for _, other := range claims.held {
		if other == c {
			return true
		}
	}
	return false
}

func (c *claim) release() {
	claims.mu.Lock()
	defer claims.mu.Unlock()
	for i, other := range claims.held {
		if other == c {
			claims.held = append(claims.held[:i], claims.held[i+1:]...)
			return
		}
	}
}
