package keys

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/actor"
)

// ledger sees to it that the records of each key come one at a time, in order, and
// once.
type ledger struct {
	perKey int
	done   chan struct{} // closed when all have come, or one is out of place

	mu   sync.Mutex
	next []int  // by key: the number of the record that has to come
	busy []bool // by key: it is being worked on
	left int
	err  error
}

func newLedger(keys, perKey int) *ledger {
	return &ledger{perKey: perKey, done: make(chan struct{}), next: make([]int, keys), busy: make([]bool, keys), left: keys * perKey}
}

// handle is the handler: it does the work between two entries in the ledger.
func (l *ledger) handle(ctx context.Context, d *actor.Delivery, work func(context.Context) error) error {
	key, n := int(binary.BigEndian.Uint32(d.Key)), int(binary.BigEndian.Uint32(d.Value))
	if err := l.begin(key, n); err != nil {
		l.fail(err)
		return err
	}
	if err := work(ctx); err != nil {
		return err
	}
	l.end(key)
	return nil
}

func (l *ledger) begin(key, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.busy[key]:
		return fmt.Errorf("record %d of key %d came while the one before was at work", n, key)
	case l.next[key] != n:
		return fmt.Errorf("record %d of key %d came where %d should have", n, key, l.next[key])
	}
	l.busy[key] = true
	return nil
}

func (l *ledger) end(key int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[key] = false
	l.next[key]++
	l.left--
	if l.left == 0 && l.err == nil {
		close(l.done)
	}
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.left > 0 {
		l.err = err
		close(l.done)
	}
}

// await waits for the last record, or the first mistake.
func (l *ledger) await(ctx context.Context) error {
	select {
	case <-l.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
