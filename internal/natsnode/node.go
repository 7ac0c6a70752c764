// Package natsnode runs NATS servers inside the process, as the keeper of one
// data directory. They open no port: storage talks to them through a pipe.
//
// Whether a server syncs every write is a property of the whole server. So a
// directory has up to two of them: one that syncs every append, and one, started
// when the first log asks for it, that syncs at intervals or keeps logs in
// memory.
//
// Layout of the directory:
//
//	LOCK         held with flock while the directory is in use; the holder's pid
//	troupe.json  the format of the directory
//	fsync/       the server that syncs every append
//	interval/    the other one
//
// and of that of a server, beside what is the server's own:
//
//	acknowledged       how far each log was acknowledged; see acked.go
//	sealed             what the logs looked like when they were closed; see seal.go
//	accept-loss-of-X   made by an operator; see accept.go
//	given-up/          what was given up because of it
//	aside/             damaged logs, while a server runs; see aside.go
package natsnode

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"
)

// ErrClosed: the node was closed.
var ErrClosed = errors.New("the data directory was closed")

// Options of a node. The zero value means the defaults.
type Options struct {
	// SyncInterval is how often the interval server asks the operating system
	// to write to disk; default 1s.
	SyncInterval time.Duration
	// StoreBytes bounds each server's logs on disk; default: what the disk holds.
	StoreBytes int64
	// MemoryBytes bounds the logs kept in memory; default 1 GiB.
	MemoryBytes int64
	// MaxEntryBytes is the largest message; default 8 MiB.
	MaxEntryBytes int
	// Logger gets the warnings and errors of the servers; default slog.Default().
	Logger *slog.Logger
	// StartTimeout bounds the start of a server, which recovers its logs; default 60s.
	StartTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.SyncInterval <= 0 {
		o.SyncInterval = time.Second
	}
	if o.StoreBytes <= 0 {
		o.StoreBytes = 1 << 60
	}
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = 1 << 30
	}
	if o.MaxEntryBytes <= 0 {
		o.MaxEntryBytes = 8 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = time.Minute
	}
	return o
}

// Node keeps a data directory.
type Node struct {
	dir  string
	opts Options
	lock *dirLock

	mu       sync.Mutex
	closed   bool
	fsync    *Server
	interval *Server
}

// Open takes the directory into use: it creates it when it does not exist, with
// its parents, locks it, and checks its format. No server runs yet.
func Open(dir string, o Options) (*Node, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory %q: %w", dir, err)
	}
	lock, err := prepareDir(abs)
	if err != nil {
		return nil, err
	}
	return &Node{dir: abs, opts: o.withDefaults(), lock: lock}, nil
}

// Dir is the absolute path of the directory.
func (n *Node) Dir() string { return n.dir }

// Fsync returns the server that syncs every append before it answers.
func (n *Node) Fsync() (*Server, error) { return n.server(&n.fsync, "fsync", true) }

// Interval returns the server that syncs at intervals and keeps logs in memory.
func (n *Node) Interval() (*Server, error) { return n.server(&n.interval, "interval", false) }

// HasInterval reports whether the directory holds logs of the interval server,
// without starting it.
func (n *Node) HasInterval() bool { return exists(filepath.Join(n.dir, "interval")) }

func (n *Node) server(slot **Server, name string, syncAlways bool) (*Server, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	if *slot == nil {
		s, err := startServer(filepath.Join(n.dir, name), syncAlways, n.opts)
		if err != nil {
			return nil, err
		}
		*slot = s
	}
	return *slot, nil
}

// Close stops the servers and unlocks the directory. It may be called twice.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	for _, s := range []*Server{n.fsync, n.interval} {
		if s != nil {
			s.close()
		}
	}
	return n.lock.release()
}

// InProcessConn is what nats.InProcessServer needs of a server.
type InProcessConn interface {
	InProcessConn() (net.Conn, error)
}

var _ InProcessConn = (*Server)(nil)
