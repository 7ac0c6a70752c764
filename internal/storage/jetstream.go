package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupestream/troupe/internal/natsnode"
)

// Options of a store in a directory. The zero value means the defaults.
type Options struct {
	// SyncInterval is how often logs of Interval durability are written to
	// disk; default 1s.
	SyncInterval time.Duration
	// ReserveBytes of the disk stay free: an append that would leave less is
	// refused with ErrFull. Trimming, and stopping in good order, need some
	// space themselves. Default 32 MiB; below zero: the disk is not looked at,
	// and an append that finds it full returns ErrUnknown.
	ReserveBytes int64
	// StoreBytes bounds all logs on disk; default: what the disk holds.
	StoreBytes int64
	// MemoryBytes bounds all logs of Memory durability; default 1 GiB.
	MemoryBytes int64
	// TailBytes of the newest entries of a log are kept in memory while it is
	// read near its end. Below 9 MiB, readers that follow a fast writer make the
	// server keep much more. Default 16 MiB for each such log.
	TailBytes int
	// Timeout bounds every call whose context has no earlier deadline; default
	// 10s. An append that takes longer returns ErrUnknown.
	Timeout time.Duration
	// Logger gets warnings and errors; default slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 32 << 20
	}
	if o.TailBytes <= 0 {
		o.TailBytes = 16 << 20
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// jetStore keeps each log in a JetStream stream of its own, on one of the two
// servers that natsnode runs in a directory.
type jetStore struct {
	opts Options
	node *natsnode.Node

	closed atomic.Bool
	fsync  *port

	mu       sync.Mutex
	interval *port // nil until a log needs it
	tails    map[string]*tail
}

// Open opens the store in a directory, and creates both when they do not
// exist, with the parents of the directory. It recovers from a crash by itself:
// what was changed since it was last closed in good order is read, and a log that
// is damaged cannot be opened until somebody has decided what becomes of it.
// One process at a time can have a directory open.
func Open(ctx context.Context, dir string, o Options) (Store, error) {
	o = o.withDefaults()
	node, err := natsnode.Open(dir, natsnode.Options{
		SyncInterval: o.SyncInterval, StoreBytes: o.StoreBytes, MemoryBytes: o.MemoryBytes,
		MaxEntryBytes: MaxEntryBytes, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	s := &jetStore{opts: o, node: node, tails: map[string]*tail{}}
	if s.fsync, err = newPort(node.Fsync, &s.opts); err != nil {
		return nil, errors.Join(err, node.Close())
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ports returns the ports of the servers that may hold logs.
func (s *jetStore) ports() ([]*port, error) {
	ports := []*port{s.fsync}
	if s.node.HasInterval() {
		p, err := s.intervalPort()
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func (s *jetStore) intervalPort() (*port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	if s.interval == nil {
		p, err := newPort(s.node.Interval, &s.opts)
		if err != nil {
			return nil, err
		}
		s.interval = p
	}
	return s.interval, nil
}

func (s *jetStore) usable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return nil
}

// OpenLog implements Store.
func (s *jetStore) OpenLog(ctx context.Context, name string, o LogOptions) (Log, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	p, state, d, err := s.find(ctx, name)
	if errors.Is(err, ErrNotFound) {
		p, d = nil, o.Durability
		if p, err = s.portFor(o.Durability); err == nil {
			err = p.create(ctx, name, o.Durability)
		}
	}
	if err == nil && d != o.Durability {
		err = fmt.Errorf("%w: it is %s, not %s", ErrOptions, d, o.Durability)
	}
	var w *natsnode.Witness
	if err == nil && d != Memory {
		w, err = p.witness(name, state)
	}
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", name, err)
	}
	return &jetLog{s: s, p: p, name: name, durability: d, tail: s.tailOf(name), witness: w, guard: p.srv.Guard(name)}, nil
}

func (s *jetStore) tailOf(name string) *tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tails[name] == nil {
		s.tails[name] = &tail{limit: s.opts.TailBytes}
	}
	return s.tails[name]
}

func (s *jetStore) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tails[name]; t != nil {
		t.delete()
		delete(s.tails, name)
	}
}

func (s *jetStore) portFor(d Durability) (*port, error) {
	switch d {
	case Fsync:
		return s.fsync, nil
	case Interval, Memory:
		return s.intervalPort()
	}
	return nil, fmt.Errorf("%w: there is no %s", ErrOptions, d)
}

// find looks for a log on all servers.
func (s *jetStore) find(ctx context.Context, name string) (p *port, state jetstream.StreamState, d Durability, err error) {
	ports, err := s.ports()
	if err != nil {
		return nil, state, 0, err
	}
	for _, p := range ports {
		info, err := p.info(ctx, name)
		if errors.Is(err, ErrNotFound) {
			err = p.notOnDisk(name)
		}
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, state, 0, err
		}
		return p, info.State, s.durability(p, info.Config.Storage), nil
	}
	return nil, state, 0, ErrNotFound
}

func (s *jetStore) durability(p *port, t jetstream.StorageType) Durability {
	switch {
	case p == s.fsync:
		return Fsync
	case t == jetstream.MemoryStorage:
		return Memory
	}
	return Interval
}

// Logs implements Store.
func (s *jetStore) Logs(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.usable(); err != nil {
		return nil, err
	}
	ports, err := s.ports()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range ports {
		all, err := p.names(ctx)
		if err != nil {
			return nil, fmt.Errorf("list logs: %w", err)
		}
		names = append(names, all...)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
	slices.Sort(names)
	return names, nil
}

// DeleteLog implements Store.
func (s *jetStore) DeleteLog(ctx context.Context, name string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err := CheckName(name)
	if err != nil {
		return err
	}
	p, _, _, err := s.find(ctx, name)
	if err == nil {
		s.forget(name)
		err = p.remove(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("delete log %s: %w", name, err)
	}
	return nil
}

// Close implements Store.
func (s *jetStore) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range []*port{s.fsync, s.interval} {
		if p != nil {
			p.close()
		}
	}
	return s.node.Close()
}

func (s *jetStore) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.Timeout)
}
