package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupestream/troupe/internal/natsnode"
)

// port is the way to one server. It hands out the link that is alive, and when
// the link or the server behind it is not, it mends them first.
type port struct {
	srv  *natsnode.Server
	opts *Options

	mu     sync.Mutex
	closed bool
	now    *link

	changes sync.WaitGroup // creations and deletions of streams under way; see change
}

// link is a pair of connections to one instance of a server: large answers to
// reads must not delay the short ones to appends.
type link struct {
	js      jetstream.JetStream
	appends *nats.Conn
	reads   *nats.Conn
	readers chan *reader  // idle; its capacity bounds the reads under way
	dead    chan struct{} // closed when a connection was lost
	broken  <-chan struct{}
	die     sync.Once
}

// maxReaders is how many reads one server serves at a time.
const maxReaders = 8

func newPort(server func() (*natsnode.Server, error), o *Options) (*port, error) {
	srv, err := server()
	if err != nil {
		return nil, err
	}
	p := &port{srv: srv, opts: o}
	if _, err := p.link(); err != nil {
		return nil, err
	}
	return p, nil
}

// link returns a link that was alive a moment ago.
func (p *port) link() (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.now != nil {
		if p.now.alive() {
			return p.now, nil
		}
		p.now.close()
		p.now = nil
	}
	if err := p.srv.Restart(); err != nil {
		return nil, err
	}
	l, err := p.dial()
	if err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	p.now = l
	return l, nil
}

func (p *port) dial() (l *link, err error) {
	l = &link{readers: make(chan *reader, maxReaders), dead: make(chan struct{}), broken: p.srv.Broken()}
	if l.appends, err = p.connect(l, "appends"); err != nil {
		return nil, err
	}
	if l.reads, err = p.connect(l, "reads"); err == nil {
		l.js, err = jetstream.New(l.appends, jetstream.WithDefaultTimeout(p.opts.Timeout))
	}
	for range maxReaders {
		if err == nil {
			err = l.addReader()
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (p *port) connect(l *link, name string) (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(p.srv), nats.Name(name), nats.NoReconnect(),
		nats.Timeout(p.opts.Timeout),
		nats.ClosedHandler(func(*nats.Conn) { l.lost() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			p.opts.Logger.Warn("connection to the store", "name", name, "error", err)
		}))
}

func (l *link) lost() { l.die.Do(func() { close(l.dead) }) }

func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	case <-l.broken:
		return false
	default:
		return true
	}
}

func (l *link) close() {
	l.lost()
	for _, c := range []*nats.Conn{l.appends, l.reads} {
		if c != nil {
			c.Close()
		}
	}
}

// change asks the server to make or delete a stream, and waits for it whatever becomes of
// ctx: the server goes on with what it was asked for when the caller gives up. Were it shut
// down meanwhile, a new stream would be forgotten half made, with its files open and its
// goroutines running. So close waits for it, too.
func (p *port) change(ctx context.Context, f func(context.Context, jetstream.JetStream) error) error {
	l, err := p.link()
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.changes.Add(1)
	p.mu.Unlock()
	defer p.changes.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.Timeout)
	defer cancel()
	return apiError(f(ctx, l.js))
}

func (p *port) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.changes.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		p.now.close()
		p.now = nil
	}
}

// roomFor reports ErrFull when n more bytes would not leave the reserve.
func (p *port) roomFor(n int) error {
	if p.opts.ReserveBytes < 0 {
		return nil
	}
	free, err := p.srv.Free()
	if err != nil {
		return err
	}
	if need := uint64(p.opts.ReserveBytes) + uint64(n); free < need {
		return fmt.Errorf("%w: %d bytes are free, %d are needed (%d of them in reserve)", ErrFull, free, need, p.opts.ReserveBytes)
	}
	return nil
}

// minDuplicates is the shortest window in which the server remembers message
// ids. We use none; but at start it reads back everything in the window, and
// natsnode relies on that being no more than a second.
const minDuplicates = 100 * time.Millisecond

func (p *port) create(ctx context.Context, name string, d Durability) error {
	if d != Memory {
		if err := p.roomFor(0); err != nil {
			return err
		}
	}
	c := jetstream.StreamConfig{
		Name: name, Subjects: []string{name + ".*"}, Storage: jetstream.FileStorage, Replicas: 1,
		MaxMsgs: -1, MaxBytes: -1, MaxConsumers: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1,
		Discard: jetstream.DiscardNew, Duplicates: minDuplicates, AllowDirect: true, DenyDelete: true,
	}
	if d == Memory {
		c.Storage = jetstream.MemoryStorage
	}
	return p.change(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateStream(ctx, c)
		return err
	})
}

func (p *port) info(ctx context.Context, name string, o ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	l, err := p.link()
	if err != nil {
		return nil, err
	}
	s, err := l.js.Stream(ctx, name)
	if err != nil {
		return nil, apiError(err)
	}
	if len(o) == 0 {
		return s.CachedInfo(), nil
	}
	info, err := s.Info(ctx, o...)
	return info, apiError(err)
}

func (p *port) purge(ctx context.Context, name string, before uint64) error {
	l, err := p.link()
	if err != nil {
		return err
	}
	s, err := l.js.Stream(ctx, name)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSequence(before))
	}
	return apiError(err)
}

func (p *port) remove(ctx context.Context, name string) error {
	err := p.change(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		if err := p.srv.Deleting(name); err != nil {
			return err
		}
		return js.DeleteStream(ctx, name)
	})
	if err == nil {
		p.srv.Deleted(name)
	}
	return err
}

// witness returns what is known of a log outside its own files, and holds what
// the server says of the log against it.
func (p *port) witness(name string, s jetstream.StreamState) (*natsnode.Witness, error) {
	floor := s.FirstSeq
	if s.Msgs == 0 {
		floor = s.LastSeq + 1
	}
	w := p.srv.Witness(name, s.LastSeq, floor)
	if last := w.Last(); last > s.LastSeq {
		return nil, fmt.Errorf("%w: it ends with entry %d and was acknowledged up to %d: restore the data directory from a backup", ErrCorrupt, s.LastSeq, last)
	}
	return w, nil
}

// names lists the logs, also those that the server could not load.
func (p *port) names(ctx context.Context) (names []string, err error) {
	l, err := p.link()
	if err != nil {
		return nil, err
	}
	list := l.js.StreamNames(ctx)
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		return nil, apiError(err)
	}
	onDisk, err := p.srv.OnDisk()
	names = append(names, onDisk...)
	slices.Sort(names)
	return slices.Compact(names), err
}

// notOnDisk turns "not found" into an error when there is something to find: a
// log that the server could not load must not be created anew.
func (p *port) notOnDisk(name string) error {
	if d := p.srv.Damage(name); d != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, d)
	}
	onDisk, err := p.srv.OnDisk()
	if err != nil {
		return err
	}
	if slices.Contains(onDisk, name) {
		return fmt.Errorf("%w: the log is on disk, but could not be loaded; the warnings at start say why: restore the data directory from a backup", ErrCorrupt)
	}
	return ErrNotFound
}

// apiError gives the errors of the client the names of this package.
func apiError(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return ErrNotFound
	case errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case errors.As(err, &api):
		return codeError(int(api.ErrorCode), err)
	}
	return err
}
