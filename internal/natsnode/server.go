package natsnode

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// headerRoom is what a message may need beyond its entry: subject and headers.
const headerRoom = 64 << 10

// Server is one embedded server. It survives its own restarts: connections
// made through it reconnect to whatever instance runs.
type Server struct {
	dir        string
	syncAlways bool
	opts       Options
	acked      *ackedTable
	seals      map[string]seal // as of when the directory was last closed

	mu       sync.Mutex
	closed   bool
	run      *instance
	damaged  map[string]*Damaged
	guards   map[string]*Guard
	lostSync bool // what was not synced may be gone
}

// instance is a server from its start to its shutdown.
type instance struct {
	*server.Server
	log *logger
}

func startServer(dir string, syncAlways bool, o Options) (*Server, error) {
	s := &Server{dir: dir, syncAlways: syncAlways, opts: o, seals: readSeals(dir)}
	err := os.MkdirAll(s.streamsDir(), 0o700)
	if err == nil {
		err = s.startFirst()
	}
	if err != nil {
		return nil, fmt.Errorf("start the store in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Server) startFirst() error {
	acked, boot, err := openAcked(s.dir, s.opts.Logger.With("store", filepath.Base(s.dir)))
	if err != nil {
		return err
	}
	s.acked = acked
	s.lostSync = !s.syncAlways && (boot == "" || boot != bootName())
	run, err := s.start()
	if err != nil {
		return errors.Join(err, s.bringBack(), acked.close())
	}
	s.run = run
	return nil
}

func (s *Server) start() (*instance, error) {
	if err := s.inspect(); err != nil {
		return nil, err
	}
	srv, err := server.NewServer(s.serverOptions())
	if err != nil {
		return nil, err
	}
	log := newLogger(s.opts.Logger.With("store", filepath.Base(s.dir)))
	srv.SetLogger(log, false, false)
	srv.Start()
	ready := srv.ReadyForConnections(s.opts.StartTimeout)
	log.started()
	if !ready || !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("the server did not become ready: %w", log.firstError())
	}
	return &instance{srv, log}, nil
}

func (s *Server) serverOptions() *server.Options {
	o := &server.Options{
		ServerName:             "troupe-" + filepath.Base(s.dir),
		DontListen:             true,
		NoSigs:                 true,
		NoLog:                  true,
		DisableJetStreamBanner: true,
		NoFastProducerStall:    true,
		MaxPayload:             int32(s.opts.MaxEntryBytes + headerRoom),
		MaxPending:             256 << 20, // several readers with some of the largest entries each
		JetStream:              true,
		JetStreamMaxStore:      s.opts.StoreBytes,
		JetStreamMaxMemory:     s.opts.MemoryBytes,
		StoreDir:               s.dir,
		SyncAlways:             s.syncAlways,
	}
	if !s.syncAlways { // otherwise only metadata is left to sync: the default of two minutes will do
		o.SyncInterval = s.opts.SyncInterval
	}
	return o
}

// InProcessConn connects to the instance that runs.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.run == nil {
		return nil, ErrClosed
	}
	return s.run.InProcessConn()
}

// Broken returns a channel that is closed when the running instance has met a
// write error. From then on it takes no more appends to the logs concerned, and
// answers none: only Restart helps.
func (s *Server) Broken() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return closedChannel
	}
	return s.run.log.broken
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Restart replaces a broken instance by a new one, which recovers what is on
// disk. It does nothing when the running one is sound.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.run != nil && !s.run.log.isBroken():
		return nil
	case s.run != nil:
		s.opts.Logger.Warn("restarting the store after a write error", "dir", s.dir, "error", s.run.log.firstError())
		s.run.stop()
		s.run = nil
	}
	run, err := s.start()
	if err != nil {
		return fmt.Errorf("restart the store in %s: %w", s.dir, err)
	}
	s.run = run
	return nil
}

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.run != nil {
		s.run.stop()
		s.run = nil
	}
	// What fails here makes the next start slower, or notice less.
	if err := errors.Join(s.sealAll(), s.bringBack(), s.acked.close()); err != nil {
		s.opts.Logger.Warn("closing the store", "dir", s.dir, "error", err)
	}
}

func (i *instance) stop() {
	i.Shutdown()
	i.WaitForShutdown()
}

// Free returns how many bytes the file system of the server's directory has
// left for this process.
func (s *Server) Free() (uint64, error) {
	n, err := freeBytes(s.dir)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.dir, err)
	}
	return n, nil
}

var errNotReady = errors.New("it gave no reason")
