package actor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/telemetry"
)

// ErrClosed: the system was closed, or the handle was; the error says which.
var ErrClosed = errors.New("it is closed")

// errSystemClosed says that it is the system.
var errSystemClosed = fmt.Errorf("the actor system: %w", ErrClosed)

// ofStore is an error of the store in terms of the system. Whoever closes the one has
// closed the other.
func ofStore(err error) error {
	if errors.Is(err, storage.ErrClosed) {
		return errSystemClosed
	}
	return err
}

// System is one actor system over one store. It is safe for concurrent use.
type System struct {
	store      storage.Store
	log        *slog.Logger
	actors     *pactor.ActorSystem
	root       *pactor.RootContext
	dispatcher *Dispatcher
	asks       *asks
	watches    *watches
	topics     *topics
	groups     groups
	consumers  consumers
	exchanges  directories
	requests   requests
	schedules  schedules
	limits     PartitionLimits
	onFailure  func(actorID string, err error)
	onAppend   func(Appended)
	onCompact  func(Compacted)
	onFull     func(actorID string)
	pages      *pages
	shards     shards
	queueLogs  queueLogs
	holds      *holds
	notices    notices

	evacuations evacuations
	tracer      *telemetry.Tracer
	messaging   *telemetry.Messaging

	onQueueWarning func(QueueWarning)

	compactions chan struct{} // has room for the partitions that are compacted at the same time

	refusals    atomic.Int64
	deadLetters atomic.Int64
	attempts    atomic.Uint64 // begun by all jobs
	abandoned   atomic.Bool   // some job was given up, and may go on
	hasEnded    atomic.Bool   // its actors have been stopped
	background  background

	queueConsumers queueConsumers

	mu        sync.Mutex
	stopped   rank // actors of the ranks below it stop, or have; 0: the system is open
	roots     []rootActor
	mailboxes map[string]*Mailbox
}

type rootActor struct {
	pid  *pactor.PID
	rank rank
}

// Option configures a System.
type Option func(*System)

// WithLogger sets where the system reports failures, dead letters and takeovers.
// The default discards.
func WithLogger(log *slog.Logger) Option { return func(s *System) { s.log = log } }

// WithOnFailure sets a function that is told when an actor was given up: it
// failed more often than its supervision allows and was stopped. It must not block.
func WithOnFailure(f func(actorID string, err error)) Option {
	return func(s *System) { s.onFailure = f }
}

// WithPartitionLimits replaces the limits of partitions. Start from
// DefaultPartitionLimits: a limit of zero allows nothing.
func WithPartitionLimits(l PartitionLimits) Option { return func(s *System) { s.limits = l } }

// Appended says what a partition has stored in one append to its log.
type Appended struct {
	Topic     string
	Partition int
	Records   int
	Bytes     int
	EndOffset uint64        // of the partition now
	Took      time.Duration // from the decision to append until it was as durable as the topic promises
}

// WithOnAppend sets a function that is told of every append to the log of a
// partition. It is called by the partition, and must not block.
func WithOnAppend(f func(Appended)) Option { return func(s *System) { s.onAppend = f } }

// Compacted says what came of compacting a partition.
type Compacted struct {
	Topic     string
	Partition int
	// Err is why it failed; it is tried again, and the other fields are 0.
	Err error
	// Records and bytes that were read, and those that were kept of them.
	RecordsBefore, RecordsAfter uint64
	BytesBefore, BytesAfter     uint64
	Tombstones                  uint64 // that the compacted part holds now
	Took                        time.Duration
}

// WithOnCompact sets a function that is told of every compaction of a partition: when
// what it made has come into force, or when it has failed, but not of looks that found
// nothing to do. It is called by the partition, and must not block.
func WithOnCompact(f func(Compacted)) Option { return func(s *System) { s.onCompact = f } }

// WithOnMailboxFull sets a function that is told of every message that a full
// mailbox has refused, and of which actor. It is called by whoever posted the
// message, and must not block.
func WithOnMailboxFull(f func(actorID string)) Option { return func(s *System) { s.onFull = f } }

// NewSystem returns a running system. Close it; the store stays open.
func NewSystem(store storage.Store, opts ...Option) *System {
	s := &System{
		store:      store,
		log:        slog.New(slog.DiscardHandler),
		dispatcher: NewDispatcher(),
		onFailure:  func(string, error) {},
		onAppend:   func(Appended) {},
		onCompact:  func(Compacted) {},
		mailboxes:  map[string]*Mailbox{},
	}
	s.limits, s.compactions = DefaultPartitionLimits(), make(chan struct{}, CompactionsAtOnce)
	s.topics = newTopics(s)
	s.exchanges.lock = make(chan struct{}, 1)
	s.pages = newPages(PageCacheBytes)
	s.queueLogs.init(s)
	s.holds = newHolds()
	for _, o := range opts {
		o(s)
	}
	s.background.init(s.dispatcher)
	s.actors = pactor.NewActorSystem(func(c *pactor.Config) {
		// Proto.Actor's own log would say everything twice, and its throttle
		// keeps a goroutine alive for as long as its interval.
		c.LoggerFactory = func(*pactor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }
		c.DeadLetterThrottleInterval = 1
	})
	s.asks = newAsks(s.actors)
	s.watches = newWatches(s.actors)
	s.root = s.actors.Root.Copy().WithGuardian(s.Supervision())
	s.actors.EventStream.Subscribe(s.deadLetter)
	return s
}

// Store returns the store the system works on.
func (s *System) Store() storage.Store { return s.store }

// Logger returns the logger of the system.
func (s *System) Logger() *slog.Logger { return s.log }

// Actors returns the Proto.Actor system underneath.
func (s *System) Actors() *pactor.ActorSystem { return s.actors }

// Send posts a message to an actor. It never blocks. A message that cannot be
// delivered is refused (see Refusable) or counted as a dead letter.
func (s *System) Send(to *pactor.PID, message any) { s.root.Send(to, message) }

// Go runs f in the background: the I/O of an actor, which must not happen in
// Receive. The context ends when the system closes, and Close waits for f. Go
// returns false, without running f, once the system has closed.
func (s *System) Go(f func(context.Context)) bool { return s.background.run(f) }

// DeadLetters returns how many messages reached no actor and had no way to say so.
func (s *System) DeadLetters() int64 { return s.deadLetters.Load() }

// Refusals returns how many messages were refused, and told so.
func (s *System) Refusals() int64 { return s.refusals.Load() }

// Mailboxes calls f for the mailbox of every actor.
func (s *System) Mailboxes(f func(actorID string, m *Mailbox)) {
	s.mu.Lock()
	all := make(map[string]*Mailbox, len(s.mailboxes))
	for id, m := range s.mailboxes {
		all[id] = m
	}
	s.mu.Unlock()
	for id, m := range all {
		f(id, m)
	}
}

// Close closes the consumers of queues in good order (see QueueConsumer.Close), stops all
// actors, and waits until they and their background work have ended, or until ctx ends.
// Queues write what they know, and wait for the dead letters under way. Partitions finish
// what they have accepted. For a job that was abandoned, nothing is waited for but that.
func (s *System) Close(ctx context.Context) error {
	if s.isClosed() {
		return nil
	}
	err := s.closeQueueConsumers(ctx)
	// Users of the log stop before the log: what they still append while they
	// stop is accepted.
	var late error
	for r := rankUser; r < ranks && late == nil; r++ {
		late = s.stopRoots(ctx, r)
	}
	return errors.Join(err, late, s.end(ctx))
}

func (s *System) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped > 0
}

// stopRoots stops the actors of a rank.
func (s *System) stopRoots(ctx context.Context, rank rank) error {
	s.mu.Lock()
	s.stopped = rank + 1
	roots := slices.Clone(s.roots)
	s.mu.Unlock()
	var gone []<-chan struct{}
	for _, r := range roots {
		if r.rank == rank {
			gone = append(gone, s.Watch(r.pid))
			s.askToStop(r)
		}
	}
	for _, done := range gone {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("close the actor system: some actors have not stopped: %w", ctx.Err())
		}
	}
	return nil
}

// askToStop lets a service finish what it has accepted. Others stop at once.
func (s *System) askToStop(r rootActor) {
	if r.rank > rankUser {
		s.Send(r.pid, drain{})
		return
	}
	s.root.Stop(r.pid)
}

func (s *System) end(ctx context.Context) error {
	s.hasEnded.Store(true)
	s.exchanges.close()
	s.endNotices()
	ended := s.background.close()
	if s.abandoned.Load() {
		s.topics.close()
		s.actors.Shutdown()
		s.dispatcher.Close() // what still runs on it ends it
		return nil
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("close the actor system: background work has not ended: %w", ctx.Err())
	}
	s.topics.close()
	s.actors.Shutdown()
	select {
	case <-s.dispatcher.Close():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the actor system: some actors still run: %w", ctx.Err())
	}
}

// drain asks an actor to finish what it has accepted, and then to stop itself.
type drain struct{}

func (s *System) mailboxFull(actorID string) {
	if s.onFull != nil {
		s.onFull(actorID)
	}
}

// refused tells whoever waits for the message that it will not be handled.
func (s *System) refused(message any, err error) {
	s.refusals.Add(1)
	_, inner, sender := pactor.UnwrapEnvelope(message)
	if r, ok := inner.(Refusable); ok {
		r.Refused(err)
		return
	}
	if sender != nil {
		s.Send(sender, err)
		return
	}
	s.countDeadLetter(inner, nil, err)
}

// deadLetter sees every message whose addressee does not exist. Proto.Actor
// itself answers those that came with a sender.
func (s *System) deadLetter(event any) {
	letter, ok := event.(*pactor.DeadLetterEvent)
	if !ok {
		return
	}
	switch message := letter.Message.(type) {
	case Refusable:
		s.refusals.Add(1)
		message.Refused(ErrStopped)
	case pactor.SystemMessage, pactor.AutoReceiveMessage, pactor.MailboxMessage, pactor.IgnoreDeadLetterLogging:
	default:
		if letter.Sender == nil {
			s.countDeadLetter(message, letter.PID, ErrStopped)
		}
	}
}

func (s *System) countDeadLetter(message any, to *pactor.PID, err error) {
	s.deadLetters.Add(1)
	s.log.Debug("dead letter", "message", fmt.Sprintf("%T", message), "to", to, "reason", err)
}

func (s *System) mailboxOpened(id string, m *Mailbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mailboxes[id] = m
}

func (s *System) mailboxClosed(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mailboxes, id)
}

type systemKey struct{}

// WithSystem returns a context that carries the system to sources and sinks.
func WithSystem(ctx context.Context, s *System) context.Context {
	return context.WithValue(ctx, systemKey{}, s)
}

// SystemFrom returns the system that a context carries.
func SystemFrom(ctx context.Context) (*System, bool) {
	s, ok := ctx.Value(systemKey{}).(*System)
	return s, ok
}
