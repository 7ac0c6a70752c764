// Package storagefake is a storage.Store in memory, for tests that want to
// decide what happens to an append: refuse it, hold it, lose its answer. It
// passes the conformance suite of package storagetest.
package storagefake

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/troupestream/troupe/internal/storage"
)

// Append is an append that is about to happen.
type Append struct {
	Log    string
	N      int // counts the appends to this log, from 1, whatever becomes of them
	Kind   storage.Kind
	Data   []byte // only to look at
	Expect uint64
}

// Fault is what shall happen to an append. The zero value lets it pass.
type Fault struct {
	// Hold delays the append until the channel is closed. An append whose
	// context ends meanwhile returns ErrUnknown, and still happens when the
	// channel is closed: as one that is under way in a network would.
	Hold <-chan struct{}
	// Err is returned, and nothing is stored.
	Err error
	// LoseReply: the append happens, and ErrUnknown is returned.
	LoseReply bool
	// LoseRequest: the append does not happen, and ErrUnknown is returned.
	LoseRequest bool
}

// Store is the store in memory. New makes one.
type Store struct {
	mu       sync.Mutex
	closed   bool
	full     bool
	onAppend func(Append) Fault
	logs     map[string]*content
}

// content outlives the store that holds it: see Restart.
type content struct {
	options storage.LogOptions
	first   uint64
	last    uint64
	appends int
	entries []storage.Entry
}

// New returns an empty store.
func New() *Store { return &Store{logs: map[string]*content{}} }

// OnAppend has f asked about every append from now on; nil: about none. f must
// not call the store.
func (s *Store) OnAppend(f func(Append) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onAppend = f
}

// SetFull makes every append fail with ErrFull, or ends that.
func (s *Store) SetFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// Corrupt replaces the bytes of a stored entry by what f makes of a copy.
func (s *Store) Corrupt(log string, seq uint64, f func([]byte) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.logs[log]
	if c == nil || seq < c.first || seq > c.last {
		return fmt.Errorf("corrupt entry %d of %s: %w", seq, log, storage.ErrNotFound)
	}
	e := &c.entries[seq-c.first]
	e.Data = f(slices.Clone(e.Data))
	return nil
}

// Restart closes the store and returns another with what it held, as a new
// process would find it: logs of Memory durability are gone. Faults are not
// inherited.
func (s *Store) Restart() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	next := New()
	for name, c := range s.logs {
		if c.options.Durability != storage.Memory {
			kept := *c
			kept.entries = slices.Clone(c.entries)
			next.logs[name] = &kept
		}
	}
	return next
}

// OpenLog implements storage.Store.
func (s *Store) OpenLog(ctx context.Context, name string, o storage.LogOptions) (storage.Log, error) {
	if err := storage.CheckName(name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	c := s.logs[name]
	if c == nil {
		c = &content{options: o, first: 1}
		s.logs[name] = c
	}
	if c.options != o {
		return nil, fmt.Errorf("open log %s as %s: %w: it is %s", name, o.Durability, storage.ErrOptions, c.options.Durability)
	}
	return &log{s: s, name: name, c: c}, nil
}

func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// Logs implements storage.Store.
func (s *Store) Logs(ctx context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var names []string
	for name := range s.logs {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// DeleteLog implements storage.Store.
func (s *Store) DeleteLog(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if s.logs[name] == nil {
		return fmt.Errorf("delete log %q: %w", name, storage.ErrNotFound)
	}
	delete(s.logs, name)
	return nil
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
